"""An ImageNet classifier turned fully convolutional (Long et al., CVPR 2015, section 3.1).

Its logits are a dense class map. The classifier's own logits are their mean, `logits.mean((1, 2))`:
global average pooling and a 1x1 convolution commute. VGG16 has no such pooling: its fully connected
layers become convolutions, and on 224x224 the map is the one value of the classifier, on larger
images the classifier's value at every 32 pixels.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxseg.errors import UserError
from jaxseg.models import efficientnet_lite, encoders, mobilenet_v2
from jaxseg.models.blocks import score
from jaxseg.models.contract import CoversImage
from jaxseg.ops.layers import Layers, bind_model
from jaxseg.ops.norm import GLOBAL, Statistics
from jaxseg.ops.resize import check_corners

FC_PADDINGS = ("valid", "symmetric")


class Classifier(CoversImage, nn.Module):
    """Logits at the encoder's output stride; endpoints the encoder's, then "head" or "fc7".

    - `backbone`, `output_stride`, `multi_grid`, `width_multiplier`, `rounding` as in `encoders`.
    - `first_block_rate` "previous" (see `resnet`): dense logits hold those of stride 32.
    - mobilenet_v2 and efficientnet_lite0 have a 1x1 convolution to 1280 channels before the logits.
    - vgg16 has fc6 (7x7) and fc7 (1x1) of `fc_width` channels. `fc_padding` of fc6 "valid" is the
      classifier on every patch, for images of at least 193 pixels (224 with rounding "floor");
      "symmetric" is FCN's, as large as the features, which alone can be trained as a segmentation.
    - `dropout` before the logits, and in vgg16 after fc6 too: 0.5 in its paper, 0.2 is usual for
      mobilenet_v2 and efficientnet_lite0.
    - `corners` of the resize of logits to the size of labels (see `ops.resize`).
    """

    num_classes: int
    backbone: str = "resnet50"
    output_stride: int = 32
    multi_grid: tuple[int, ...] = ()
    first_block_rate: str = "previous"
    width_multiplier: float = 1.0
    rounding: str = "ceil"
    fc_width: int = 4096
    fc_padding: str = "valid"
    dropout: float = 0.0
    padding: str = "symmetric"
    norm_epsilon: float = 1e-5
    norm_momentum: float = 0.9
    corners: str = "half_pixel"
    dtype: Any = jnp.float32
    statistics: Statistics = GLOBAL
    remat: bool = False

    def __post_init__(self):
        encoders.check_options(self.backbone, **encoders.options_of(self))
        check_corners(self.corners)
        if self.fc_padding not in FC_PADDINGS:
            allowed = " or ".join(FC_PADDINGS)
            raise UserError(f"fc_padding is {self.fc_padding!r}, expected {allowed}")
        super().__post_init__()

    @property
    def labels_pixels(self) -> bool:
        """False for vgg16 with unpadded fc6: logit i is of the patch about pixel 32 * i + 111.5."""
        return self.backbone != "vgg16" or self.fc_padding != "valid"

    @property
    def interpolation(self) -> tuple[int, str]:
        return self.output_stride, self.corners

    @nn.compact
    def __call__(
        self, images: Float[Array, "b h w c"], *, train: bool
    ) -> tuple[Float[Array, "b h2 w2 k"], dict[str, Array]]:
        layers = bind_model(self, train=train)
        dropout = nn.Dropout(self.dropout, deterministic=not train)
        out = encoders.build(self.backbone, layers, **encoders.options_of(self))(images)
        x = out["stage4"]
        if self.backbone == "vgg16":
            x = out["fc7"] = self._fully_connected(x, layers, dropout)
        elif self.backbone in (*mobilenet_v2.VARIANTS, *efficientnet_lite.VARIANTS):
            x = out["head"] = self._head(x, layers)
        return score(dropout(x), self.num_classes, layers, name="logits"), out

    def _fully_connected(self, x: Array, layers: Layers, dropout: nn.Dropout) -> Array:
        """VGG's fc6 and fc7."""
        if self.fc_padding == "valid" and min(x.shape[1:3]) < 7:
            raise UserError(
                f"vgg16's features are {x.shape[1]}x{x.shape[2]}, expected at least 7x7 for fc6: "
                "give images of 224 pixels or more, or fc_padding 'symmetric'"
            )
        fc6 = layers.conv(
            self.fc_width, kernel_size=7, use_bias=True, padding=self.fc_padding, name="fc6"
        )
        fc7 = layers.conv(self.fc_width, kernel_size=1, use_bias=True, name="fc7")
        return nn.relu(fc7(dropout(nn.relu(fc6(x)))))

    def _head(self, x: Array, layers: Layers) -> Array:
        """The 1x1 convolution to 1280 channels; narrower networks keep all of them."""
        width = mobilenet_v2.scaled(1280, max(1.0, self.width_multiplier))
        x = layers.conv(width, kernel_size=1, name="head_conv")(x)
        return nn.relu6(layers.norm(name="head_norm")(x))


Model = Classifier
