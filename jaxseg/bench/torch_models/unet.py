"""U-Net, padded and with batch norm."""

import torch  # pyright: ignore[reportMissingImports]
from torch import Tensor, nn  # pyright: ignore[reportMissingImports]
from torch.nn import functional as F  # pyright: ignore[reportMissingImports]

from jaxseg.bench.torch_models.layers import conv


class DoubleConv(nn.Module):
    def __init__(self, inputs: int, features: int):
        super().__init__()
        self.conv1, self.norm1 = conv(inputs, features), nn.BatchNorm2d(features)
        self.conv2, self.norm2 = conv(features, features), nn.BatchNorm2d(features)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu_(self.norm1(self.conv1(x)))
        return F.relu_(self.norm2(self.conv2(x)))


class UNet(nn.Module):
    def __init__(self, num_classes: int, width: int = 64, depth: int = 4):
        super().__init__()
        self.depth, widths = depth, [width << level for level in range(depth + 1)]
        inputs = [3, *widths]
        self.encoder = nn.ModuleDict(
            {f"level{i}": DoubleConv(inputs[i], widths[i]) for i in range(depth + 1)}
        )
        for i in range(depth):
            setattr(self, f"up{i}_conv", nn.ConvTranspose2d(2 * widths[i], widths[i], 2, stride=2))
            setattr(self, f"up{i}", DoubleConv(2 * widths[i], widths[i]))
        self.logits = conv(width, num_classes, 1, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for level in range(self.depth + 1):
            if level > 0:
                x = F.max_pool2d(x, 2, ceil_mode=True)
            x = self.encoder[f"level{level}"](x)
            skips.append(x)
        for level in reversed(range(self.depth)):
            skip = skips[level]
            x = getattr(self, f"up{level}_conv")(x)[:, :, : skip.shape[2], : skip.shape[3]]
            x = getattr(self, f"up{level}")(torch.cat([skip, x], dim=1))
        return self.logits(x)
