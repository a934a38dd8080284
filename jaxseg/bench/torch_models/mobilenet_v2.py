"""MobileNetV2 with atrous convolutions beyond the output stride."""

from torch import Tensor, nn  # pyright: ignore[reportMissingImports]
from torch.nn import functional as F  # pyright: ignore[reportMissingImports]

from jaxseg.bench.torch_models.layers import conv, depthwise
from jaxseg.models.atrous import replace_strides
from jaxseg.models.mobilenet_v2 import VARIANTS


class InvertedResidual(nn.Module):
    def __init__(self, inputs: int, features: int, expansion: int, stride: int, dilation: int):
        super().__init__()
        width = expansion * inputs
        self.expand = expansion > 1
        if self.expand:
            self.expand_conv, self.expand_norm = conv(inputs, width, 1), nn.BatchNorm2d(width)
        self.depthwise_conv = depthwise(width, stride, dilation)
        self.depthwise_norm = nn.BatchNorm2d(width)
        self.project_conv, self.project_norm = conv(width, features, 1), nn.BatchNorm2d(features)

    def forward(self, x: Tensor) -> Tensor:
        if self.expand:
            x = F.relu6(self.expand_norm(self.expand_conv(x)), inplace=True)
        x = F.relu6(self.depthwise_norm(self.depthwise_conv(x)), inplace=True)
        return self.project_norm(self.project_conv(x))


class MobileNetV2(nn.Module):
    """Returns the features of block 3, at stride 4, and of the last, `channels` of them."""

    channels = (24, 320)

    def __init__(self, variant: str, output_stride: int):
        super().__init__()
        self.stem_conv, self.stem_norm = conv(3, 32, stride=2), nn.BatchNorm2d(32)
        rows = VARIANTS[variant]
        blocks = [(row, row.stride if i == 0 else 1) for row in rows for i in range(row.blocks)]
        replaced = replace_strides([stride for _, stride in blocks], output_stride)
        inputs, self.skips = 32, []
        for number, (row, wanted) in enumerate(blocks, start=1):
            block = InvertedResidual(inputs, row.features, row.expansion, *replaced[number - 1])
            setattr(self, f"block{number}", block)
            # as published: no residual where a stride was, even if a rate replaced it
            self.skips.append(wanted == 1 and inputs == row.features)
            inputs = row.features

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = low = F.relu6(self.stem_norm(self.stem_conv(x)), inplace=True)
        for number, skip in enumerate(self.skips, start=1):
            y = getattr(self, f"block{number}")(x)
            x = x + y if skip else y
            low = x if number == 3 else low
        return low, x
