import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.models.xception import AlignedBlock, AlignedXception, Block, Xception
from jaxseg.ops.depthwise import DepthwiseConv
from jaxseg.ops.layers import bind

LAYERS = bind(train=False, dtype=jnp.float32)


def trace(model, size=33):
    """(stride, dilation) of every depthwise convolution by its path, and the parameters."""
    found = {}

    def record(call, args, kwargs, context):
        module = context.module
        if isinstance(module, DepthwiseConv):
            found["/".join(module.path[:-1])] = (module.stride, module.dilation)
        return call(*args, **kwargs)

    with nn.intercept_methods(record):
        variables = jax.eval_shape(
            lambda: model.init(jax.random.key(0), jnp.ones((1, size, size, 3)))
        )
    return found, variables["params"]


@pytest.mark.parametrize(
    ("output_stride", "multi_grid", "middle", "exit_", "last"),
    [
        (32, (), (1, 1), [(1, 1), (1, 1), (2, 1)], [1, 1, 1]),
        (16, (), (1, 1), [(1, 1)] * 3, [2, 2, 2]),
        (16, (1, 2, 4), (1, 1), [(1, 1)] * 3, [2, 4, 8]),
        (8, (), (1, 2), [(1, 2)] * 3, [4, 4, 4]),
    ],
)
def test_aligned_strides_and_dilations_by_hand(output_stride, multi_grid, middle, exit_, last):
    """As DeepLab's stack_blocks_dense gives them."""
    found, _ = trace(AlignedXception("xception65", LAYERS, output_stride, multi_grid))
    for block in (1, 2):  # the third separable convolution strides
        assert [found[f"block{block}/sep{i}"] for i in (1, 2, 3)] == [(1, 1), (1, 1), (2, 1)]
    assert found["block3/sep3"] == ((1, 1) if output_stride == 8 else (2, 1))
    assert {found[f"block{i}/sep{j}"] for i in range(4, 20) for j in (1, 2, 3)} == {middle}
    assert [found[f"block20/sep{i}"] for i in (1, 2, 3)] == exit_
    assert [found[f"block21/sep{i}"] for i in (1, 2, 3)] == [(1, rate) for rate in last]


@pytest.mark.parametrize(
    ("output_stride", "dilations"), [(32, (1, 1, 1)), (16, (1, 1, 2)), (8, (2, 2, 4))]
)
def test_dilations_by_hand(output_stride, dilations):
    found, _ = trace(Xception("xception", LAYERS, output_stride))
    seen = [found[f"{name}/sep2"] for name in ("block12", "block13", "block14")]
    assert seen == [(1, dilation) for dilation in dilations]


def test_aligned_names():
    _, params = trace(AlignedXception("xception65", LAYERS))
    stem = {"stem1_conv", "stem1_norm", "stem2_conv", "stem2_norm"}
    assert set(params) == stem | {f"block{i}" for i in range(1, 22)}
    separable = {"sep1", "sep2", "sep3"}
    for i in range(1, 22):
        shortcut = {"shortcut_conv", "shortcut_norm"} if i in (1, 2, 3, 20) else set()
        assert set(params[f"block{i}"]) == separable | shortcut
    names = {"depthwise_conv", "depthwise_norm", "pointwise_conv", "pointwise_norm"}
    assert set(params["block7"]["sep2"]) == names


def test_names():
    _, params = trace(Xception("xception", LAYERS))
    stem = {"stem1_conv", "stem1_norm", "stem2_conv", "stem2_norm"}
    assert set(params) == stem | {f"block{i}" for i in range(2, 15)}  # Keras's names
    two = {"sep1", "sep1_norm", "sep2", "sep2_norm"}
    assert set(params["block14"]) == two
    assert set(params["block5"]) == two | {"sep3", "sep3_norm"}
    assert set(params["block13"]) == two | {"shortcut_conv", "shortcut_norm"}


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("last", [False, True])
def test_where_the_relus_are(aligned, last, random_variables, run_compiled):
    """A middle block adds to its raw input what it computes of its ReLU; the last ends in ReLU."""
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 6, 5, 4)), jnp.float32)
    if aligned:
        block = AlignedBlock((4, 4, 4), False, last, 1, (1, 1, 1), LAYERS)
    else:
        block = Block((4, 4, 4), False, last, 1, 1, LAYERS)
    variables = random_variables(block, x)

    def run(variables, x):
        out = block.apply(variables, x)
        return out[0] if aligned else out

    raw, rectified = run_compiled(lambda v: (run(v, x), run(v, nn.relu(x))), variables)
    if last:
        assert raw.min() == 0
        assert np.abs(raw - rectified).max() > 0.1  # nothing is cut off on the way in
    else:
        np.testing.assert_allclose(raw - x, rectified - nn.relu(x), atol=1e-5)


def test_low_level_features_are_those_before_the_stride(random_variables):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 6, 8, 4)), jnp.float32)
    block = AlignedBlock((4, 5, 6), True, False, 2, (1, 1, 1), LAYERS)
    (y, before), state = block.apply(
        random_variables(block, x), x, capture_intermediates=True, mutable=["intermediates"]
    )
    assert (y.shape, before.shape) == ((1, 3, 4, 6), (1, 6, 8, 5))
    np.testing.assert_array_equal(before, state["intermediates"]["sep2"]["__call__"][0])


@pytest.mark.parametrize(
    ("padding", "pads"), [("tf_same", ((0, 1), (0, 1))), ("symmetric", ((1, 1), (1, 1)))]
)
def test_pooling_is_padded_as_the_convolutions_are(padding, pads, random_variables):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 6, 8, 4)), jnp.float32)
    layers = bind(train=False, dtype=jnp.float32, padding=padding)
    block = Block((4, 4), True, False, 2, 1, layers)
    y, state = block.apply(
        random_variables(block, x), x, capture_intermediates=True, mutable=["intermediates"]
    )
    inside = {
        name: value["__call__"][0]
        for name, value in state["intermediates"].items()
        if isinstance(value, dict)
    }
    pooled = jax.lax.reduce_window(
        inside["sep2_norm"],
        -jnp.inf,
        jax.lax.max,
        window_dimensions=(1, 3, 3, 1),
        window_strides=(1, 2, 2, 1),
        padding=((0, 0), *pads, (0, 0)),
    )
    np.testing.assert_allclose(y, pooled + inside["shortcut_norm"], atol=1e-5)


def test_images_smaller_than_the_unpadded_stem():
    model = Xception("xception", LAYERS)
    with pytest.raises(UserError, match="image of 6x9, expected at least 7x7"):
        jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.ones((1, 6, 9, 3))))
