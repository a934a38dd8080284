"""FCN-32s, FCN-16s, FCN-8s (Long, Shelhamer, Darrell, CVPR 2015, sections 3 and 4).

Deviations: the authors pad the first convolution by 100 pixels, so that the unpadded 7x7 of fc6
fits small images, and crop every score map by an offset; here every layer is padded alike on both
sides, score maps are aligned as they are, and crops only drop what rounding-up pooling added at
the bottom and the right. The authors' weights need their padding. Their upsampling kernels between
skips hold weights between classes that stay zero; here those weights do not exist.
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxseg.errors import UserError
from jaxseg.models.vgg import VGG16
from jaxseg.ops.conv import Conv
from jaxseg.ops.transposed import BilinearUp

SKIPS = {32: (), 16: ("pool4",), 8: ("pool4", "pool3")}  # fused in this order, by stride


class FCN(nn.Module):
    """Logits at full resolution; endpoints "pool1".."pool5", "fc7" and the scores before fusion.

    `stride` of the last upsampling: 32, 16 (with pool4) or 8 (with pool4 and pool3). The score
    layers start at zero (section 4.3), so at first only they have a gradient. The factor-2
    upsamplings between skips start bilinear and are learned; the last one is learned if
    `learn_final`, else bilinear for good as in the paper. `width` and `batch_norm` are the
    encoder's, `fc_width` is that of fc6 and fc7, after which `dropout` acts in training.
    """

    num_classes: int
    stride: int = 8
    width: int = 64
    fc_width: int = 4096
    dropout: float = 0.5
    batch_norm: bool = False
    learn_final: bool = False
    dtype: Any = jnp.float32
    axis_name: str | None = None

    def __post_init__(self):
        if self.stride not in SKIPS:
            raise UserError(f"fcn: stride is {self.stride!r}, expected 32, 16 or 8")
        super().__post_init__()

    @nn.compact
    def __call__(
        self, images: Float[Array, "b h w c"], *, train: bool
    ) -> tuple[Float[Array, "b h w k"], dict[str, Array]]:
        conv = partial(Conv, use_bias=True, dtype=self.dtype)
        score = partial(conv, self.num_classes, kernel_size=1, kernel_init=nn.initializers.zeros)
        encoder = VGG16(self.width, self.batch_norm, self.dtype, self.axis_name, name="encoder")

        out = encoder(images, train=train)
        x = nn.relu(conv(self.fc_width, kernel_size=7, name="fc6")(out["pool5"]))
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        x = out["fc7"] = nn.relu(conv(self.fc_width, kernel_size=1, name="fc7")(x))
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        x = out["score_fc7"] = score(name="score_fc7")(x).astype(jnp.float32)
        for pool in SKIPS[self.stride]:
            skip = out[f"score_{pool}"] = score(name=f"score_{pool}")(out[pool])
            x = BilinearUp(2, name=f"up_to_{pool}")(x)
            x = x[:, : skip.shape[1], : skip.shape[2]] + skip.astype(jnp.float32)
        x = BilinearUp(self.stride, learned=self.learn_final, name="up_final")(x)
        return x[:, : images.shape[1], : images.shape[2]], out


Model = FCN
