"""Transposed convolution (up-convolution, "deconvolution"), dense and one plane a class.

Both are computed phase by phase. Output row i * stride + r is the sum over q of x[i - q] *
kernel[q * stride + r]: each phase r is an ordinary stride-1 convolution of the input, and
interleaving the stride * stride phases gives the output. No zeros are inserted and multiplied.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def transposed_conv(
    x: Float[Array, "b h w i"], kernel: Float[Array, "k k i o"], stride: int, padding: int = 0
) -> Float[Array, "b h2 w2 o"]:
    """The transpose of a stride-`stride` convolution, PyTorch's and Caffe's definition.

    Input pixel (y, x) adds kernel * x[y, x] to the output window that starts at
    (y * stride - padding, x * stride - padding). Output rows: (h - 1) * stride + k - 2 * padding.
    """
    taps = _split_phases(kernel, stride)
    q, _, _, _, i, o = taps.shape
    taps = taps.transpose(0, 2, 4, 1, 3, 5).reshape(q, q, i, stride * stride * o)
    if q == 1:  # stride >= k, as in U-Net's 2x2 up-convolution: windows do not overlap
        phases = jnp.einsum("bhwi,io->bhwo", x, taps[0, 0])
    else:
        phases = jax.lax.conv_general_dilated(
            x,
            taps[::-1, ::-1],  # x[i - q] * taps[q] is a convolution, lax computes a correlation
            window_strides=(1, 1),
            padding=((q - 1, q - 1), (q - 1, q - 1)),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
    b, h, w, _ = phases.shape
    phases = phases.reshape(b, h, w, stride, stride, o).transpose(0, 1, 3, 2, 4, 5)
    return _interleave(phases, x.shape, kernel.shape[0], padding)


def transposed_conv_per_class(
    x: Float[Array, "b h w c"], kernel: Float[Array, "k k #c"], stride: int, padding: int
) -> Float[Array, "b h2 w2 c"]:
    """A transposed convolution without weights between classes: plane c acts on channel c alone.

    FCN's upsampling. As a dense kernel, stride 32 and 1000 classes would hold 16 GB, all zero off
    the class diagonal. With k at most 2 * stride each output pixel is a weighted sum of a 2x2
    neighbourhood of the input. A kernel with one plane serves all channels.
    """
    taps = _split_phases(kernel, stride)  # [q, r, q, r, c]
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
    return _interleave(phases, x.shape, kernel.shape[0], padding)


def _split_phases(kernel: Array, stride: int) -> Array:
    """[k, k, ...] -> [q, stride, q, stride, ...], filled up with zeros to a multiple of stride."""
    k = kernel.shape[0]
    q = -(-k // stride)
    fill = q * stride - k
    kernel = jnp.pad(kernel, ((0, fill), (0, fill)) + ((0, 0),) * (kernel.ndim - 2))
    return kernel.reshape(q, stride, q, stride, *kernel.shape[2:])


def _interleave(phases: Array, input_shape: tuple[int, ...], k: int, padding: int) -> Array:
    """[b, h, stride, w, stride, c] -> [b, h * stride, w * stride, c], less padding and filling."""
    b, h, stride, w, _, c = phases.shape
    rows, cols = ((n - 1) * stride + k - 2 * padding for n in input_shape[1:3])
    full = phases.reshape(b, h * stride, w * stride, c)
    return full[:, padding : padding + rows, padding : padding + cols]


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
