from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.ops import lowering
from jaxseg.ops.conv import Conv, conv
from jaxseg.ops.depthwise import DepthwiseConv, depthwise_conv

# (kernel, stride, dilation, h, w): odd and even sizes, a rate as large as the map and beyond
CASES = [
    (3, 1, 1, 7, 5),
    (3, 2, 1, 8, 7),  # an even size is where XLA's "SAME" pads otherwise
    (3, 3, 1, 9, 11),
    (5, 2, 1, 10, 9),
    (7, 2, 1, 12, 9),
]
# Several blocks of rows in the gradient of the kernel, the last not full: 7 + 6 rows of output.
BLOCKS = [(3, 1, 1, 13, 30), (3, 2, 1, 26, 59), (5, 2, 1, 25, 60)]
ATROUS = [(3, 1, 2, 6, 9), (3, 2, 2, 9, 10), (5, 3, 2, 14, 13), (3, 1, 5, 12, 11)]
STRIDE_1 = [(3, 1, 1, 7, 5), (5, 1, 1, 6, 9), (7, 1, 1, 9, 8)]
POINTWISE = [(1, 1, 1, 4, 3), (1, 2, 1, 6, 7), (1, 3, 1, 7, 8)]
PADDED = {
    "conv": [(7, 2, 1, 1, 1)],
    "pointwise_conv": [],
    "atrous_conv": [(3, 1, 12, 13, 16), (3, 1, 24, 5, 30), (3, 1, 12, 1, 1)],
}
SETS = {
    ("conv", "native"): CASES,
    ("conv", "rows"): CASES + BLOCKS,
    ("conv", "taps"): STRIDE_1 + BLOCKS[:1],
    ("pointwise_conv", "native"): POINTWISE,
    ("pointwise_conv", "matmul"): POINTWISE,
    ("atrous_conv", "native"): ATROUS,
    ("atrous_conv", "space_to_batch"): ATROUS,
    ("atrous_conv", "taps"): ATROUS,
}


@pytest.mark.parametrize(
    ("padding", "dtype"),
    [
        ("symmetric", "float32"),
        ("tf_same", "float32"),
        ("valid", "float32"),
        ("tf_same", "bfloat16"),
    ],
)
@pytest.mark.parametrize(("operation", "form"), list(SETS))
def test_lowerings_equal_the_definition(operation, form, padding, dtype, check_convolution):
    cases = SETS[operation, form]
    if padding != "valid":
        cases = cases + PADDED[operation]
    check_convolution(conv, operation, form, cases, padding, dtype)


@pytest.mark.parametrize("padding", ["symmetric", "tf_same", "valid"])
@pytest.mark.parametrize(
    ("operation", "form", "cases"),
    [
        ("conv", "rows", [(3, 1, 1, 7, 5), (5, 1, 1, 6, 9), (3, 2, 1, 8, 7), *BLOCKS]),
        ("pointwise_conv", "matmul", POINTWISE),
    ],
)
def test_fewer_outputs_than_inputs(operation, form, cases, padding, check_convolution):
    check_convolution(conv, operation, form, cases, padding, "float32", channels=5, kernel=(5, 2))


@pytest.mark.parametrize("form", ["rows", "taps"])
def test_a_map_of_one_pixel_in_bfloat16(form):
    """Fully optimised, XLA's CPU has no product of bfloat16 with a float32 result for this one."""
    x, kernel = jnp.ones((8, 1, 1, 4), jnp.bfloat16), jnp.ones((3, 3, 4, 2), jnp.bfloat16)

    @jax.jit
    def gradients(x, kernel):
        with lowering.forced({"conv": form}):
            return jax.grad(lambda *arrays: conv(*arrays).sum(), (0, 1))(x, kernel)

    x_gradient, kernel_gradient = gradients(x, kernel)
    np.testing.assert_array_equal(x_gradient, np.full(x.shape, 2, jnp.bfloat16))
    centre = np.zeros(kernel.shape, jnp.bfloat16)
    centre[1, 1] = 8
    np.testing.assert_array_equal(kernel_gradient, centre)


