from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.ops.conv import Conv, DepthwiseConv, conv, depthwise_conv


def reference(x, kernel, stride, dilation):
    """One output pixel after another, straight from the definition, in float64."""
    k = kernel.shape[0]
    pad = dilation * (k - 1) // 2
    b, h, w, _ = x.shape
    x = np.pad(x.astype(np.float64), ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    rows, cols = -(-h // stride), -(-w // stride)
    y = np.zeros((b, rows, cols, kernel.shape[-1]))
    for i in range(rows):
        for j in range(cols):
            for di in range(k):
                for dj in range(k):
                    pixel = x[:, i * stride + di * dilation, j * stride + dj * dilation]
                    y[:, i, j] += pixel @ kernel[di, dj]
    return y


@pytest.mark.parametrize(
    ("k", "stride", "dilation", "h", "w"),
    [
        (3, 1, 1, 7, 5),
        (3, 2, 1, 8, 7),  # an even size is where XLA's "SAME" would pad otherwise
        (3, 1, 4, 5, 6),
        (3, 2, 2, 9, 8),
        (7, 2, 1, 10, 9),
        (1, 1, 1, 4, 3),
        (1, 2, 1, 6, 7),
        (7, 2, 1, 1, 1),
        (3, 1, 12, 1, 1),
    ],
)
def test_equals_the_definition(k, stride, dilation, h, w):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, h, w, 3)).astype(np.float32)
    kernel = rng.normal(size=(k, k, 3, 4)).astype(np.float32)
    y = jax.jit(conv, static_argnums=(2, 3))(x, kernel, stride, dilation)
    np.testing.assert_allclose(y, reference(x, kernel, stride, dilation), rtol=1e-4, atol=1e-4)


def lax_conv(x, kernel, stride, dilation, padding):
    """XLA's own convolution, grouped where the kernel has one input channel."""
    reach = dilation * (kernel.shape[0] - 1)
    pads = {"symmetric": [(reach // 2, reach // 2)] * 2, "tf_same": "SAME", "valid": "VALID"}
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(stride, stride),
        padding=pads[padding],
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1] // kernel.shape[2],
    )


# (kernel, stride, dilation, h, w), each for the three paddings
STRIDED = [
    (3, 1, 1, 7, 5),
    (3, 2, 1, 8, 7),
    (3, 3, 1, 9, 11),
    (3, 1, 2, 6, 9),
    (3, 2, 2, 9, 10),
    (5, 2, 1, 10, 9),
    (5, 3, 2, 14, 13),
    (1, 2, 1, 5, 6),
]


@pytest.mark.parametrize("padding", ["symmetric", "tf_same", "valid"])
@pytest.mark.parametrize("depthwise", [False, True])
def test_paddings_equal_xla_with_their_gradients(depthwise, padding, run_compiled):
    rng = np.random.default_rng(0)

    def results(convolve, x, kernel, stride, dilation):
        y, back = jax.vjp(lambda x, k: convolve(x, k, stride, dilation, padding), x, kernel)
        weight = jnp.cos(jnp.arange(y.size, dtype=jnp.float32)).reshape(y.shape)
        return y, *back(weight)

    def both(arrays):
        ours = depthwise_conv if depthwise else conv
        for (_, stride, dilation, _, _), (x, kernel) in zip(STRIDED, arrays, strict=True):
            yield [results(f, x, kernel, stride, dilation) for f in (ours, lax_conv)]

    sizes = [((2, h, w, 4), (k, k, 1 if depthwise else 4, 4)) for k, _, _, h, w in STRIDED]
    arrays = [[rng.normal(size=size).astype(np.float32) for size in pair] for pair in sizes]
    for found, expected in run_compiled(lambda arrays: list(both(arrays)), arrays):
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_depthwise_on_one_pixel():
    x, kernel = jnp.full((1, 1, 1, 2), 3.0), jnp.arange(18.0).reshape(3, 3, 1, 2)
    for padding in ("symmetric", "tf_same"):
        y = depthwise_conv(x, kernel, 1, 12, padding)
        np.testing.assert_array_equal(y, [[[[24, 27]]]])  # three times the central tap


def test_bfloat16_depthwise_rounds_once_forward_and_backward():
    """As the float32 result of the same numbers, rounded: a sum of bfloat16 taps would not be."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(2, 9, 8, 16)), jnp.bfloat16)
    kernel = jnp.asarray(rng.normal(size=(5, 5, 1, 16)), jnp.bfloat16)

    @jax.jit
    def results(x, kernel):
        y, back = jax.vjp(partial(depthwise_conv, stride=2, padding="tf_same"), x, kernel)
        return y, *back(jnp.ones_like(y))

    exact = results(x.astype(jnp.float32), kernel.astype(jnp.float32))
    for found, expected in zip(results(x, kernel), exact, strict=True):
        assert found.dtype == jnp.bfloat16
        found, expected = np.asarray(found, np.float32), np.asarray(expected)
        # one rounding is half of 2**-7 at most
        np.testing.assert_allclose(found, expected, rtol=2**-8, atol=1e-6)


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


def test_depthwise_initialisation_keeps_the_scale_through_relu():
    x = jax.nn.relu(jax.random.normal(jax.random.key(0), (4, 16, 16, 256)))
    y, variables = jax.jit(DepthwiseConv().init_with_output)(jax.random.key(1), x)
    assert variables["params"]["kernel"].shape == (3, 3, 1, 256)
    inside = y[:, 1:-1, 1:-1]
    np.testing.assert_allclose(np.mean(inside**2), 2 * np.mean(x**2), rtol=0.3)


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
