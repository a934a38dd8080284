"""ResNet with strides in the bottlenecks' 3x3, atrous beyond the output stride."""

from torch import Tensor, nn  # pyright: ignore[reportMissingImports]
from torch.nn import functional as F  # pyright: ignore[reportMissingImports]

from jaxseg.bench.torch_models.layers import conv
from jaxseg.models.atrous import replace_strides
from jaxseg.models.resnet import VARIANTS


class Block(nn.Module):
    def __init__(self, inputs: int, features: int, stride: int, dilation: int):
        super().__init__()
        width = 4 * features
        self.conv1, self.norm1 = conv(inputs, features, 1), nn.BatchNorm2d(features)
        self.conv2 = conv(features, features, 3, stride, dilation)
        self.norm2 = nn.BatchNorm2d(features)
        self.conv3, self.norm3 = conv(features, width, 1), nn.BatchNorm2d(width)
        self.project = inputs != width or stride != 1
        if self.project:
            self.shortcut_conv = conv(inputs, width, 1, stride)
            self.shortcut_norm = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = self.shortcut_norm(self.shortcut_conv(x)) if self.project else x
        x = F.relu_(self.norm1(self.conv1(x)))
        x = F.relu_(self.norm2(self.conv2(x)))
        return F.relu_(self.norm3(self.conv3(x)) + shortcut)


class ResNet(nn.Module):
    """Returns the features of stage 1 and of stage 4, `channels` of them."""

    channels = (256, 2048)

    def __init__(self, variant: str, output_stride: int, multi_grid: tuple[int, ...]):
        super().__init__()
        self.stem_conv, self.stem_norm = conv(3, 64, 7, 2), nn.BatchNorm2d(64)
        depths = VARIANTS[variant][-1]
        blocks = [(stage, i) for stage, n in enumerate(depths, start=1) for i in range(n)]
        wanted = [2 if i == 0 and stage > 1 else 1 for stage, i in blocks]
        replaced = replace_strides(wanted, output_stride, initial_stride=4)
        inputs, self.names = 64, []
        for (stage, i), full_stride, (stride, before) in zip(blocks, wanted, replaced, strict=True):
            rate = before * full_stride // stride  # of all blocks of the stage
            unit_rate = multi_grid[i] if multi_grid and stage == 4 else 1
            features = 64 << (stage - 1)
            self.names.append(f"stage{stage}_block{i + 1}")
            setattr(self, self.names[-1], Block(inputs, features, stride, rate * unit_rate))
            inputs = 4 * features
        self.low = self.names[depths[0] - 1]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = F.relu_(self.stem_norm(self.stem_conv(x)))
        x = low = F.max_pool2d(x, 3, 2, 1)
        for name in self.names:
            x = getattr(self, name)(x)
            low = x if name == self.low else low
        return low, x
