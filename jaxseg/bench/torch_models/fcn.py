"""FCN-8s on VGG16 with symmetric padding; upsampling between skips is learned."""

from torch import Tensor, nn  # pyright: ignore[reportMissingImports]
from torch.nn import functional as F  # pyright: ignore[reportMissingImports]

from jaxseg.bench.torch_models.layers import BilinearUp, conv
from jaxseg.models.vgg import STAGES


class VGG16(nn.Module):
    def __init__(self):
        super().__init__()
        inputs = 3
        for stage, (depth, multiple) in enumerate(STAGES, start=1):
            for i in range(1, depth + 1):
                setattr(self, f"conv{stage}_{i}", conv(inputs, 64 * multiple, bias=True))
                inputs = 64 * multiple

    def forward(self, x: Tensor) -> list[Tensor]:
        pools = []
        for stage, (depth, _) in enumerate(STAGES, start=1):
            for i in range(1, depth + 1):
                x = F.relu_(getattr(self, f"conv{stage}_{i}")(x))
            x = F.max_pool2d(x, 2, ceil_mode=True)
            pools.append(x)
        return pools


class FCN(nn.Module):
    def __init__(self, num_classes: int, fc_width: int = 4096, dropout: float = 0.5):
        super().__init__()
        self.dropout = dropout
        self.encoder = VGG16()
        self.fc6 = conv(512, fc_width, 7, bias=True)
        self.fc7 = conv(fc_width, fc_width, 1, bias=True)
        self.score_fc7 = conv(fc_width, num_classes, 1, bias=True)
        self.score_pool4 = conv(512, num_classes, 1, bias=True)
        self.score_pool3 = conv(256, num_classes, 1, bias=True)
        self.up_to_pool4 = BilinearUp(num_classes, 2, learned=True)
        self.up_to_pool3 = BilinearUp(num_classes, 2, learned=True)
        self.up_final = BilinearUp(num_classes, 8, learned=False)

    def forward(self, images: Tensor) -> Tensor:
        *_, pool3, pool4, x = self.encoder(images)
        for layer in (self.fc6, self.fc7):
            x = F.dropout(F.relu_(layer(x)), self.dropout, self.training)
        x = _sum(self.up_to_pool4(self.score_fc7(x)), self.score_pool4(pool4))
        x = _sum(self.up_to_pool3(x), self.score_pool3(pool3))
        return self.up_final(x)[:, :, : images.shape[2], : images.shape[3]]


def _sum(upsampled: Tensor, skip: Tensor) -> Tensor:
    """Cropped at the bottom and the right, where pooling had rounded up."""
    return upsampled[:, :, : skip.shape[2], : skip.shape[3]] + skip
