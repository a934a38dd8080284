"""The modified aligned Xception-65 of DeepLabv3+."""

from torch import Tensor, nn  # pyright: ignore[reportMissingImports]
from torch.nn import functional as F  # pyright: ignore[reportMissingImports]

from jaxseg.bench.torch_models.layers import conv, depthwise
from jaxseg.models.atrous import replace_strides
from jaxseg.models.xception import ALIGNED_VARIANTS


class SeparableConv(nn.Module):
    def __init__(self, inputs: int, features: int, stride: int, dilation: int, inside: bool):
        super().__init__()
        self.inside = inside
        self.depthwise_conv = depthwise(inputs, stride, dilation)
        self.depthwise_norm = nn.BatchNorm2d(inputs)
        self.pointwise_conv = conv(inputs, features, 1)
        self.pointwise_norm = nn.BatchNorm2d(features)

    def forward(self, x: Tensor) -> Tensor:
        if self.inside:
            x = F.relu_(self.depthwise_norm(self.depthwise_conv(x)))
            return F.relu_(self.pointwise_norm(self.pointwise_conv(x)))
        # not in place: the residual needs this input
        x = self.depthwise_norm(self.depthwise_conv(F.relu(x)))
        return self.pointwise_norm(self.pointwise_conv(x))


class Block(nn.Module):
    """Three separable convolutions; also returns the input of the third, which has the stride."""

    def __init__(
        self,
        inputs: int,
        channels: tuple[int, ...],
        stride: int,
        dilations: tuple[int, ...],
        strided: bool,
        last: bool,
    ):
        super().__init__()
        self.strided, self.last = strided, last
        ins, strides = (inputs, *channels), (1, 1, stride)
        for i in range(3):
            layer = SeparableConv(ins[i], channels[i], strides[i], dilations[i], last)
            setattr(self, f"sep{i + 1}", layer)
        if strided:
            self.shortcut_conv = conv(inputs, channels[-1], 1, stride)
            self.shortcut_norm = nn.BatchNorm2d(channels[-1])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        before_stride = self.sep2(self.sep1(x))  # pyright: ignore[reportCallIssue]
        y = self.sep3(before_stride)  # pyright: ignore[reportCallIssue]
        if self.last:
            return y, before_stride
        shortcut = self.shortcut_norm(self.shortcut_conv(x)) if self.strided else x
        return y + shortcut, before_stride


class AlignedXception(nn.Module):
    """Returns the features of block 2 before its stride and of the last, `channels` of them."""

    channels = (256, 2048)

    def __init__(self, variant: str, output_stride: int, multi_grid: tuple[int, ...]):
        super().__init__()
        self.stem1_conv, self.stem1_norm = conv(3, 32, stride=2), nn.BatchNorm2d(32)
        self.stem2_conv, self.stem2_norm = conv(32, 64), nn.BatchNorm2d(64)
        rows = ALIGNED_VARIANTS[variant]
        replaced = replace_strides([stride for _, stride in rows], output_stride)
        self.blocks, inputs = len(rows), 64
        for number, (channels, wanted) in enumerate(rows, start=1):
            (stride, dilation), last = replaced[number - 1], number == len(rows)
            grid = multi_grid if multi_grid and last else (1, 1, 1)
            dilations = tuple(dilation * rate for rate in grid)
            block = Block(inputs, channels, stride, dilations, wanted > 1, last)
            setattr(self, f"block{number}", block)
            inputs = channels[-1]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = F.relu_(self.stem1_norm(self.stem1_conv(x)))
        x = low = F.relu_(self.stem2_norm(self.stem2_conv(x)))
        for number in range(1, self.blocks + 1):
            x, before_stride = getattr(self, f"block{number}")(x)
            low = before_stride if number == 2 else low
        return low, x
