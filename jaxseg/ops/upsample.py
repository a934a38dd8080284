"""Upsampling of feature maps, all methods side by side, to compare them in one model."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxseg.errors import UserError, suggest
from jaxseg.ops import resize
from jaxseg.ops.layers import Layers
from jaxseg.ops.transposed import BilinearUp

METHODS = (*resize.METHODS, "transposed", "resize_conv", "bed_of_nails")


def check_method(method: str, methods: tuple[str, ...] = METHODS) -> None:
    """Raise UserError unless `method` is one of `methods`."""
    if method not in methods:
        raise UserError(f"no upsampling {method!r} here: {suggest(method, methods)}")


class Upsample(nn.Module):
    """Enlarge by `factor`, channels kept: [b, h, w, c] -> [b, *size, c] with the `size` asked for.

    - "nearest", "bilinear", "bicubic": to that size, see `ops.resize`; `corners` says how.
    - "resize_conv": nearest, then a 3x3 convolution, learned ("conv"), which leaves no checkerboard
      (Odena et al. 2016, "Deconvolution and checkerboard artifacts").
    - "transposed": a learned depthwise transposed convolution that starts as bilinear
      ("transposed", Long et al. 2015, section 4.3).
    - "bed_of_nails": each pixel to the top left of its block, zeros elsewhere.

    The last two enlarge by `factor` exactly and leave off what is over at the bottom and right:
    `size` is that of a map before a pooling or stride that rounded up.
    """

    method: str
    layers: Layers
    factor: int = 2
    corners: str = "half_pixel"

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], size: tuple[int, int]
    ) -> Float[Array, "b h2 w2 c"]:
        check_method(self.method)
        rows, cols = size
        if self.method == "transposed":
            y = BilinearUp(self.factor, name="transposed")(x).astype(x.dtype)
            return y[:, :rows, :cols]
        if self.method == "resize_conv":
            y = resize.resize(x, size, method="nearest")
            return self.layers.conv(x.shape[-1], use_bias=True, name="conv")(y)
        return enlarge(x, size, self.method, self.factor, self.corners)


def enlarge(
    x: Float[Array, "b h w c"],
    size: tuple[int, int],
    method: str,
    factor: int = 2,
    corners: str = "half_pixel",
) -> Float[Array, "b h2 w2 c"]:
    """The methods of `Upsample` that learn nothing."""
    if method == "bed_of_nails":
        return bed_of_nails(x, size, factor)
    return resize.resize(x, size, corners, method)


def bed_of_nails(
    x: Float[Array, "b h w c"], size: tuple[int, int], factor: int = 2
) -> Float[Array, "b h2 w2 c"]:
    """Pixel (i, j) to (factor * i, factor * j), zeros elsewhere, cropped to `size`."""
    _, h, w, _ = x.shape
    # Between pixels lie factor - 1 zeros; what is over at the ends may be negative, which crops.
    below, right = size[0] - (h - 1) * factor - 1, size[1] - (w - 1) * factor - 1
    ends = ((0, 0, 0), (0, below, factor - 1), (0, right, factor - 1), (0, 0, 0))
    return jax.lax.pad(x, jnp.zeros((), x.dtype), ends)
