"""An FCN head on dilated ResNet features: torchvision's fcn_resnet50 and fcn_resnet101.

Not a net of Long et al. (2015): no skips, but features at stride 8 by atrous convolution (Yu,
Koltun, ICLR 2016; Chen et al. 2017, section 3.1), and one auxiliary head (PSPNet, Zhao et al. 2017,
section 4).
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxseg.models import encoders
from jaxseg.models.blocks import auxiliary_head, fcn_head
from jaxseg.models.contract import CoversImage
from jaxseg.ops.layers import bind_model
from jaxseg.ops.norm import GLOBAL, Statistics
from jaxseg.ops.resize import check_corners


class FCNResNet(CoversImage, nn.Module):
    """Logits at the output stride; endpoints the backbone's, and "aux_logits" if asked.

    - `backbone`, `output_stride`, `multi_grid`, `width_multiplier`: see `encoders`;
      `first_block_rate` (see `resnet`) is torchvision's.
    - `aux_head`: a second head on "stage3", at that stage's stride.
    - `dropout` in the head: torchvision's 0.1.
    - `corners` of the last resize, to the labels' size.
    """

    num_classes: int
    backbone: str = "resnet50"
    output_stride: int = 8
    multi_grid: tuple[int, ...] = ()
    first_block_rate: str = "previous"
    width_multiplier: float = 1.0
    dropout: float = 0.1
    aux_head: bool = True
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
        super().__post_init__()

    @property
    def interpolation(self) -> tuple[int, str]:
        return self.output_stride, self.corners

    @nn.compact
    def __call__(
        self, images: Float[Array, "b h w c"], *, train: bool
    ) -> tuple[Float[Array, "b h2 w2 k"], dict[str, Array]]:
        layers = bind_model(self, train=train)
        out = encoders.build(self.backbone, layers, **encoders.options_of(self))(images)
        logits = fcn_head(
            out["stage4"],
            self.num_classes,
            layers,
            names=("head", "logits"),
            dropout=self.dropout,
            train=train,
        )
        if self.aux_head:
            aux = auxiliary_head(out["stage3"], self.num_classes, layers, train=train)
            out["aux_logits"] = aux
        return logits, out


Model = FCNResNet
