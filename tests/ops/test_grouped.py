import jax.numpy as jnp
import pytest

from jaxseg.errors import UserError
from jaxseg.ops.grouped import LOWERINGS, grouped_conv

CASES = [(3, 1, 1, 7, 5), (3, 2, 1, 8, 7), (3, 1, 2, 6, 9), (1, 1, 1, 4, 3)]


@pytest.mark.parametrize(("padding", "dtype"), [("symmetric", "float32"), ("tf_same", "bfloat16")])
@pytest.mark.parametrize("form", LOWERINGS)
def test_lowerings_equal_the_definition(form, padding, dtype, check_convolution):
    def in_groups(x, kernel, stride, dilation, padding):
        return grouped_conv(x, kernel, 3, stride, dilation, padding)

    options = {"channels": 6, "kernel": (2, 12)}
    check_convolution(in_groups, "grouped_conv", form, CASES, padding, dtype, **options)


def test_wrong_groups():
    with pytest.raises(UserError, match="4 groups of 2 channels got 6 channels in and 12 out"):
        grouped_conv(jnp.zeros((1, 4, 4, 6)), jnp.zeros((3, 3, 2, 12)), 4)
