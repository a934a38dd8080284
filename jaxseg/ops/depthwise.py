"""Depthwise convolution: each channel has its own kernel (Chollet, CVPR 2017, section 3).

A depthwise convolution does little arithmetic for what it reads, so that how it is written decides
its speed. Its lowerings:

- "grouped": XLA's convolution with one group a channel. On a CPU it takes 20 times PyTorch's time.
- "shifted": a sum of k * k shifted products, its gradients the sums that follow from it.
- "rows": the same sum. The gradient of the input is summed for each phase of the stride, without
  the zeros between, that of the kernel row by row: products that stay in the cache, a tenth of the
  time of k * k reductions on a CPU. A GPU waits for each row. It has no forward-mode derivative.
"""

import functools
import operator
from collections.abc import Iterable, Iterator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxseg.ops import lowering
from jaxseg.ops.conv import pads

LOWERINGS = ("grouped", "shifted", "rows")


def depthwise_conv(
    x: Float[Array, "b h w c"],
    kernel: Float[Array, "k k 1 c"],
    stride: int = 1,
    dilation: int = 1,
    padding: str = "symmetric",
) -> Float[Array, "b h2 w2 c"]:
    """Cross-correlate each channel with its own odd square kernel, summed in float32."""
    rows, cols = pads(x, kernel.shape[0], stride, dilation, padding)
    shapes = "strided" if stride > 1 else "dilated" if dilation > 1 else "dense"
    form = lowering.choose("depthwise_conv", shapes, x.dtype, LOWERINGS)
    if form == "grouped":
        return jax.lax.conv_general_dilated(
            x,
            kernel,
            window_strides=(stride, stride),
            padding=(rows, cols),
            rhs_dilation=(dilation, dilation),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=x.shape[-1],
        )
    # float32 before the taps part, so that the gradient of `x` is summed in it too
    padded = jnp.pad(x.astype(jnp.float32), ((0, 0), rows, cols, (0, 0)))
    sums: Any = _shifted if form == "shifted" else _shifted_by_rows
    return sums(padded, kernel[:, :, 0].astype(jnp.float32), stride, dilation).astype(x.dtype)


def _shifted(
    x: Float[Array, "b h w c"], kernel: Float[Array, "k k c"], stride: int, dilation: int
) -> Float[Array, "b h2 w2 c"]:
    reach = dilation * (kernel.shape[0] - 1)
    h, w = ((n - reach - 1) // stride * stride + 1 for n in x.shape[1:3])
    return _sum(
        x[:, i * dilation :, j * dilation :][:, :h:stride, :w:stride] * weights[None, None, None]
        for i, j, weights in _taps(kernel)
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _shifted_by_rows(x: Array, kernel: Array, stride: int, dilation: int) -> Array:
    return _shifted(x, kernel, stride, dilation)


def _forward(x: Array, kernel: Array, stride: int, dilation: int) -> tuple[Array, Any]:
    return _shifted(x, kernel, stride, dilation), (x, kernel)


def _backward(stride: int, dilation: int, saved: Any, g: Array) -> tuple[Array, Array]:
    x, kernel = saved
    size = (x.shape[1], x.shape[2])
    return (
        _input_gradient(g, kernel, size, stride, dilation),
        _kernel_gradient(x, g, kernel.shape[0], stride, dilation),
    )


_shifted_by_rows.defvjp(_forward, _backward)


def _input_gradient(
    g: Array, kernel: Array, size: tuple[int, int], stride: int, dilation: int
) -> Array:
    """Pixel stride * m + p has a share in the outputs m + (p - tap) / stride, where that is whole.

    So the pixels of phase p are a sum of few shifted maps; interleaved, the phases are the whole.
    """
    b, h, w, c = g.shape
    rows, cols = (-(-n // stride) for n in size)  # of a phase
    before = dilation * (kernel.shape[0] - 1) // stride + 1
    ends = ((0, 0), (before, max(rows - h, 0)), (before, max(cols - w, 0)), (0, 0))
    g = jnp.pad(g, ends)

    def phase(p: int, q: int) -> Array:
        terms = []
        for i, j, weights in _taps(kernel):
            row, col = p - i * dilation, q - j * dilation
            if row % stride == col % stride == 0:
                top, left = before + row // stride, before + col // stride
                shifted = g[:, top : top + rows, left : left + cols]
                terms.append(shifted * weights[None, None, None])
        return _sum(terms) if terms else jnp.zeros((b, rows, cols, c), g.dtype)

    steps = range(stride)
    phases = jnp.stack([jnp.stack([phase(p, q) for q in steps], axis=3) for p in steps], axis=2)
    return phases.reshape(b, rows * stride, cols * stride, c)[:, : size[0], : size[1]]


def _kernel_gradient(x: Array, g: Array, size: int, stride: int, dilation: int) -> Array:
    """A scan over the rows of `g`; the batch stays whole, so that it may be sharded."""
    b, h, w, c = g.shape
    width = (w - 1) * stride + 1

    def add_row(sums: tuple[Array, ...], row: Array) -> tuple[tuple[Array, ...], None]:
        gradients = jax.lax.dynamic_index_in_dim(g, row, axis=1, keepdims=False)
        lines = [
            jax.lax.dynamic_index_in_dim(x, row * stride + i * dilation, axis=1, keepdims=False)
            for i in range(size)
        ]
        shifted = (line[:, j * dilation :][:, :width:stride] for line in lines for j in range(size))
        return tuple(s + line * gradients for s, line in zip(sums, shifted, strict=True)), None

    zeros = (jnp.zeros((b, w, c), g.dtype),) * size**2
    sums, _ = jax.lax.scan(add_row, zeros, jnp.arange(h))
    return jnp.stack(sums).sum(axis=(1, 2)).reshape(size, size, c)


def _taps(kernel: Array) -> Iterator[tuple[int, int, Array]]:
    """Row, column and weights [c] of every tap."""
    size = kernel.shape[0]
    return ((i, j, kernel[i, j]) for i in range(size) for j in range(size))


def _sum(terms: Iterable[Array]) -> Array:
    return functools.reduce(operator.add, terms)


class DepthwiseConv(nn.Module):
    """`depthwise_conv` with its weights: "kernel" [k, k, 1, channels], He-normal; no bias."""

    kernel_size: int = 3
    stride: int = 1
    dilation: int = 1
    padding: str = "symmetric"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
        shape = (self.kernel_size, self.kernel_size, 1, x.shape[-1])
        init = nn.initializers.he_normal(in_axis=(0, 1), out_axis=(2,), batch_axis=(3,))
        kernel = self.param("kernel", init, shape, jnp.float32).astype(self.dtype)
        return depthwise_conv(
            x.astype(self.dtype), kernel, self.stride, self.dilation, self.padding
        )
