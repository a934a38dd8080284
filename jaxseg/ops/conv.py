"""Convolution, dense and depthwise, with the three paddings that published weights rely on.

- "symmetric": dilation * (k - 1) / 2 zeros on every side, PyTorch's and Caffe's usual one.
- "tf_same": TensorFlow's and XLA's "SAME". Where stride 2 meets an even size it puts one row less
  above than below: weights trained with the one are half a pixel off in the other.
- "valid": none.

With the first two, stride s gives ceil(h / s) rows.
"""

import functools
import operator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxseg.errors import UserError

PADDINGS = ("symmetric", "tf_same", "valid")


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
    """Cross-correlate with an odd square kernel."""
    size = kernel.shape[0]
    rows, cols = pads(x, size, stride, dilation, padding)
    if size == 1:  # a matmul: twice as fast as XLA's convolution on a CPU
        return jnp.einsum("bhwi,io->bhwo", x[:, ::stride, ::stride], kernel[0, 0])
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(stride, stride),
        padding=(rows, cols),
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def depthwise_conv(
    x: Float[Array, "b h w c"],
    kernel: Float[Array, "k k 1 c"],
    stride: int = 1,
    dilation: int = 1,
    padding: str = "symmetric",
) -> Float[Array, "b h2 w2 c"]:
    """Cross-correlate each channel with its own odd square kernel, summed in float32.

    A sum of k * k shifted products: XLA's grouped convolution takes 7 to 20 times as long on a CPU.
    """
    size = kernel.shape[0]
    rows, cols = pads(x, size, stride, dilation, padding)
    # float32 before the taps part, so that the gradient of `x` is summed in it too
    padded = jnp.pad(x.astype(jnp.float32), ((0, 0), rows, cols, (0, 0)))
    weights = kernel.astype(jnp.float32)
    reach = dilation * (size - 1)
    h, w = ((n - reach - 1) // stride * stride + 1 for n in padded.shape[1:3])

    def tap(i: int, j: int) -> Array:
        top, left = i * dilation, j * dilation
        shifted = padded[:, top : top + h : stride, left : left + w : stride]
        return shifted * weights[i, j, 0][None, None, None]

    taps = (tap(i, j) for i in range(size) for j in range(size))
    return functools.reduce(operator.add, taps).astype(x.dtype)


def pads(
    x: Array, size: int, stride: int, dilation: int, padding: str
) -> tuple[tuple[int, int], tuple[int, int]]:
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
