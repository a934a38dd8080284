"""Max pooling. Of equal maxima the first, row by row, has the whole gradient, as in PyTorch.

Lowerings, equal in value and gradient:

- "reduce_window": XLA's own. Its gradient, a select-and-scatter, takes ten times as long as that
  of the slices on a CPU, and more.
- "slices": a chain of maxima of strided slices. Which of them was the maximum is kept, as a byte,
  and the gradient goes there by slices again.
"""

import functools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Int32

from jaxseg.errors import UserError
from jaxseg.ops import lowering
from jaxseg.ops.conv import pads

ROUNDINGS = ("ceil", "floor")
LOWERINGS = ("reduce_window", "slices")
Ends = tuple[tuple[int, int], tuple[int, int]]


def max_pool(
    x: Float[Array, "b h w c"], window: int = 2, rounding: str = "ceil"
) -> Float[Array, "b h2 w2 c"]:
    """Maximum over window x window blocks.

    `rounding` of h / window: with "ceil" the last blocks may be smaller, so that no border pixel is
    dropped and a 1x1 map stays 1x1 (Caffe, PyTorch's ceil_mode=True); "floor" drops what fills no
    block (PyTorch's and Keras's default).
    """
    if rounding not in ROUNDINGS:
        raise UserError(f"rounding is {rounding!r}, expected one of {', '.join(ROUNDINGS)}")
    shapes = "2x2" if window == 2 else "larger"
    if lowering.choose("max_pool", shapes, x.dtype, LOWERINGS) == "slices":
        return _max_blocks(x, x.shape[1:3], window, rounding)
    up = window - 1 if rounding == "ceil" else 0
    more = (max((n + up) // window * window - n, 0) for n in x.shape[1:3])
    rows, cols = ((0, n) for n in more)
    return _reduce_window(x, window, window, (rows, cols))


def max_pool_with_indices(
    x: Float[Array, "b h w c"], window: int = 2, rounding: str = "ceil"
) -> tuple[Float[Array, "b h2 w2 c"], Int32[Array, "b h2 w2 c"]]:
    """`max_pool`, and where each maximum was: row * w + column of the input, as PyTorch counts."""
    y = max_pool(x, window, rounding)
    _, place = _first_maximum(_block_pixels(jax.lax.stop_gradient(x), window, rounding))
    rows, cols = (jnp.arange(n, dtype=jnp.int32) * window for n in y.shape[1:3])
    place = place.astype(jnp.int32)
    row = rows[None, :, None, None] + place // window
    col = cols[None, None, :, None] + place % window
    return y, row * x.shape[2] + col


def max_unpool(
    x: Float[Array, "b h w c"],
    indices: Int[Array, "b h w c"],
    size: tuple[int, int],
    window: int = 2,
) -> Float[Array, "b h2 w2 c"]:
    """Each value to its index on a map of `size`, zeros elsewhere: unpooling.

    Zeiler, Fergus, ECCV 2014, section 2.1; SegNet, Badrinarayanan et al. 2017, section 3.
    Each index must lie in its own window x window block, as those of `max_pool_with_indices` do:
    then no scatter is needed, whose gradient is slow and, on a GPU, not the same twice.
    """
    _, h, w, _ = x.shape
    row = jnp.arange(h * window, dtype=jnp.int32).reshape(1, h, window, 1, 1, 1)
    col = jnp.arange(w * window, dtype=jnp.int32).reshape(1, 1, 1, w, window, 1)
    chosen = indices[:, :, None, :, None] == row * size[1] + col
    return _fit(jnp.where(chosen, x[:, :, None, :, None], 0), size)


def max_pool_3x3(
    x: Float[Array, "b h w c"], stride: int = 2, dilation: int = 1, padding: str = "symmetric"
) -> Float[Array, "b h2 w2 c"]:
    """Maximum over 3x3 pixels, `dilation` apart: h -> ceil(h / stride), unless padding is "valid".

    Padding as in `ops.conv`, with minus infinity. The defaults are ResNet's (PyTorch's kernel 3,
    stride 2, padding 1).
    """
    ends = pads(x, 3, stride, dilation, padding)
    shapes = "strided" if stride > 1 else "dense"
    lowerings = LOWERINGS if dilation == 1 else LOWERINGS[1:]  # XLA's has no gradient where dilated
    if lowering.choose("max_pool_3x3", shapes, x.dtype, lowerings) == "slices":
        # columns, then rows: the first row that holds the maximum, in it the first column
        for axis in (2, 1):
            x = _max_of_3(x, x.shape[axis], axis, stride, dilation, ends[axis - 1])
        return x
    return _reduce_window(x, 3, stride, ends)


def _reduce_window(x: Array, window: int, stride: int, ends: Ends) -> Array:
    return jax.lax.reduce_window(
        x,
        np.array(-np.inf, x.dtype),
        jax.lax.max,
        window_dimensions=(1, window, window, 1),
        window_strides=(1, stride, stride, 1),
        padding=((0, 0), *ends, (0, 0)),
    )


def _first_maximum(pixels: list[Array]) -> tuple[Array, Array]:
    """The maximum, NaN if there is one, and the number of the first pixel that had it."""
    y, *others = pixels
    kind = np.min_scalar_type(len(others))
    place = jnp.zeros(y.shape, kind)
    for number, pixel in enumerate(others, start=1):
        place = jnp.where(pixel > y, np.array(number, kind), place)
        y = jnp.maximum(y, pixel)
    return y, place


def _block_pixels(x: Array, window: int, rounding: str) -> list[Array]:
    """Pixel (0, 0) of every block, (0, 1), ..., (1, 0), ...; minus infinity fills up the last."""
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


@partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def _max_blocks(x: Array, size: tuple[int, int], window: int, rounding: str) -> Array:
    return functools.reduce(jnp.maximum, _block_pixels(x, window, rounding))


def _max_blocks_forward(
    x: Array, size: tuple[int, int], window: int, rounding: str
) -> tuple[Array, Array]:
    return _first_maximum(_block_pixels(x, window, rounding))


def _max_blocks_backward(
    size: tuple[int, int], window: int, rounding: str, place: Array, y: Array
) -> tuple[Array]:
    number = np.arange(window * window, dtype=place.dtype).reshape(1, 1, window, 1, window, 1)
    chosen = place[:, :, None, :, None] == number
    return (_fit(jnp.where(chosen, y[:, :, None, :, None], 0), size),)


_max_blocks.defvjp(_max_blocks_forward, _max_blocks_backward)


def _fit(blocks: Array, size: tuple[int, int]) -> Array:
    """[b, h, window, w, window, c] -> [b, *size, c]."""
    b, h, window, w, _, c = blocks.shape
    y = blocks.reshape(b, h * window, w * window, c)
    # Less than zero crops: blocks that were not full. More: rows that rounding down had dropped.
    below, right = size[0] - h * window, size[1] - w * window
    ends = ((0, 0, 0), (0, below, 0), (0, right, 0), (0, 0, 0))
    return jax.lax.pad(y, jnp.zeros((), y.dtype), ends)


@partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3, 4, 5))
def _max_of_3(
    x: Array, size: int, axis: int, stride: int, dilation: int, ends: tuple[int, int]
) -> Array:
    """The maxima of three lines `dilation` apart, of `size` lines along `axis`."""
    return functools.reduce(jnp.maximum, _three_lines(x, axis, stride, dilation, ends))


