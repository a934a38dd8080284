"""VGG16 (Simonyan, Zisserman, ICLR 2015, table 1, column D) as an encoder: conv1_1 to pool5."""

import functools

import flax.linen as nn
from jaxtyping import Array, Float

from jaxseg.errors import UserError
from jaxseg.ops.layers import Layers
from jaxseg.ops.pooling import ROUNDINGS, max_pool

# (convolutions, channels as multiples of `width`) between two poolings
STAGES = ((2, 1), (2, 2), (3, 4), (3, 8), (3, 8))


class VGG16(nn.Module):
    """Endpoints "pool1".."pool5", at strides 2 to 32; also by the names that all encoders share.

    These are "stem", "stage1".."stage4", in the same order. `width` 64 is the paper's. With
    `batch_norm` each convolution is followed by one and has no bias of its own. `rounding` of the
    poolings at odd sizes: "ceil", Caffe's and FCN's, keeps the last row; "floor", torchvision's and
    Keras's, drops it, and refuses images below 32 pixels.
    """

    layers: Layers
    width: int = 64
    batch_norm: bool = False
    rounding: str = "ceil"

    def __post_init__(self):
        if self.rounding not in ROUNDINGS:
            raise UserError(f"rounding is {self.rounding!r}, expected {' or '.join(ROUNDINGS)}")
        super().__post_init__()

    @nn.compact
    def __call__(self, images: Float[Array, "b h w c"]) -> dict[str, Array]:
        h, w = images.shape[1:3]
        if self.rounding == "floor" and min(h, w) < 32:
            raise UserError(
                f"vgg16 with rounding 'floor' got an image of {h}x{w}, expected at least 32x32: "
                "pad it, or use rounding 'ceil'"
            )
        x, out = images, {}
        for stage in range(1, len(STAGES) + 1):
            compute = self.layers.block(functools.partial(VGG16._stage, stage=stage))
            x = out[f"pool{stage}"] = compute(self, x)
            out["stem" if stage == 1 else f"stage{stage - 1}"] = x
        return out

    def _stage(self, x: Array, stage: int) -> Array:
        depth, multiple = STAGES[stage - 1]
        for i in range(1, depth + 1):
            name, width = f"{stage}_{i}", self.width * multiple
            x = self.layers.conv(width, use_bias=not self.batch_norm, name=f"conv{name}")(x)
            if self.batch_norm:
                x = self.layers.norm(name=f"norm{name}")(x)
            x = nn.relu(x)
        return max_pool(x, rounding=self.rounding)