@pytest.mark.parametrize(
    ("shape", "kernel", "options", "expected"),
    [
        ((1, 8, 8, 3), (3, 3, 3, 4), {}, ("conv", "image")),
        ((1, 8, 8, 64), (3, 3, 64, 4), {}, ("conv", "narrow")),
        ((1, 8, 8, 128), (3, 3, 128, 4), {"stride": 2}, ("conv", "wide, strided")),
        ((1, 8, 8, 16), (7, 7, 16, 4), {}, ("conv", "large kernel")),
        ((1, 8, 8, 3), (7, 7, 3, 4), {"stride": 2}, ("conv", "image, strided")),
        ((1, 8, 8, 3), (1, 1, 3, 4), {"stride": 2}, ("pointwise_conv", "strided")),
        ((1, 8, 8, 3), (3, 3, 3, 4), {"dilation": 2}, ("atrous_conv", "near")),
        ((1, 8, 8, 3), (3, 3, 3, 4), {"dilation": 3}, ("atrous_conv", "far")),
    ],
)
def test_classes_of_shapes(shape, kernel, options, expected, asked):
    jax.eval_shape(partial(conv, **options), jnp.zeros(shape), jnp.zeros(kernel))
    assert asked == [expected]


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((2, 2, 1, 1), {}, "2 wide"),
        ((3, 3, 1, 1), {"padding": "same"}, "padding is 'same', expected one of symmetric, tf_"),
        ((3, 3, 1, 1), {"padding": "valid", "dilation": 2}, "of 5 pixels got a map of 4x4"),
    ],
)
@pytest.mark.parametrize("function", [conv, depthwise_conv])
def test_wrong_options(function, shape, options, message):
    with pytest.raises(UserError, match=message):
        function(jnp.ones((1, 4, 4, 1)), jnp.ones(shape), **options)


def test_parameters_and_bias():
    layer: Any = Conv(5, kernel_size=3, use_bias=True)
    x = jnp.ones((1, 4, 4, 2))
    params = layer.init(jax.random.key(0), x)["params"]
    assert params["kernel"].shape == (3, 3, 2, 5)
    moved = {**params, "bias": params["bias"] + jnp.arange(5.0)}
    difference = layer.apply({"params": moved}, x) - layer.apply({"params": params}, x)
    np.testing.assert_allclose(difference, np.broadcast_to(np.arange(5.0), (1, 4, 4, 5)), atol=1e-5)
    assert "bias" not in Conv(5).init(jax.random.key(0), x)["params"]


@pytest.mark.parametrize("k", [1, 3])
def test_he_initialisation_keeps_the_scale_through_relu(k):
    x = jax.nn.relu(jax.random.normal(jax.random.key(0), (4, 16, 16, 128)))
    y, _ = jax.jit(Conv(128, kernel_size=k).init_with_output)(jax.random.key(1), x)
    inside = y[:, 1:-1, 1:-1]  # border pixels see zeros
    np.testing.assert_allclose(np.mean(inside**2), 2 * np.mean(x**2), rtol=0.1)


def test_layers_compute_as_their_functions():
    x = jax.random.normal(jax.random.key(0), (1, 8, 7, 3))
    for layer, function in (
        (Conv(3, 3, stride=2, dilation=2, padding="tf_same"), conv),
        (DepthwiseConv(3, stride=2, dilation=2, padding="tf_same"), depthwise_conv),
    ):
        made: Any = layer.init_with_output(jax.random.key(1), x)
        y, variables = made
        expected = function(x, variables["params"]["kernel"], 2, 2, "tf_same")
        np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize(
    "layer", [Conv(4, use_bias=True, dtype=jnp.bfloat16), DepthwiseConv(dtype=jnp.bfloat16)]
)
def test_bfloat16_computes_with_float32_parameters(layer):
    y, variables = layer.init_with_output(jax.random.key(0), jnp.ones((1, 3, 3, 2)))
    assert y.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
