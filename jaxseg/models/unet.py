"""U-Net (Ronneberger, Fischer, Brox, MICCAI 2015, figure 1), padded or as published.

The paper's net is `padding="valid", batch_norm=False, dropout=(0.5, 0.5)`: unpadded convolutions
turn 572 pixels into 388, skips are cropped, and an image is predicted tile by tile with its border
mirrored (`jaxseg/inference`). Weights start as in He et al. 2015 (section 3), from a truncated
normal distribution of the same variance.

The default pads every convolution, so that the logits are as large as the image, and follows each
3x3 by batch norm. It takes images of any size: pooling rounds up, and the upsampled map is cropped
at the bottom and the right to the size of its skip, where the paper crops the skip.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxseg.errors import UserError
from jaxseg.ops.layers import Layers, bind_model
from jaxseg.ops.norm import GLOBAL, Statistics
from jaxseg.ops.pooling import max_pool, max_pool_with_indices, max_unpool
from jaxseg.ops.resize import check_corners
from jaxseg.ops.transposed import UpConv
from jaxseg.ops.upsample import check_method, enlarge

# How to double a map, and how many pixels on each side saw its border: without padding these are
# dropped, for in another tile they would be different. The last number is the size of the
# convolution that halves the channels; "transposed" does so itself.
UPSAMPLING = {
    "transposed": (0, 0),
    "nearest": (0, 3),
    "bilinear": (1, 3),
    "bicubic": (3, 3),
    "max_unpool": (0, 1),
    "bed_of_nails": (0, 3),
}


class DoubleConv(nn.Module):
    """Twice: 3x3 convolution, batch norm or else a bias, ReLU."""

    features: int
    batch_norm: bool
    layers: Layers

    @nn.compact
    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b h2 w2 o"]:
        for i in (1, 2):
            x = self.layers.conv(self.features, use_bias=not self.batch_norm, name=f"conv{i}")(x)
            if self.batch_norm:
                x = self.layers.norm(name=f"norm{i}")(x)
            x = nn.relu(x)
        return x


class Encoder(nn.Module):
    """The contracting path: "level0" at full resolution, "level{depth}" at 1 / 2**depth of it.

    With `keep_indices` also returns the indices of the maxima of each level's pooling.
    """

    width: int
    dropout: tuple[float, ...]  # one rate a level
    block: Callable[..., DoubleConv]
    train: bool
    keep_indices: bool

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> tuple[dict[str, Array], dict[int, Array]]:
        out, indices = {}, {}
        for level, rate in enumerate(self.dropout):
            if level > 0 and self.keep_indices:
                x, indices[level - 1] = max_pool_with_indices(x)
            elif level > 0:
                x = max_pool(x)
            x = self.block(self.width << level, name=f"level{level}")(x)
            # before the pooling and the skip, as in the authors' net
            x = out[f"level{level}"] = nn.Dropout(rate, deterministic=not self.train)(x)
        return out, indices


class UNet(nn.Module):
    """Endpoints "level0".."level{depth}" and "up{depth-1}".."up0"; logits as large as "up0".

    - `width` channels at full resolution, twice as many after each of the `depth` poolings: 64 and
      4 are the paper's.
    - `padding`: "same" gives logits as large as the image, "valid" leaves `context` pixels of it
      out on every side.
    - `dropout`: rates at the last levels of the contracting path; () is none. The paper says "at
      the end of the contracting path" (section 3.1), the authors' Caffe net has (0.5, 0.5).
    - `upsampling`: "transposed" is the paper's 2x2 up-convolution (figure 1). "nearest", "bilinear"
      and "bicubic" double the map, then a 3x3 convolution halves the channels; "bed_of_nails" does
      so too, its zeros filled by that convolution. For "max_unpool" a 1x1 halves them first, since
      the indices are those of the skip's channels.
    - `upsampling_corners` of bilinear and bicubic (see `ops.resize`). "half_pixel" is what 2x2
      pooling fits; "aligned" moves pixels by an amount that depends on the size of the map, so that
      it has no "valid" form.
    - `without_skips`: levels (0 is full resolution) whose maps the decoder does not see. Nothing is
      concatenated there, so that the next convolution has half as many weights.
    """

    num_classes: int
    width: int = 64
    depth: int = 4
    padding: str = "same"
    batch_norm: bool = True
    dropout: tuple[float, ...] = ()
    upsampling: str = "transposed"
    upsampling_corners: str = "half_pixel"
    without_skips: tuple[int, ...] = ()
    dtype: Any = jnp.float32
    statistics: Statistics = GLOBAL
    remat: bool = False

    def __post_init__(self):
        if self.padding not in ("same", "valid"):
            raise UserError(f"unet: padding is {self.padding!r}, expected 'same' or 'valid'")
        if len(self.dropout) > self.depth + 1:
            raise UserError(
                f"unet: dropout {self.dropout} has {len(self.dropout)} rates, but a net of depth "
                f"{self.depth} has {self.depth + 1} levels: give one for each, or for the last few"
            )
        check_method(self.upsampling, tuple(UPSAMPLING))
        check_corners(self.upsampling_corners)
        if self.padding == "valid" and self.upsampling_corners == "aligned":
            raise UserError(
                "unet: padding 'valid' has no upsampling_corners 'aligned': use 'half_pixel'"
            )
        self._check_skips()
        super().__post_init__()

    @nn.nowrap
    def _check_skips(self) -> None:
        if wrong := [level for level in self.without_skips if level not in range(self.depth)]:
            raise UserError(
                f"unet: without_skips names level {wrong[0]}, but a net of depth {self.depth} has "
                f"skips at levels 0 to {self.depth - 1}"
            )
        if self.without_skips and self.upsampling == "max_unpool":
            raise UserError(
                "unet: upsampling 'max_unpool' takes the skip's maxima, so that no skip can be "
                "removed: leave without_skips at (), or use another upsampling"
            )

    # of models/contract.py, the rest of which depends on the padding
    corners = "half_pixel"  # logits are as large as the image, or as its part that has some
    interpolation = (1, "half_pixel")  # maps are doubled as exactly as pooling halved them
    labels_pixels = True

    @property
    def context(self) -> int:
        """Pixels on every side of the image that have no logits: 92 for the paper's net."""
        if self.padding == "same":
            return 0
        dropped, kernel_size = UPSAMPLING[self.upsampling]
        lost = 2  # by the two convolutions of the last level, in its own pixels
        for _ in range(self.depth):
            lost = 2 + 2 * lost + dropped + kernel_size // 2 + 2
        return lost

    @property
    def grid(self) -> int:
        """Valid sizes, and tiles that pool the same pixels together, are this far apart."""
        return 2**self.depth

    @nn.nowrap
    def fit(self, size: int) -> int:
        """The smallest valid height or width of at least `size`: all pooled maps are even."""
        if self.padding == "same":
            return size
        # a pooling of n pixels leads to n / 2 - 4, so that n + 4 is halved each time
        return -(-(max(size, 2 * self.context + 1) + 4) // self.grid) * self.grid - 4

    @nn.nowrap
    def check_size(self, size: tuple[int, int]) -> None:
        """Raise UserError unless images of this height and width can go in."""
        if wrong := [n for n in size if n != self.fit(n)]:
            above = self.fit(wrong[0])
            below = above - self.grid
            near = f"{below} or {above}" if below == self.fit(below) else f"{above}"
            raise UserError(
                f"unet: valid convolutions can't take {size[0]}x{size[1]}, for {wrong[0]} does "
                f"not pool evenly or leaves no pixel: use {near}"
            )

    @nn.compact
    def __call__(
        self, images: Float[Array, "b h w c"], *, train: bool
    ) -> tuple[Float[Array, "b h2 w2 k"], dict[str, Array]]:
        self.check_size((images.shape[1], images.shape[2]))
        padding = "symmetric" if self.padding == "same" else "valid"
        layers = bind_model(self, train=train, padding=padding)
        block = partial(layers.block(DoubleConv), batch_norm=self.batch_norm, layers=layers)
        rates = (0.0,) * (self.depth + 1 - len(self.dropout)) + self.dropout
        keep_indices = self.upsampling == "max_unpool"
        encoder = Encoder(self.width, rates, block, train, keep_indices, name="encoder")

        out, indices = encoder(images)
        x = out[f"level{self.depth}"]
        for level in reversed(range(self.depth)):
            skip = out[f"level{level}"]
            x = self._up(x, skip, indices.get(level), layers, level)
            if level not in self.without_skips:
                x = jnp.concatenate([_centre(skip, x.shape), x], axis=-1)
            x = out[f"up{level}"] = block(self.width << level, name=f"up{level}")(x)
        logits = layers.conv(self.num_classes, kernel_size=1, use_bias=True, name="logits")(x)
        return logits.astype(jnp.float32), out

    def _up(
        self, x: Array, skip: Array, indices: Array | None, layers: Layers, level: int
    ) -> Array:
        """A map of twice the size, cropped to the skip's where pooling had rounded up."""
        features, name = self.width << level, f"up{level}_conv"
        b, h, w, _ = x.shape
        rows, cols = min(2 * h, skip.shape[1]), min(2 * w, skip.shape[2])
        if self.upsampling == "transposed":
            x = UpConv(features, dtype=self.dtype, name=name)(x)
            return x[:, :rows, :cols]
        dropped, kernel_size = UPSAMPLING[self.upsampling]
        conv = layers.conv(features, kernel_size=kernel_size, use_bias=True, name=name)
        if indices is not None:
            x = _centre(conv(x), indices.shape)  # zeros where unpadded convolutions lost pixels
            x = max_unpool(x, indices, (skip.shape[1], skip.shape[2]))
            return _centre(x, (b, rows, cols))
        x = enlarge(x, (2 * h, 2 * w), self.upsampling, corners=self.upsampling_corners)[
            :, :rows, :cols
        ]
        if self.padding == "valid":
            x = _centre(x, (b, rows - 2 * dropped, cols - 2 * dropped))
        return conv(x)


def _centre(x: Array, shape: tuple[int, ...]) -> Array:
    """Crop rows and columns to those of `shape` about the centre, or fill up with zeros."""
    rows, cols = ((new - old) // 2 for new, old in zip(shape[1:3], x.shape[1:3], strict=True))
    ends = ((0, 0, 0), (rows, rows, 0), (cols, cols, 0), (0, 0, 0))
    return jax.lax.pad(x, jnp.zeros((), x.dtype), ends)


Model = UNet
