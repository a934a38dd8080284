"""Max pooling by slices and maxima: XLA's reduce_window has a slow gradient."""

import functools

import jax.numpy as jnp
from jaxtyping import Array, Float


def max_pool(x: Float[Array, "b h w c"], window: int = 2) -> Float[Array, "b h2 w2 c"]:
    """Maximum over window x window blocks; the last ones may be smaller: h -> ceil(h / window).

    Caffe's (and PyTorch's ceil_mode=True) rounding: no border pixel is dropped, and a 1x1 map
    stays 1x1. Equal maxima share the gradient.
    """
    b, h, w, c = x.shape
    rows, cols = -(-h // window), -(-w // window)
    fill = ((0, 0), (0, rows * window - h), (0, cols * window - w), (0, 0))
    x = jnp.pad(x, fill, constant_values=-jnp.inf)
    blocks = x.reshape(b, rows, window, cols, window, c)
    # a chain of maxima, four times as fast on a CPU, with its gradient, as .max(axis=(2, 4))
    pixels = [blocks[:, :, i, :, j] for i in range(window) for j in range(window)]
    return functools.reduce(jnp.maximum, pixels)


def max_pool_3x3_stride2(x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
    """Maximum over the 3x3 around every second pixel: h -> ceil(h / 2), ResNet's stem.

    Beyond the border lies minus infinity (PyTorch's kernel 3, stride 2, padding 1).
    """
    rows, cols = -(-x.shape[1] // 2), -(-x.shape[2] // 2)
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-jnp.inf)
    top, middle, bottom = (x[:, i : i + 2 * rows - 1 : 2] for i in range(3))
    x = jnp.maximum(jnp.maximum(top, middle), bottom)
    left, middle, right = (x[:, :, i : i + 2 * cols - 1 : 2] for i in range(3))
    return jnp.maximum(jnp.maximum(left, middle), right)
