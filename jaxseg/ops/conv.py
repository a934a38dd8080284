"""Dense convolution, padded alike on both sides."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxseg.errors import UserError


def conv(
    x: Float[Array, "b h w i"], kernel: Float[Array, "k k i o"], stride: int = 1, dilation: int = 1
) -> Float[Array, "b h2 w2 o"]:
    """Cross-correlate with an odd square kernel; stride s gives ceil(h / s) rows.

    The padding is dilation * (k - 1) / 2 zeros on every side, PyTorch's usual one. XLA's "SAME"
    would put one row less above than below where stride 2 meets an even size, and weights trained
    with the one are half a pixel off in the other.
    """
    size = kernel.shape[0]
    if size % 2 == 0:
        raise UserError(f"convolution kernel is {size} wide, expected an odd width: use {size + 1}")
    if size == 1:  # a matmul: twice as fast as XLA's convolution on a CPU
        return jnp.einsum("bhwi,io->bhwo", x[:, ::stride, ::stride], kernel[0, 0])
    pad = dilation * (size - 1) // 2
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(stride, stride),
        padding=((pad, pad), (pad, pad)),
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


class Conv(nn.Module):
    """`conv` with its weights: "kernel" [k, k, in, out], He-normal, and "bias" [out] if asked for.

    Biases are off by default: most convolutions are followed by a batch norm, which has its own.
    """

    features: int
    kernel_size: int = 3
    stride: int = 1
    dilation: int = 1
    use_bias: bool = False
    kernel_init: Any = nn.initializers.he_normal()
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b h2 w2 o"]:
        shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        x = conv(x.astype(self.dtype), kernel.astype(self.dtype), self.stride, self.dilation)
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
            x += bias.astype(self.dtype)[None, None, None]
        return x
