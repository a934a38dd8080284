"""Transposed convolution (up-convolution, "deconvolution"), and the layers made of it.

Lowerings of the dense one, equal to rounding:

- "zero_insertion": zeros between the pixels and an ordinary convolution (XLA's lhs_dilation).
- "phases": one convolution whose channels are the output's phases (see `ops.phases`).
- "windows": forward as "phases" where the stride divides the kernel, else as "zero_insertion";
  gradients as two matrix products with the output's windows, of a large kernel row by row. On a CPU
  XLA's own gradients of either convolution, where windows overlap, take 20 to 160 times as long.
- "einsum": one matrix product, for windows that do not overlap, as in U-Net's 2x2 up-convolution.
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.ops import lowering
from jaxseg.ops.phases import interleave, split_kernel, split_output
from jaxseg.ops.product import product
from jaxseg.ops.transposed_per_class import transposed_conv_per_class

LOWERINGS = ("zero_insertion", "phases", "windows", "einsum")
WHOLE_WINDOWS = 8  # the largest kernel whose windows are cut out at once, by a slice for each tap


def transposed_conv(
    x: Float[Array, "b h w i"], kernel: Float[Array, "k k i o"], stride: int, padding: int = 0
) -> Float[Array, "b h2 w2 o"]:
    """The transpose of a stride-`stride` convolution, PyTorch's and Caffe's definition.

    Input pixel (y, x) adds kernel * x[y, x] to the output window that starts at
    (y * stride - padding, x * stride - padding). Output rows: (h - 1) * stride + k - 2 * padding.
    """
    apart = kernel.shape[0] <= stride
    functions = {"zero_insertion": _zero_insertion, "phases": _phases, "windows": _windows}
    if apart:
        functions["einsum"] = _einsum
    shapes = "stride = kernel" if apart else "overlapping"
    name = lowering.choose("transposed_conv", shapes, x.dtype, tuple(functions))
    return functions[name](x, kernel, stride, padding)


def _zero_insertion(x: Array, kernel: Array, stride: int, padding: int) -> Array:
    before = kernel.shape[0] - 1 - padding
    return jax.lax.conv_general_dilated(
        x,
        kernel[::-1, ::-1],  # a transposed convolution flips the kernel
        window_strides=(1, 1),
        padding=((before, before), (before, before)),
        lhs_dilation=(stride, stride),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def _phases(x: Array, kernel: Array, stride: int, padding: int) -> Array:
    taps = split_kernel(kernel, stride)
    q, _, _, _, i, o = taps.shape
    taps = taps.transpose(0, 2, 4, 1, 3, 5).reshape(q, q, i, stride * stride * o)
    phases = jax.lax.conv_general_dilated(
        x,
        taps[::-1, ::-1],  # x[i - q] * taps[q] is a convolution, lax computes a correlation
        window_strides=(1, 1),
        padding=((q - 1, q - 1), (q - 1, q - 1)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    return _arrange(phases, x, kernel, stride, padding)


def _einsum(x: Array, kernel: Array, stride: int, padding: int) -> Array:
    i, o = kernel.shape[2:]
    taps = split_kernel(kernel, stride)[0, :, 0].transpose(2, 0, 1, 3)
    phases = jnp.einsum("bhwi,io->bhwo", x, taps.reshape(i, stride * stride * o))
    return _arrange(phases, x, kernel, stride, padding)


def _arrange(phases: Array, x: Array, kernel: Array, stride: int, padding: int) -> Array:
    """[b, h, w, stride * stride * o] -> the output."""
    b, h, w, _ = phases.shape
    phases = phases.reshape(b, h, w, stride, stride, -1).transpose(0, 1, 3, 2, 4, 5)
    return interleave(phases, x.shape, kernel.shape[0], padding)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _windows(x: Array, kernel: Array, stride: int, padding: int) -> Array:
    whole = kernel.shape[0] % stride == 0  # or phases would multiply what fills the kernel up
    return (_phases if whole else _zero_insertion)(x, kernel, stride, padding)


def _windows_forward(
    x: Array, kernel: Array, stride: int, padding: int
) -> tuple[Array, tuple[Array, Array]]:
    return _windows(x, kernel, stride, padding), (x, kernel)


def _windows_backward(
    stride: int, padding: int, saved: tuple[Array, Array], y: Array
) -> tuple[Array, Array]:
    """A row of the matrix of windows is the part of the output's gradient that a pixel reached."""
    x, kernel = saved
    phases = split_output(y, x.shape, kernel.shape[0], stride, padding)
    gradients = _at_once if kernel.shape[0] <= WHOLE_WINDOWS else _row_by_row
    x_gradient, kernel_gradient = gradients(x, kernel, phases)
    return x_gradient.astype(x.dtype), kernel_gradient.astype(kernel.dtype)


