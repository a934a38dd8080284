"""The training step's collectives, read off the compiled program."""

import pytest

from jaxseg.bench import collectives
from jaxseg.bench.collectives import Collective, Moved

PROGRAM = """
%sum.1 = f32[4]{0} all-reduce(%a), channel_id=1, metadata={op_name="jit(step)/model/norm1/psum"}
%all-reduce.2 = (f32[3,3,8,16]{3,2,1,0}, bf16[5]{0}, /*index=2*/f32[]) all-reduce(%b, %c, %d)
%part.1 = bf16[5]{0} get-tuple-element(%all-reduce.2), index=1, metadata={op_name="x/norm1/sum"}
%part.2 = f32[] get-tuple-element(%all-reduce.2), index=2, metadata={op_name="x/loss"}
ROOT %g = u8[7,2]{1,0} all-gather(%part.1), dimensions={0}, metadata={op_name="x/all-reduce(y)"}
%fusion.3 = f32[4]{0} fusion(%all-reduce.2), calls=%all-reduce-like
"""


def test_collectives_are_read_off_a_program():
    one, fused, gather = collectives.collectives(PROGRAM)
    assert one == Collective("all-reduce", (Moved("f32", (4,), "jit(step)/model/norm1/psum"),))
    assert [array.shape for array in fused.arrays] == [(3, 3, 8, 16), (5,), ()]
    assert [array.origin for array in fused.arrays] == ["", "x/norm1/sum", "x/loss"]
    assert fused.bytes == 4 * 3 * 3 * 8 * 16 + 2 * 5 + 4
    assert (gather.kind, gather.bytes) == ("all-gather", 14)
    assert collectives.carries(one, {"model/norm1"}) == "batch norm"
    assert collectives.carries(one, {"model/norm2"}) == "gradients"
    assert collectives.carries(fused, {"norm1"}) == "gradients"
    assert collectives.carries(Collective("all-reduce", fused.arrays[2:]), set()) == "scalars"


@pytest.mark.parametrize("parallel", collectives.PARALLEL)
def test_gradients_cross_devices_once_and_nothing_is_gathered(tiny_config, parallel):
    found, norms, parameters = collectives.measure(tiny_config.to_dict(), parallel)
    assert {c.kind for c in found} == {"all-reduce"}
    (fused,) = (c for c in found if collectives.carries(c, norms) == "gradients")
    gradients = sum(array.bytes for array in fused.arrays if array.shape)
    # the gradients of a norm's scale and bias are sums that its backward pass needs at once
    channels = 2 * (4 + 8 + 4)
    assert gradients + 2 * 4 * channels == parameters
    # for each of six norms the mean, then the variance, and one backward
    assert len([c for c in found if collectives.carries(c, norms) == "batch norm"]) == 18
