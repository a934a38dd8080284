"""Convolution with the three paddings that published weights rely on, and its lowerings.

- "symmetric": dilation * (k - 1) / 2 zeros on every side, PyTorch's and Caffe's usual one.
- "tf_same": TensorFlow's and XLA's "SAME". Where stride 2 meets an even size it puts one row less
  above than below: weights trained with the one are half a pixel off in the other.
- "valid": none.

With the first two, stride s gives ceil(h / s) rows.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxseg.errors import UserError
from jaxseg.ops import lowering
from jaxseg.ops.product import product

PADDINGS = ("symmetric", "tf_same", "valid")
Pads = tuple[tuple[int, int], tuple[int, int]]

# "rows" differs in the gradient of the kernel, where XLA's convolution is slow on a CPU.
LOWERINGS = ("native", "rows", "taps")
POINTWISE_LOWERINGS = ("native", "matmul")
ATROUS_LOWERINGS = ("native", "space_to_batch", "taps")


def check_padding(padding: str) -> None:
    """Raise UserError unless there is such a padding."""
    if padding not in PADDINGS:
        raise UserError(f"padding is {padding!r}, expected one of {', '.join(PADDINGS)}")


def conv(
    x: Float[Array, "b h w i"],
    kernel: Float[Array, "k k i o"],
    stride: int = 1,
    dilation: int = 1,
    padding: str = "symmetric",
) -> Float[Array, "b h2 w2 o"]:
    """Cross-correlate with an odd square kernel, its taps `dilation` pixels apart."""
    size, inputs, _ = kernel.shape[1:]
    ends = pads(x, size, stride, dilation, padding)
    if size == 1:
        shapes = "strided" if stride > 1 else "dense"
        form = lowering.choose("pointwise_conv", shapes, x.dtype, POINTWISE_LOWERINGS)
        if form == "matmul":
            return _matmul(x[:, ::stride, ::stride], kernel[0, 0])
    elif dilation > 1:
        # how much of the kernel lies outside the map decides
        shapes = "far" if 4 * dilation > min(x.shape[1:3]) else "near"
        forms = ATROUS_LOWERINGS if stride == 1 else ATROUS_LOWERINGS[:1]
        form = lowering.choose("atrous_conv", shapes, x.dtype, forms)
        if form == "space_to_batch":
            return _space_to_batch(x, kernel, dilation, ends)
        if form == "taps":
            return _taps(x, kernel, dilation, ends)
    else:
        width = "image" if inputs < 16 else "narrow" if inputs < 128 else "wide"
        shapes = "large kernel" if size > 5 and inputs >= 16 else width
        shapes = shapes if stride == 1 else f"{shapes}, strided"
        forms = LOWERINGS if stride == 1 else LOWERINGS[:2]
        form = lowering.choose("conv", shapes, x.dtype, forms)
        if form == "rows":
            return _by_rows(x, kernel, stride, ends)
        if form == "taps":
            return _taps(x, kernel, dilation, ends)
    return _native(x, kernel, stride, ends, dilation)


@jax.custom_vjp
def _matmul(x: Array, kernel: Array) -> Array:
    """One product of matrices; for the gradient of the kernel, the narrower map is transposed.

    XLA on a CPU multiplies a transposed matrix from a copy of it, and takes long to write that. The
    derivative of `einsum` transposes the outputs, 6 times as wide as the inputs in MobileNetV2's
    expansions.
    """
    return jnp.einsum("bhwi,io->bhwo", x, kernel)


def _matmul_forward(x: Array, kernel: Array) -> tuple[Array, Any]:
    return _matmul(x, kernel), (x, kernel)


def _matmul_backward(saved: Any, g: Array) -> tuple[Array, Array]:
    x, kernel = saved
    inputs, outputs = kernel.shape
    over_pixels = (((0, 1, 2), (0, 1, 2)), ((), ()))
    if inputs <= outputs:  # the left one is transposed
        kernel_gradient = jax.lax.dot_general(x, g, over_pixels)
    else:
        kernel_gradient = jax.lax.dot_general(g, x, over_pixels).T
    return jnp.einsum("bhwo,io->bhwi", g, kernel), kernel_gradient


_matmul.defvjp(_matmul_forward, _matmul_backward)


def _native(x: Array, kernel: Array, stride: int, ends: Pads, dilation: int = 1) -> Array:
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(stride, stride),
        padding=ends,
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def _space_to_batch(x: Array, kernel: Array, dilation: int, ends: Pads) -> Array:
    """Pixels `dilation` apart become images of their own, which a dense kernel convolves."""
    b, c = x.shape[0], x.shape[-1]
    reach = dilation * (kernel.shape[0] - 1)
    h, w = (n + sum(end) - reach for n, end in zip(x.shape[1:3], ends, strict=True))
    fill = ((0, 0), *((lo, hi + -n % dilation) for (lo, hi), n in zip(ends, (h, w), strict=True)))
    x = jnp.pad(x, (*fill, (0, 0)))
    rows, cols = (n // dilation for n in x.shape[1:3])
    x = x.reshape(b, rows, dilation, cols, dilation, c).transpose(2, 4, 0, 1, 3, 5)
    y = _native(x.reshape(-1, rows, cols, c), kernel, 1, ((0, 0), (0, 0)))
    rows, cols, c = y.shape[1:]
    y = y.reshape(dilation, dilation, b, rows, cols, c).transpose(2, 3, 0, 4, 1, 5)
    return y.reshape(b, rows * dilation, cols * dilation, c)[:, :h, :w]


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _taps(x: Array, kernel: Array, dilation: int, ends: Pads) -> Array:
    """One product of matrices for each tap, over the pixels where it does not meet padding.

    At rate 18 on 33x33 that leaves out half of all products. Summed in float32.
    """
    size = kernel.shape[0]
    rows, cols = (
        n + sum(end) - dilation * (size - 1) for n, end in zip(x.shape[1:3], ends, strict=True)
    )
    y = jnp.zeros((x.shape[0], rows, cols, kernel.shape[-1]), jnp.float32)
    for i, j, inside, outside in _overlaps(x, (rows, cols), size, dilation, ends):
        y = y.at[outside].add(product("bhwi,io->bhwo", x[inside], kernel[i, j]))
    return y.astype(x.dtype)


def _taps_forward(x: Array, kernel: Array, dilation: int, ends: Pads) -> tuple[Array, Any]:
    return _taps(x, kernel, dilation, ends), (x, kernel)


def _taps_backward(dilation: int, ends: Pads, saved: Any, g: Array) -> tuple[Array, Array]:
    x, kernel = saved
    size = kernel.shape[0]
    input_gradient = jnp.zeros(x.shape, jnp.float32)
    taps = {}
    for i, j, inside, outside in _overlaps(x, g.shape[1:3], size, dilation, ends):
        reached = product("bhwo,io->bhwi", g[outside], kernel[i, j])
        input_gradient = input_gradient.at[inside].add(reached)
        taps[i, j] = product("bhwi,bhwo->io", x[inside], g[outside])
    if dilation == 1:  # one large product is faster where much of it is not with zeros
        kernel_gradient = _kernel_gradient(x, g, size, 1, ends)
    else:
        none = jnp.zeros(kernel.shape[2:], jnp.float32)
        every = [taps.get((i, j), none) for i in range(size) for j in range(size)]
        kernel_gradient = jnp.stack(every).reshape(kernel.shape)
    return input_gradient.astype(x.dtype), kernel_gradient.astype(kernel.dtype)


_taps.defvjp(_taps_forward, _taps_backward)

Window = tuple[slice, slice, slice]


def _overlaps(
    x: Array, outputs: Sequence[int], size: int, dilation: int, ends: Pads
) -> Iterator[tuple[int, int, Window, Window]]:
    """Row and column of each tap that meets `x`, the pixels it meets, and those they lead to."""
    every = slice(None)
    sides = [
        [_overlap(n, out, tap * dilation - before) for tap in range(size)]
        for n, out, (before, _) in zip(x.shape[1:3], outputs, ends, strict=True)
    ]
    for i, rows in enumerate(sides[0]):
        for j, cols in enumerate(sides[1]):
            if rows and cols:
                yield i, j, (every, rows[0], cols[0]), (every, rows[1], cols[1])


def _overlap(inputs: int, outputs: int, shift: int) -> tuple[slice, slice] | None:
    """The input pixels i + shift that exist, and the output pixels i that see them."""
    start, stop = max(0, -shift), min(outputs, inputs - shift)
    return (slice(start + shift, stop + shift), slice(start, stop)) if start < stop else None


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _by_rows(x: Array, kernel: Array, stride: int, ends: Pads) -> Array:
    """XLA's convolution; the gradient of its kernel is summed over blocks of rows."""
    return _native(x, kernel, stride, ends)


