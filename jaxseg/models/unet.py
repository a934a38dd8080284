"""U-Net (Ronneberger, Fischer, Brox, MICCAI 2015, figure 1), batch-normalized.

Deviations: convolutions are padded, so that the logits are as large as the image (the paper's
valid ones turn 572 pixels into 388), and each 3x3 convolution is followed by batch norm. Any
size goes: pooling rounds up, and the upsampled map is cropped at the bottom and the right to the
size of its skip, where the paper crops the skip.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxseg.ops.conv import Conv
from jaxseg.ops.norm import batch_norm
from jaxseg.ops.pooling import max_pool
from jaxseg.ops.transposed import UpConv


class DoubleConv(nn.Module):
    """Twice: 3x3 convolution, batch norm, ReLU."""

    features: int
    conv: Callable[..., nn.Module]
    norm: Callable[..., nn.Module]

    @nn.compact
    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b h w o"]:
        for i in (1, 2):
            x = self.conv(self.features, name=f"conv{i}")(x)
            x = nn.relu(self.norm(name=f"norm{i}")(x))
        return x


class Encoder(nn.Module):
    """The contracting path: "level0" at full resolution, "level{depth}" at 1 / 2**depth of it."""

    width: int
    depth: int
    conv: Callable[..., nn.Module]
    norm: Callable[..., nn.Module]

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> dict[str, Array]:
        out = {}
        for level in range(self.depth + 1):
            if level > 0:
                x = max_pool(x)
            block = DoubleConv(self.width << level, self.conv, self.norm, name=f"level{level}")
            x = out[f"level{level}"] = block(x)
        return out


class UNet(nn.Module):
    """Logits at full resolution; endpoints "level0".."level{depth}" and "up{depth-1}".."up0".

    `width` channels at full resolution, twice as many after each of the `depth` poolings: 64 and 4
    are the paper's. `dropout` acts at the end of the contracting path (section 3.1; the paper gives
    no rate, and batch norm has mostly taken its place).
    """

    num_classes: int
    width: int = 64
    depth: int = 4
    dropout: float = 0.0
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, images: Float[Array, "b h w c"], *, train: bool
    ) -> tuple[Float[Array, "b h w k"], dict[str, Array]]:
        conv = partial(Conv, dtype=self.dtype)
        norm = batch_norm(train=train, dtype=self.dtype, axis_name=self.axis_name)

        out = Encoder(self.width, self.depth, conv, norm, name="encoder")(images)
        x = nn.Dropout(self.dropout, deterministic=not train)(out[f"level{self.depth}"])
        for level in reversed(range(self.depth)):
            skip = out[f"level{level}"]
            x = UpConv(self.width << level, dtype=self.dtype, name=f"up{level}_conv")(x)
            x = x[:, : skip.shape[1], : skip.shape[2]]
            x = jnp.concatenate([skip, x], axis=-1)
            block = DoubleConv(self.width << level, conv, norm, name=f"up{level}")
            x = out[f"up{level}"] = block(x)
        logits = conv(self.num_classes, kernel_size=1, use_bias=True, name="logits")(x)
        return logits.astype(jnp.float32), out


Model = UNet
