"""ResNet (He et al., CVPR 2016, table 1) as an encoder, with atrous convolution for dense features.

Two departures from the paper, both torchvision's: a bottleneck strides in its 3x3 convolution, not
in its first 1x1 ("v1.5"), and the padding is equal on both sides. The last batch norm of each
residual branch starts with scale zero, so that every block starts as the identity (Goyal et al.
2017, section 5.1).

Atrous replacement (Chen et al. 2017, "Rethinking atrous convolution", section 3.1): past the output
stride a stage keeps its resolution, and every convolution that would have followed its stride is
dilated instead. The features then equal those of stride 32 at every position that those have.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxseg.errors import UserError, suggest
from jaxseg.ops.conv import Conv
from jaxseg.ops.norm import batch_norm
from jaxseg.ops.pooling import max_pool_3x3_stride2

# (bottleneck blocks?, blocks of each stage)
VARIANTS = {
    "resnet18": (False, (2, 2, 2, 2)),
    "resnet34": (False, (3, 4, 6, 3)),
    "resnet50": (True, (3, 4, 6, 3)),
    "resnet101": (True, (3, 4, 23, 3)),
}


def check_options(variant: str, output_stride: int, multi_grid: tuple[int, ...]) -> None:
    """Raise UserError unless there is such a ResNet."""
    if variant not in VARIANTS:
        raise UserError(f"no backbone {variant!r}: {suggest(variant, VARIANTS)}")
    if output_stride not in (8, 16, 32):
        raise UserError(f"output_stride is {output_stride!r}, expected 8, 16 or 32")
    blocks = VARIANTS[variant][1][-1]
    if multi_grid and len(multi_grid) != blocks:
        raise UserError(
            f"multi_grid {multi_grid} has {len(multi_grid)} rates, but the last stage of {variant} "
            f"has {blocks} blocks: give one rate a block, or () for all ones"
        )


class Block(nn.Module):
    """A residual block: 3x3, 3x3, or as a bottleneck 1x1, 3x3, 1x1 to four times the features."""

    features: int
    bottleneck: bool
    stride: int
    dilations: tuple[int, int]  # of the strided convolution and of a basic block's second one
    conv: Callable[..., nn.Module]
    norm: Callable[..., nn.Module]

    @nn.compact
    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b h2 w2 o"]:
        first, second = self.dilations
        strided = partial(self.conv, self.features, stride=self.stride, dilation=first)
        if self.bottleneck:
            width = 4 * self.features
            convs = [
                self.conv(self.features, kernel_size=1, name="conv1"),
                strided(name="conv2"),
                self.conv(width, kernel_size=1, name="conv3"),
            ]
        else:
            width = self.features
            convs = [strided(name="conv1"), self.conv(width, dilation=second, name="conv2")]

        shortcut = x
        for i, conv in enumerate(convs[:-1], start=1):
            x = nn.relu(self.norm(name=f"norm{i}")(conv(x)))
        last_norm = self.norm(name=f"norm{len(convs)}", scale_init=nn.initializers.zeros)
        x = last_norm(convs[-1](x))
        if shortcut.shape[-1] != width or self.stride != 1:
            project = self.conv(width, kernel_size=1, stride=self.stride, name="shortcut_conv")
            shortcut = self.norm(name="shortcut_norm")(project(shortcut))
        return nn.relu(x + shortcut)


class ResNet(nn.Module):
    """Endpoints "stem" (stride 4, after its max pooling) and "stage1".."stage4".

    Strides of the stages: 4, 8, 16, 32, none above `output_stride` (8, 16 or 32). `multi_grid`
    multiplies the dilations of the last stage's blocks (Chen et al. 2017, section 3.2.1); () is
    all ones. `width` 64 is the paper's.
    """

    variant: str = "resnet50"
    output_stride: int = 32
    multi_grid: tuple[int, ...] = ()
    width: int = 64
    dtype: Any = jnp.float32
    axis_name: str | None = None

    def __post_init__(self):
        check_options(self.variant, self.output_stride, self.multi_grid)
        super().__post_init__()

    @nn.compact
    def __call__(self, images: Float[Array, "b h w c"], *, train: bool) -> dict[str, Array]:
        conv = partial(Conv, dtype=self.dtype)
        norm = batch_norm(train=train, dtype=self.dtype, axis_name=self.axis_name)
        bottleneck, stages = VARIANTS[self.variant]

        out = {}
        x = conv(self.width, kernel_size=7, stride=2, name="stem_conv")(images)
        x = nn.relu(norm(name="stem_norm")(x))
        x = out["stem"] = max_pool_3x3_stride2(x)
        reached, rate = 4, 1  # stride so far, and the dilation that stands for the strides left out
        for stage, blocks in enumerate(stages, start=1):
            for i in range(blocks):
                stride, before = 1, rate
                if i == 0 and stage > 1:
                    if reached < self.output_stride:
                        stride, reached = 2, reached * 2
                    else:
                        rate *= 2
                # The convolution that had the stride still sees its input at the old rate; only
                # those after it are dilated.
                grid = self.multi_grid[i] if self.multi_grid and stage == len(stages) else 1
                features = self.width << (stage - 1)
                dilations = (before * grid, rate * grid)
                name = f"stage{stage}_block{i + 1}"
                x = Block(features, bottleneck, stride, dilations, conv, norm, name=name)(x)
            out[f"stage{stage}"] = x
        return out
