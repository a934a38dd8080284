"""Max pooling by slices and maxima: XLA's reduce_window has a slow gradient."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Int32

from jaxseg.errors import UserError
from jaxseg.ops.conv import pads

ROUNDINGS = ("ceil", "floor")


def max_pool(
    x: Float[Array, "b h w c"], window: int = 2, rounding: str = "ceil"
) -> Float[Array, "b h2 w2 c"]:
    """Maximum over window x window blocks. Equal maxima share the gradient.

    `rounding` of h / window: with "ceil" the last blocks may be smaller, so that no border pixel is
    dropped and a 1x1 map stays 1x1 (Caffe, PyTorch's ceil_mode=True); "floor" drops what fills no
    block (PyTorch's and Keras's default).
    """
    # a chain of maxima, four times as fast on a CPU, with its gradient, as a maximum over axes
    return functools.reduce(jnp.maximum, _block_pixels(x, window, rounding))


def max_pool_with_indices(
    x: Float[Array, "b h w c"], window: int = 2, rounding: str = "ceil"
) -> tuple[Float[Array, "b h2 w2 c"], Int32[Array, "b h2 w2 c"]]:
    """`max_pool`, and where each maximum was: row * w + column of the input, as PyTorch counts.

    Of equal maxima the first counts, row by row, and has the whole gradient.
    """
    first, *others = _block_pixels(x, window, rounding)
    y, place = first, jnp.zeros(first.shape, jnp.int32)
    for number, pixel in enumerate(others, start=1):
        larger = pixel > y
        y, place = jnp.where(larger, pixel, y), jnp.where(larger, number, place)
    rows, cols = (jnp.arange(n, dtype=jnp.int32) * window for n in y.shape[1:3])
    row = rows[None, :, None, None] + place // window
    col = cols[None, None, :, None] + place % window
    return y, row * x.shape[2] + col


def max_unpool(
    x: Float[Array, "b h w c"],
    indices: Int[Array, "b h w c"],
    size: tuple[int, int],
    window: int = 2,
) -> Float[Array, "b h2 w2 c"]:
    """Each value to its index on a map of `size`, zeros elsewhere: the way back of the pooling.

    Zeiler, Fergus, ECCV 2014, section 2.1; SegNet, Badrinarayanan et al. 2017, section 3.
    Each index must lie in its own window x window block, as those of `max_pool_with_indices` do:
    then no scatter is needed, whose gradient is slow and, on a GPU, not the same twice.
    """
    b, h, w, c = x.shape
    row = jnp.arange(h * window, dtype=jnp.int32).reshape(1, h, window, 1, 1, 1)
    col = jnp.arange(w * window, dtype=jnp.int32).reshape(1, 1, 1, w, window, 1)
    here = indices[:, :, None, :, None] == row * size[1] + col
    y = jnp.where(here, x[:, :, None, :, None], 0).reshape(b, h * window, w * window, c)
    # Less than zero crops: blocks that were not full. More: rows that rounding down had dropped.
    below, right = size[0] - h * window, size[1] - w * window
    ends = ((0, 0, 0), (0, below, 0), (0, right, 0), (0, 0, 0))
    return jax.lax.pad(y, jnp.zeros((), y.dtype), ends)


def _block_pixels(x: Array, window: int, rounding: str) -> list[Array]:
    """Pixel (0, 0) of every block, (0, 1), ..., (1, 0), ...; minus infinity fills up the last."""
    if rounding not in ROUNDINGS:
        raise UserError(f"rounding is {rounding!r}, expected one of {', '.join(ROUNDINGS)}")
    b, h, w, c = x.shape
    if rounding == "floor":
        rows, cols = h // window, w // window
        x = x[:, : rows * window, : cols * window]
    else:
        rows, cols = -(-h // window), -(-w // window)
        fill = ((0, 0), (0, rows * window - h), (0, cols * window - w), (0, 0))
        x = jnp.pad(x, fill, constant_values=-jnp.inf)
    blocks = x.reshape(b, rows, window, cols, window, c)
    return [blocks[:, :, i, :, j] for i in range(window) for j in range(window)]


def max_pool_3x3(
    x: Float[Array, "b h w c"], stride: int = 2, dilation: int = 1, padding: str = "symmetric"
) -> Float[Array, "b h2 w2 c"]:
    """Maximum over 3x3 pixels, `dilation` apart: h -> ceil(h / stride), unless padding is "valid".

    Padding as in `ops.conv`, with minus infinity. The defaults are ResNet's (PyTorch's kernel 3,
    stride 2, padding 1).
    """
    fill = ((0, 0), *pads(x, 3, stride, dilation, padding), (0, 0))
    x = jnp.pad(x, fill, constant_values=-jnp.inf)
    rows, cols = ((n - 2 * dilation - 1) // stride * stride + 1 for n in x.shape[1:3])
    top, middle, bottom = (x[:, i * dilation :][:, :rows:stride] for i in range(3))
    x = jnp.maximum(jnp.maximum(top, middle), bottom)
    left, middle, right = (x[:, :, i * dilation :][:, :, :cols:stride] for i in range(3))
    return jnp.maximum(jnp.maximum(left, middle), right)
