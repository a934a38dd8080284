"""Layers that the networks share, with symmetric padding, jaxseg's default."""

import torch  # pyright: ignore[reportMissingImports]
from torch import Tensor, nn  # pyright: ignore[reportMissingImports]
from torch.nn import functional as F  # pyright: ignore[reportMissingImports]


def conv(
    inputs: int,
    features: int,
    kernel_size: int = 3,
    stride: int = 1,
    dilation: int = 1,
    bias: bool = False,
) -> nn.Conv2d:
    padding = dilation * (kernel_size // 2)
    return nn.Conv2d(inputs, features, kernel_size, stride, padding, dilation, bias=bias)


def depthwise(channels: int, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, 3, stride, dilation, dilation, groups=channels, bias=False)


class ConvNormReLU(nn.Module):
    def __init__(self, inputs: int, features: int, kernel_size: int = 3, dilation: int = 1):
        super().__init__()
        self.conv = conv(inputs, features, kernel_size, dilation=dilation)
        self.norm = nn.BatchNorm2d(features)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu_(self.norm(self.conv(x)))


class SeparableConvNormReLU(nn.Module):
    def __init__(self, inputs: int, features: int, dilation: int = 1):
        super().__init__()
        self.depthwise_conv = depthwise(inputs, dilation=dilation)
        self.depthwise_norm = nn.BatchNorm2d(inputs)
        self.pointwise_conv = conv(inputs, features, 1)
        self.norm = nn.BatchNorm2d(features)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu_(self.depthwise_norm(self.depthwise_conv(x)))
        return F.relu_(self.norm(self.pointwise_conv(x)))


class BilinearUp(nn.Module):
    """Per-class upsampling, initialised bilinear; fixed unless `learned`."""

    weight: Tensor

    def __init__(self, channels: int, factor: int, learned: bool):
        super().__init__()
        self.factor, size = factor, 2 * factor - factor % 2
        line = 1 - (torch.arange(size) - (size - 1) / 2).abs() / factor
        kernel = torch.outer(line, line).repeat(channels, 1, 1, 1)
        if learned:
            self.weight = nn.Parameter(kernel)
        else:
            self.register_buffer("weight", kernel, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        padding = (self.weight.shape[-1] - self.factor) // 2
        return F.conv_transpose2d(
            x, self.weight, stride=self.factor, padding=padding, groups=x.shape[1]
        )
