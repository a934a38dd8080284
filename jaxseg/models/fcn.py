"""FCN-32s, FCN-16s, FCN-8s (Long, Shelhamer, Darrell, CVPR 2015, sections 3 and 4).

Two paddings:

- "paper": the authors' released nets. The first convolution is padded by 100 pixels, so that the
  unpadded 7x7 of fc6 fits small images; upsampling keeps all that it reaches, and score maps are
  cropped by the offsets at which they meet. Their weights need it.
- "same": every layer is padded alike on both sides. Score maps are aligned as they are, and crops
  only drop what rounding-up pooling added at the bottom and the right. At 64x64 it computes 17
  times less.

Two trainings (section 4.2; PAMI 2017, section 4.3, "all-at-once"): staged, each net starting from
the coarser one's weights, whose names and shapes it shares (`init_from`); or `at_once`.

Deviation: the authors' upsampling kernels between skips hold weights between classes, all zero in
their released nets; here those weights do not exist.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxseg.errors import UserError
from jaxseg.models.blocks import score
from jaxseg.models.contract import CoversImage
from jaxseg.models.vgg import VGG16
from jaxseg.ops.layers import Layers, bind_model
from jaxseg.ops.norm import GLOBAL, Statistics
from jaxseg.ops.transposed import BilinearUp

SKIPS = {32: (), 16: ("pool4",), 8: ("pool4", "pool3")}  # fused in this order, by stride
AT_ONCE_SCALES = {"pool4": 1e-2, "pool3": 1e-4}

# Offsets of the "paper" padding, as in the released nets: where a map that upsampling made begins
# in the map it meets. Pixel j of a pooling of stride s lies at s * j + (s - 1) / 2 - 99 in the
# image, pixel k of fc6 at 32 k + 12.5, and unpadded upsampling by f puts input pixel k at output
# pixel f * k + f - 1/2: upsampled scores begin 5 pixels into pool4, and so on.
SKIP_OFFSETS = {"pool4": 5, "pool3": 9}
FINAL_OFFSETS = {32: 19, 16: 27, 8: 31}
PAPER_PADDING = 99  # with the one that the first convolution has anyway: 100

PADDINGS = ("paper", "same")
LEARNED = ("none", "skips", "all")


class FCN(CoversImage, nn.Module):
    """Logits at full resolution; endpoints "pool1".."pool5", "fc7" and the scores before fusion.

    - `stride` of the last upsampling: 32, 16 (with pool4) or 8 (with pool4 and pool3). The score
      layers start at zero (section 4.3), so at first only they have a gradient.
    - `padding`: "paper" or "same", see above.
    - `at_once`: pool4 and pool3 are scaled by 0.01 and 0.0001 before they are scored, so that all
      skips can be trained at once.
    - `learned_upsampling`: all start bilinear; learned are "skips", those between skips (the
      paper), "all", or "none" (the released nets).
    - `width_multiplier` and `batch_norm` are VGG16's, `fc_width` is that of fc6 and fc7, after
      which `dropout` acts in training.
    """

    num_classes: int
    stride: int = 8
    padding: str = "same"
    at_once: bool = False
    learned_upsampling: str = "skips"
    width_multiplier: float = 1.0
    fc_width: int = 4096
    dropout: float = 0.5
    batch_norm: bool = False
    norm_epsilon: float = 1e-5
    norm_momentum: float = 0.9
    dtype: Any = jnp.float32
    statistics: Statistics = GLOBAL
    remat: bool = False

    def __post_init__(self):
        if self.stride not in SKIPS:
            raise UserError(f"fcn: stride is {self.stride!r}, expected 32, 16 or 8")
        if self.padding not in PADDINGS:
            raise UserError(f"fcn: padding is {self.padding!r}, expected {' or '.join(PADDINGS)}")
        if self.learned_upsampling not in LEARNED:
            known = ", ".join(LEARNED)
            raise UserError(
                f"fcn: learned_upsampling is {self.learned_upsampling!r}, expected one of {known}"
            )
        super().__post_init__()

    @nn.compact
    def __call__(
        self, images: Float[Array, "b h w c"], *, train: bool
    ) -> tuple[Float[Array, "b h w k"], dict[str, Array]]:
        layers = bind_model(self, train=train, padding="symmetric")
        paper = self.padding == "paper"
        between = self.learned_upsampling != "none"

        out = self._encoder(layers)(_pad(images) if paper else images)
        x = out["fc7"] = self._fully_connected(out["pool5"], layers, train)
        x = out["score_fc7"] = self._score(x, layers, "score_fc7")
        for pool in SKIPS[self.stride]:
            features = out[pool] * AT_ONCE_SCALES[pool] if self.at_once else out[pool]
            skip = out[f"score_{pool}"] = self._score(features, layers, f"score_{pool}")
            x = BilinearUp(2, learned=between, full=paper, name=f"up_to_{pool}")(x)
            if paper:
                x += _crop(skip, x, SKIP_OFFSETS[pool])
            else:
                x = _crop(x, skip) + skip
        last = self.learned_upsampling == "all"
        x = BilinearUp(self.stride, learned=last, full=paper, name="up_final")(x)
        return _crop(x, images, FINAL_OFFSETS[self.stride] if paper else 0), out

    def _encoder(self, layers: Layers) -> nn.Module:
        width = max(1, round(64 * self.width_multiplier))
        return VGG16(layers, width=width, batch_norm=self.batch_norm, name="encoder")

    def _fully_connected(self, x: Array, layers: Layers, train: bool) -> Array:
        """VGG16's fully connected layers as convolutions: fc6 and fc7, each with dropout."""
        padding = "valid" if self.padding == "paper" else "symmetric"
        for name, kernel_size in (("fc6", 7), ("fc7", 1)):
            conv = layers.conv(
                self.fc_width, kernel_size=kernel_size, use_bias=True, padding=padding, name=name
            )
            x = nn.Dropout(self.dropout, deterministic=not train)(nn.relu(conv(x)))
        return x

    def _score(self, x: Array, layers: Layers, name: str) -> Array:
        return score(x, self.num_classes, layers, name, kernel_init=nn.initializers.zeros)


def _pad(images: Array) -> Array:
    sides = (PAPER_PADDING, PAPER_PADDING)
    return jnp.pad(images, ((0, 0), sides, sides, (0, 0)))


def _crop(x: Array, like: Array, offset: int = 0) -> Array:
    """As many rows and columns of `x` as `like` has, from `offset` on."""
    rows, cols = like.shape[1:3]
    return x[:, offset : offset + rows, offset : offset + cols]


Model = FCN