def _at_once(x: Array, kernel: Array, phases: Array) -> tuple[Array, Array]:
    """One product each, with windows of k * k pixels."""
    k, _, i, o = kernel.shape
    _, h, w, _ = x.shape
    stride = phases.shape[2]

    def reached(row: int, col: int) -> Array:
        top, left = row // stride, col // stride
        return phases[:, top : top + h, row % stride, left : left + w, col % stride]

    windows = jnp.stack([reached(row, col) for row in range(k) for col in range(k)], axis=3)
    windows = windows.reshape(-1, k * k * o)
    weights = kernel.transpose(0, 1, 3, 2).reshape(k * k * o, i)
    x_gradient = product("nk,ki->ni", windows, weights).reshape(x.shape)
    kernel_gradient = product("ni,nk->ik", x.reshape(-1, i), windows).reshape(i, k, k, o)
    return x_gradient, kernel_gradient.transpose(1, 2, 0, 3)


def _row_by_row(x: Array, kernel: Array, phases: Array) -> tuple[Array, Array]:
    """A scan over the kernel's rows: k * k slices of a kernel of 65 would not compile."""
    k, _, i, o = kernel.shape
    b, h, w, _ = x.shape
    _, _, stride, w_phases, _, _ = phases.shape
    x_pixels = x.reshape(-1, i)

    def add_row(x_gradient: Array, row: tuple[Array, Array]) -> tuple[Array, Array]:
        number, weights = row
        start = (0, number // stride, number % stride, 0, 0, 0)
        line = jax.lax.dynamic_slice(phases, start, (b, h, 1, w_phases, stride, o))[:, :, 0]
        blocks = [line[:, :, left : left + w] for left in range(w_phases - w + 1)]
        windows = jnp.concatenate(blocks, axis=3)[:, :, :, :k].reshape(-1, k * o)
        weights = weights.swapaxes(1, 2).reshape(k * o, i)
        kernel_gradient = product("ni,nk->ik", x_pixels, windows).reshape(i, k, o)
        return x_gradient + product("nk,ki->ni", windows, weights), kernel_gradient

    zeros = jnp.zeros(x_pixels.shape, jnp.float32)
    rows = jnp.arange(k, dtype=jnp.int32), kernel
    x_gradient, kernel_gradient = jax.lax.scan(add_row, zeros, rows)
    return x_gradient.reshape(x.shape), kernel_gradient.swapaxes(1, 2)


_windows.defvjp(_windows_forward, _windows_backward)


def bilinear_kernel(factor: int) -> np.ndarray:
    """The [k, k] kernel, k = 2 * factor - factor % 2, whose transposed convolution interpolates.

    With padding (k - factor) / 2 it upsamples by `factor` bilinearly, half-pixel centres, zero
    outside the image (Long et al. 2015, section 4.3; Caffe's "bilinear" filler).
    """
    k = 2 * factor - factor % 2
    line = 1 - np.abs(np.arange(k) - (k - 1) / 2) / factor
    return np.outer(line, line).astype(np.float32)


class UpConv(nn.Module):
    """Upsampling by `factor` with a factor x factor kernel and a bias: h -> h * factor."""

    features: int
    factor: int = 2
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b h2 w2 o"]:
        # Each output pixel sees one tap, so fan-in is the channels alone: initialise as a 1x1.
        shape = (self.factor, self.factor, x.shape[-1], self.features)
        init = nn.initializers.he_normal(in_axis=-2, out_axis=-1, batch_axis=(0, 1))
        kernel = self.param("kernel", init, shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
        x = transposed_conv(x.astype(self.dtype), kernel.astype(self.dtype), self.factor)
        return x + bias.astype(self.dtype)[None, None, None]


class BilinearUp(nn.Module):
    """Upsampling of scores by `factor`, class by class: h -> h * factor, in float32.

    "kernel" [k, k, classes] starts as bilinear interpolation and is learned; with `learned` False
    there is no parameter and it stays bilinear. With `full` nothing is cropped and the map fades to
    zero beyond its border: h -> (h - 1) * factor + k, Caffe's layer without padding.
    """

    factor: int
    learned: bool = True
    full: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
        bilinear = jnp.asarray(bilinear_kernel(self.factor))[..., None]
        if self.learned:
            k, classes = bilinear.shape[0], x.shape[-1]
            kernel = self.param("kernel", lambda _: jnp.broadcast_to(bilinear, (k, k, classes)))
        else:
            kernel = bilinear
        padding = 0 if self.full else (kernel.shape[0] - self.factor) // 2
        return transposed_conv_per_class(x.astype(jnp.float32), kernel, self.factor, padding)
