"""DeepLabv3 and DeepLabv3+ on the encoders of this package."""

import torch  # pyright: ignore[reportMissingImports]
from torch import Tensor, nn  # pyright: ignore[reportMissingImports]
from torch.nn import functional as F  # pyright: ignore[reportMissingImports]

from jaxseg.bench.torch_models.layers import ConvNormReLU, SeparableConvNormReLU, conv
from jaxseg.bench.torch_models.mobilenet_v2 import MobileNetV2
from jaxseg.bench.torch_models.resnet import ResNet
from jaxseg.bench.torch_models.xception import AlignedXception

RATES = (6, 12, 18)  # at output stride 16
FEATURES = 256


class ASPP(nn.Module):
    def __init__(self, inputs: int, rates: tuple[int, ...], separable: bool):
        super().__init__()
        atrous = SeparableConvNormReLU if separable else ConvNormReLU
        self.conv1x1 = ConvNormReLU(inputs, FEATURES, 1)
        self.atrous1 = atrous(inputs, FEATURES, dilation=rates[0])
        self.atrous2 = atrous(inputs, FEATURES, dilation=rates[1])
        self.atrous3 = atrous(inputs, FEATURES, dilation=rates[2])
        self.image_pooling = ConvNormReLU(inputs, FEATURES, 1)
        self.project = ConvNormReLU(5 * FEATURES, FEATURES, 1)

    def forward(self, x: Tensor) -> Tensor:
        branches = [layer(x) for layer in (self.conv1x1, self.atrous1, self.atrous2, self.atrous3)]
        pooled = self.image_pooling(F.adaptive_avg_pool2d(x, 1))
        return self.project(torch.cat([*branches, pooled.expand_as(branches[0])], dim=1))


class DeepLabV3(nn.Module):
    def __init__(
        self,
        num_classes: int,
        backbone: str,
        output_stride: int = 16,
        multi_grid: tuple[int, ...] = (),
        separable: bool = False,
        dropout: float = 0.1,
    ):
        super().__init__()
        self.dropout = dropout
        if backbone == "mobilenet_v2":
            self.encoder = MobileNetV2(backbone, output_stride)
        elif backbone == "xception65":
            self.encoder = AlignedXception(backbone, output_stride, multi_grid)
        else:
            self.encoder = ResNet(backbone, output_stride, multi_grid)
        rates = tuple(rate * 16 // output_stride for rate in RATES)
        self.aspp = ASPP(self.encoder.channels[1], rates, separable)
        self.logits = conv(FEATURES, num_classes, 1, bias=True)

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        low, x = self.encoder(images)
        return low, F.dropout(self.aspp(x), self.dropout, self.training)

    def forward(self, images: Tensor) -> Tensor:
        return self.logits(self.encode(images)[1])


class DeepLabV3Plus(DeepLabV3):
    def __init__(self, num_classes: int, backbone: str, separable: bool = False, **options):
        super().__init__(num_classes, backbone, separable=separable, **options)
        block = SeparableConvNormReLU if separable else ConvNormReLU
        self.low_level = ConvNormReLU(self.encoder.channels[0], 48, 1)
        self.decoder1 = block(FEATURES + 48, FEATURES)
        self.decoder2 = block(FEATURES, FEATURES)

    def forward(self, images: Tensor) -> Tensor:
        low, x = self.encode(images)
        low = self.low_level(low)
        x = F.interpolate(x, low.shape[2:], mode="bilinear", align_corners=False)
        return self.logits(self.decoder2(self.decoder1(torch.cat([x, low], dim=1))))