def _three_lines(
    x: Array, axis: int, stride: int, dilation: int, ends: tuple[int, int]
) -> list[Array]:
    fill = [(0, 0)] * 4
    fill[axis] = ends
    x = jnp.pad(x, fill, constant_values=-jnp.inf)
    reach = (x.shape[axis] - 2 * dilation - 1) // stride * stride + 1
    take = partial(jax.lax.slice_in_dim, x, stride=stride, axis=axis)
    return [take(i * dilation, i * dilation + reach) for i in range(3)]


def _max_of_3_forward(
    x: Array, size: int, axis: int, stride: int, dilation: int, ends: tuple[int, int]
) -> tuple[Array, Array]:
    return _first_maximum(_three_lines(x, axis, stride, dilation, ends))


def _max_of_3_backward(
    size: int, axis: int, stride: int, dilation: int, ends: tuple[int, int], place: Array, y: Array
) -> tuple[Array]:
    """Padded line `stride` * n + r has the gradient of those outputs whose maximum it was.

    It was tap i of output n - (i * dilation - r) / stride: slices of outputs for each r, which are
    then interleaved. A slice of the input for each tap, added up, would write zeros between lines.
    """
    y32, before = y.astype(jnp.float32), ends[0]
    lines = -(-(before + size) // stride)
    most = 2 * dilation // stride
    fill = [(0, 0)] * 4
    fill[axis] = (most, max(lines - y.shape[axis], 0))
    place, y32 = jnp.pad(place, fill), jnp.pad(y32, fill)  # of no gradient, whichever tap

    def tap_gradient(tap: int, back: int) -> Array:
        cut = partial(jax.lax.slice_in_dim, axis=axis)
        start, stop = most - back, most - back + lines
        return jnp.where(cut(place, start, stop) == tap, cut(y32, start, stop), 0)

    shape = list(y.shape)
    shape[axis] = lines
    phases = []
    for r in range(stride):
        taps = [i for i in range(3) if (i * dilation - r) % stride == 0]
        parts = (tap_gradient(i, (i * dilation - r) // stride) for i in taps)
        phases.append(functools.reduce(jnp.add, parts, jnp.zeros(shape, jnp.float32)))
    shape[axis] = lines * stride
    total = jnp.stack(phases, axis=axis + 1).reshape(shape)
    return (jax.lax.slice_in_dim(total, before, before + size, axis=axis).astype(y.dtype),)


_max_of_3.defvjp(_max_of_3_forward, _max_of_3_backward)