def _forward(x: Array, kernel: Array, stride: int, ends: Pads) -> tuple[Array, Any]:
    return _native(x, kernel, stride, ends), (x, kernel)


def _backward(stride: int, ends: Pads, saved: Any, g: Array) -> tuple[Array, Array]:
    x, kernel = saved
    _, input_gradient = jax.vjp(lambda x: _native(x, kernel, stride, ends), x)
    kernel_gradient = _kernel_gradient(x, g, kernel.shape[0], stride, ends)
    return *input_gradient(g), kernel_gradient.astype(kernel.dtype)


_by_rows.defvjp(_forward, _backward)


def _kernel_gradient(x: Array, g: Array, size: int, stride: int, ends: Pads) -> Array:
    """im2col over a block of rows of all images, then one matmul with their gradients, in float32.

    Blocks are so small that their rows stay in the cache.
    """
    b, h, w, outputs = g.shape
    inputs = x.shape[-1]
    if stride == 1 and outputs < inputs:  # fewer channels to lay side by side: g moves over x
        rows, cols = ((size - 1 - before, size - 1 - after) for before, after in ends)
        other = _kernel_gradient(g, x, size, 1, (rows, cols))
        return other[::-1, ::-1].swapaxes(2, 3)
    blocks = -(-h // -(-512 // (b * w)))  # 512 pixels make an efficient product
    block = -(-h // blocks)  # rows
    span = (block - 1) * stride + 1
    g = jnp.pad(g, ((0, 0), (0, blocks * block - h), (0, 0), (0, 0)))
    below = max(0, (blocks * block - 1) * stride + size - x.shape[1] - sum(ends[0]))
    x = jnp.pad(x, ((0, 0), (ends[0][0], ends[0][1] + below), ends[1], (0, 0)))

    def add_block(total: Array, number: Array) -> tuple[Array, None]:
        row = number * block
        pixels = jax.lax.dynamic_slice_in_dim(x, row * stride, span + size - 1, axis=1)
        width = (w - 1) * stride + 1
        taps = [
            pixels[:, i : i + span : stride, j : j + width : stride]
            for i in range(size)
            for j in range(size)
        ]
        gradients = jax.lax.dynamic_slice_in_dim(g, row, block, axis=1)
        # the taps on the right: a tenth to a quarter faster than on the left
        return total + product("bhwo,bhwk->ok", gradients, jnp.concatenate(taps, axis=-1)), None

    zeros = jnp.zeros((outputs, size * size * inputs), jnp.float32)
    total, _ = jax.lax.scan(add_block, zeros, jnp.arange(blocks))
    return total.T.reshape(size, size, inputs, outputs)


def pads(x: Array, size: int, stride: int, dilation: int, padding: str) -> Pads:
    """Zeros (before, after) the rows and the columns, for a kernel of odd `size`."""
    check_padding(padding)
    if size % 2 == 0:
        raise UserError(f"convolution kernel is {size} wide, expected an odd width: use {size + 1}")
    reach = dilation * (size - 1)
    if padding == "valid":
        if min(x.shape[1:3]) <= reach:
            raise UserError(
                f"unpadded convolution of {reach + 1} pixels got a map of "
                f"{x.shape[1]}x{x.shape[2]}: give larger images"
            )
        return (0, 0), (0, 0)
    if padding == "symmetric":
        return (reach // 2, reach // 2), (reach // 2, reach // 2)
    needed = (max((-(-n // stride) - 1) * stride + reach + 1 - n, 0) for n in x.shape[1:3])
    rows, cols = ((total // 2, total - total // 2) for total in needed)
    return rows, cols


class Conv(nn.Module):
    """`conv` with its weights: "kernel" [k, k, in, out], He-normal, and "bias" [out] if asked for.

    Biases are off by default: most convolutions are followed by a batch norm, which has its own.
    """

    features: int
    kernel_size: int = 3
    stride: int = 1
    dilation: int = 1
    use_bias: bool = False
    padding: str = "symmetric"
    kernel_init: Any = nn.initializers.he_normal()
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b h2 w2 o"]:
        shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32).astype(self.dtype)
        x = conv(x.astype(self.dtype), kernel, self.stride, self.dilation, self.padding)
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
            x += bias.astype(self.dtype)[None, None, None]
        return x
