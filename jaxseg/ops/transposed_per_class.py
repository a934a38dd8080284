"""Depthwise transposed convolution, one plane of weights per class: FCN's upsampling.

Lowerings, equal to rounding:

- "grouped": zeros between the pixels and a convolution with a group a class, XLA's own.
- "phases": weighted sums of shifted inputs, interleaved (see `ops.phases`).
- "rows": the same forward; its gradient goes row by row in a loop. A sum of products over all rows
  at once writes the products out or walks memory in strides: on a CPU 1.3 times as long, and more.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxseg.ops import lowering
from jaxseg.ops.phases import interleave, split_kernel, split_output

LOWERINGS = ("grouped", "phases", "rows")


def transposed_conv_per_class(
    x: Float[Array, "b h w c"], kernel: Float[Array, "k k #c"], stride: int, padding: int
) -> Float[Array, "b h2 w2 c"]:
    """A transposed convolution without weights between classes: plane c acts on channel c alone.

    As a dense kernel, stride 32 and 1000 classes would hold 16 GB, all zero off the class diagonal.
    With k at most 2 * stride each output pixel is a weighted sum of a 2x2 neighbourhood of the
    input. A kernel with one plane serves all channels. Sums are taken in float32.
    """
    shapes = "stride 2 or less" if stride <= 2 else "larger stride"
    name = lowering.choose("transposed_conv_per_class", shapes, x.dtype, LOWERINGS)
    functions = {"grouped": _grouped, "phases": _phases, "rows": _rows}
    x32, kernel32 = x.astype(jnp.float32), kernel.astype(jnp.float32)
    return functions[name](x32, kernel32, stride, padding).astype(x.dtype)


def _grouped(x: Array, kernel: Array, stride: int, padding: int) -> Array:
    k, classes = kernel.shape[0], x.shape[-1]
    before = k - 1 - padding
    return jax.lax.conv_general_dilated(
        x,
        jnp.broadcast_to(kernel[::-1, ::-1, None], (k, k, 1, classes)),
        window_strides=(1, 1),
        padding=((before, before), (before, before)),
        lhs_dilation=(stride, stride),
        feature_group_count=classes,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def _phases(x: Array, kernel: Array, stride: int, padding: int) -> Array:
    taps = split_kernel(kernel, stride)  # [q, r, q, r, c]
    q = taps.shape[0]
    h, w = x.shape[1:3]
    x_padded = jnp.pad(x, ((0, 0), (q - 1, q - 1), (q - 1, q - 1), (0, 0)))
    phases = jnp.zeros((), x.dtype)
    for row in range(q):
        for col in range(q):
            top, left = q - 1 - row, q - 1 - col
            shifted = x_padded[:, top : top + h + q - 1, left : left + w + q - 1]
            # einsum rather than a broadcast product: its gradient sums over phases as it multiplies
            # and keeps no [h, stride, w, stride, c] product for each tap
            tap = jnp.broadcast_to(taps[row, :, col], (stride, stride, x.shape[-1]))
            phases += jnp.einsum("bhwc,rsc->bhrwsc", shifted, tap)
    return interleave(phases, x.shape, kernel.shape[0], padding)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _rows(x: Array, kernel: Array, stride: int, padding: int) -> Array:
    return _phases(x, kernel, stride, padding)


def _rows_forward(
    x: Array, kernel: Array, stride: int, padding: int
) -> tuple[Array, tuple[Array, Array]]:
    return _phases(x, kernel, stride, padding), (x, kernel)


def _rows_backward(
    stride: int, padding: int, saved: tuple[Array, Array], y: Array
) -> tuple[Array, Array]:
    x, kernel = saved
    k = kernel.shape[0]
    phases = split_output(y, x.shape, k, stride, padding)
    taps = split_kernel(kernel, stride)
    kernel_gradient = _kernel_gradient(x, phases)[:k, :k]
    if kernel.shape[-1] == 1:  # one plane served all channels
        kernel_gradient = kernel_gradient.sum(axis=-1, keepdims=True)
    return _input_gradient(taps, phases, x.shape), kernel_gradient


def _input_gradient(taps: Array, phases: Array, shape: tuple[int, ...]) -> Array:
    """The strided convolution of the output's gradient, one row of phases after another."""
    _, h, w, _ = shape
    q, stride = taps.shape[:2]

    def add(total: Array, phase: Array) -> tuple[Array, None]:
        values = jax.lax.dynamic_index_in_dim(phases, phase, axis=2, keepdims=False)
        weights = jax.lax.dynamic_index_in_dim(taps, phase, axis=1, keepdims=False)
        for row in range(q):
            for col in range(q):
                near = values[:, row : row + h, col : col + w]
                product = near * weights[row, col][None, None, None]
                for column_phase in range(stride):  # added up, not reduced: one pass over memory
                    total += product[:, :, :, column_phase]
        return total, None

    return jax.lax.scan(add, jnp.zeros(shape, phases.dtype), jnp.arange(stride))[0]


def _kernel_gradient(x: Array, phases: Array) -> Array:
    """Products of each input row with the output rows it reached, added up over the rows."""
    b, h, w, c = x.shape
    _, h_phases, stride, _, _, _ = phases.shape
    q = h_phases - h + 1

    def add(totals: tuple[Array, ...], row: Array) -> tuple[tuple[Array, ...], None]:
        pixels = jax.lax.dynamic_slice_in_dim(x, row, 1, axis=1)[:, :, None, :, None]
        reached = jax.lax.dynamic_slice_in_dim(phases, row, q, axis=1)
        products = (reached[:, :, :, col : col + w] * pixels for col in range(q))
        return tuple(old + new for old, new in zip(totals, products, strict=True)), None

    zeros = (jnp.zeros((b, q, stride, w, stride, c), x.dtype),) * q
    totals, _ = jax.lax.scan(add, zeros, jnp.arange(h))
    kernel = jnp.stack([total.sum(axis=(0, 3)) for total in totals], axis=2)
    return kernel.reshape(q * stride, q * stride, c)


_rows.defvjp(_rows_forward, _rows_backward)
