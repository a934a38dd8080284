"""DeepLabv3 (Chen, Papandreou, Schroff, Adam, 2017, arXiv 1706.05587).

Atrous features (section 3.1), of which more blocks can be cascaded (3.2.1), then atrous spatial
pyramid pooling (3.3) and a 1x1 to the classes. The paper's best: `multi_grid` (1, 2, 4), trained at
output stride 16, evaluated at 8 (table 6).

torchvision's deeplabv3_resnet50: `output_stride` 8, `first_block_rate` "previous", `head_conv`,
`aux_head`, `dropout` 0.5.
TensorFlow's DeepLabv3-MobileNetV2: `atrous_rates` () and padding "tf_same", corners "aligned".
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxseg.errors import UserError
from jaxseg.models import encoders
from jaxseg.models.blocks import ConvNormReLU, SeparableConvNormReLU, auxiliary_head, score
from jaxseg.models.contract import CoversImage
from jaxseg.ops.layers import Layers, bind_model
from jaxseg.ops.norm import GLOBAL, Statistics
from jaxseg.ops.pyramid import mean_bins
from jaxseg.ops.resize import check_corners, resize

CONTEXTS = ("aspp", "spp", "none")
BINS = (4, 2, 1)  # of the context "spp"


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling: a 1x1, a 3x3 at each rate and image pooling, concatenated.

    In training, the batch norm after image pooling sees one value an image. A batch of one image
    makes it output its bias and drives its running variance to zero, as in the authors' code: train
    with larger batches.
    """

    features: int
    rates: tuple[int, ...]
    image_pooling: bool
    separable: bool
    depthwise_norm: bool
    layers: Layers

    @nn.compact
    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b h w o"]:
        branches = [ConvNormReLU(self.features, self.layers, kernel_size=1, name="conv1x1")(x)]
        for i, rate in enumerate(self.rates, start=1):
            branches.append(self._atrous(rate, name=f"atrous{i}")(x))
        if self.image_pooling:
            block = ConvNormReLU(self.features, self.layers, kernel_size=1, name="image_pooling")
            branches.append(jnp.broadcast_to(block(mean_bins(x, 1)), branches[0].shape))
        x = jnp.concatenate(branches, axis=-1)
        return ConvNormReLU(self.features, self.layers, kernel_size=1, name="project")(x)

    def _atrous(self, rate: int, name: str) -> nn.Module:
        if self.separable:
            return SeparableConvNormReLU(
                self.features, self.layers, rate, self.depthwise_norm, name=name
            )
        return ConvNormReLU(self.features, self.layers, dilation=rate, name=name)


class SPP(nn.Module):
    """Spatial pyramid pooling as a context: a 1x1, and the means of n x n bins, for each of BINS.

    Each level is projected by a 1x1 and resized to the map (PSPNet, Zhao et al. 2017, section 3.2,
    has bins 1, 2, 3, 6). It differs from ASPP in its branches alone, so that the two compare.
    """

    features: int
    corners: str
    layers: Layers

    @nn.compact
    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b h w o"]:
        size = (x.shape[1], x.shape[2])
        branches = [ConvNormReLU(self.features, self.layers, kernel_size=1, name="conv1x1")(x)]
        for n in BINS:
            block = ConvNormReLU(self.features, self.layers, kernel_size=1, name=f"bins{n}")
            branches.append(resize(block(mean_bins(x, n)), size, self.corners))
        x = jnp.concatenate(branches, axis=-1)
        return ConvNormReLU(self.features, self.layers, kernel_size=1, name="project")(x)


class DeepLabV3(CoversImage, nn.Module):
    """Logits at the output stride; endpoints the backbone's, "context", "aux_logits" if asked.

    - `backbone`, `output_stride` of its last stage, `multi_grid`, `width_multiplier`,
      `first_block_rate`: see `encoders` and `resnet`. `output_stride` may differ between training
      and evaluation.
    - `stages` up to 7 cascades copies of ResNet's last stage; `output_stride` may then be up to
      256 (table 1).
    - `context_module`: "aspp", "spp" (see `SPP`), or "none": the cascade alone.
    - `atrous_rates` of ASPP are those at output stride 16: twice as much is used at 8, half at 32,
      so that they span the same part of the image. With () only the 1x1 and `image_pooling` remain.
    - `separable` makes ASPP's 3x3 depthwise separable (see `SeparableConvNormReLU` for
      `depthwise_norm`), and those after it.
    - `dropout` after the context: 0.1 is the authors' code's, the paper's text has none.
    - `head_conv`: torchvision's 3x3 between that and the logits.
    - `aux_head`: a fully convolutional head on "stage3", at that stage's stride.
    - `corners` of every bilinear resize (see `ops.resize`).
    """

    num_classes: int
    backbone: str = "resnet50"
    output_stride: int = 16
    multi_grid: tuple[int, ...] = ()
    width_multiplier: float = 1.0
    first_block_rate: str = "own"
    stages: int = 4
    context_module: str = "aspp"
    atrous_rates: tuple[int, ...] = (6, 12, 18)
    image_pooling: bool = True
    aspp_channels: int = 256
    separable: bool = False
    depthwise_norm: bool = True
    dropout: float = 0.1
    head_conv: bool = False
    aux_head: bool = False
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
        if self.context_module not in CONTEXTS:
            known = ", ".join(CONTEXTS)
            raise UserError(f"context_module is {self.context_module!r}, expected one of {known}")
        super().__post_init__()

    @property
    def interpolation(self) -> tuple[int, str]:
        return self.output_stride, self.corners

    @nn.compact
    def __call__(
        self, images: Float[Array, "b h w c"], *, train: bool
    ) -> tuple[Float[Array, "b h2 w2 k"], dict[str, Array]]:
        layers = bind_model(self, train=train)
        x, out = self._encode(images, layers, train)
        return score(x, self.num_classes, layers, name="logits"), out

    def _encode(
        self, images: Array, layers: Layers, train: bool
    ) -> tuple[Float[Array, "b h2 w2 f"], dict[str, Array]]:
        """Everything but the logits: the features they are made of, and the endpoints."""
        out = encoders.build(self.backbone, layers, **encoders.options_of(self))(images)
        x = out["context"] = self._add_context(out[f"stage{self.stages}"], layers)
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        if self.head_conv:
            x = self._block(self.aspp_channels, layers, name="head")(x)
        if self.aux_head:
            aux = auxiliary_head(out["stage3"], self.num_classes, layers, train=train)
            out["aux_logits"] = aux
        return x, out

    def _add_context(self, x: Array, layers: Layers) -> Array:
        if self.context_module == "none":
            return x
        if self.context_module == "spp":
            return SPP(self.aspp_channels, self.corners, layers, name="spp")(x)
        rates = tuple(max(1, rate * 16 // self.output_stride) for rate in self.atrous_rates)
        return ASPP(
            self.aspp_channels,
            rates,
            self.image_pooling,
            self.separable,
            self.depthwise_norm,
            layers,
            name="aspp",
        )(x)

    def _block(self, features: int, layers: Layers, name: str) -> nn.Module:
        """A 3x3 after the context, separable as ASPP's are."""
        if self.separable:
            return SeparableConvNormReLU(
                features, layers, depthwise_norm=self.depthwise_norm, name=name
            )
        return ConvNormReLU(features, layers, name=name)


Model = DeepLabV3
