from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.ops.conv import Conv, conv


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


def test_even_kernel_is_refused():
    with pytest.raises(UserError, match="2 wide"):
        conv(jnp.ones((1, 4, 4, 1)), jnp.ones((2, 2, 1, 1)))


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


def test_bfloat16_computes_with_float32_parameters():
    y, variables = Conv(4, use_bias=True, dtype=jnp.bfloat16).init_with_output(
        jax.random.key(0), jnp.ones((1, 3, 3, 2))
    )
    assert y.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
