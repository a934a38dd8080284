"""ResNet (He et al., CVPR 2016, table 1) as an encoder, with atrous convolution for dense features.

The variants "..._v1" are the paper's and Keras's: a bottleneck strides in its first 1x1. The others
are torchvision's and timm's "v1.5": it strides in its 3x3. The last batch norm of each residual
branch starts with scale zero, so that every block starts as the identity (Goyal et al. 2017,
section 5.1).

Past the output stride a stage keeps its resolution and its convolutions are dilated instead (see
`atrous`). Sources differ in its first block, and `first_block_rate` chooses:

- "own": the first 3x3 has the stage's rate, as all others. DeepLabv3 (Chen et al. 2017, section
  3.2.1): at output stride 16 the rates of stage 4 are 2 times `multi_grid`, at 8 they are 4 times
  `multi_grid` and those of stage 3 are 2. So it is in the authors' TensorFlow code, whose stages
  stride in their last block, and in segmentation-models-pytorch.
- "previous": the first 3x3, which had the stride, keeps the rate before it: 1 at output stride 16.
  Then features equal those of the strided network at all positions that it has. torchvision (its
  FCN and DeepLabv3 weights need it) and timm have this form.

The variants "..._v1" have their stride before the 3x3: both are the same there.
"""

import flax.linen as nn
from jaxtyping import Array, Float

from jaxseg.errors import UserError, suggest
from jaxseg.models.atrous import check_output_stride, replace_strides
from jaxseg.ops.layers import Layers
from jaxseg.ops.pooling import max_pool_3x3

# (bottleneck blocks, stride in their 3x3, number of blocks of each stage)
VARIANTS = {
    "resnet18": (False, True, (2, 2, 2, 2)),
    "resnet34": (False, True, (3, 4, 6, 3)),
    "resnet50": (True, True, (3, 4, 6, 3)),
    "resnet101": (True, True, (3, 4, 23, 3)),
    "resnet50_v1": (True, False, (3, 4, 6, 3)),
    "resnet101_v1": (True, False, (3, 4, 23, 3)),
}
FIRST_BLOCK_RATES = ("own", "previous")


def check_options(
    variant: str, output_stride: int, multi_grid: tuple[int, ...] = (), stages: int = 4
) -> None:
    """Raise UserError unless there is such a ResNet."""
    if variant not in VARIANTS:
        raise UserError(f"no backbone {variant!r}: {suggest(variant, VARIANTS)}")
    if not 4 <= stages <= 7:
        raise UserError(f"ResNet stages is {stages}, expected 4, or up to 7 (DeepLabv3's cascade)")
    check_output_stride(output_stride, coarsest=2 << stages)
    blocks = VARIANTS[variant][-1][-1]
    if multi_grid and len(multi_grid) != blocks:
        raise UserError(
            f"multi_grid {multi_grid} has {len(multi_grid)} rates, but the last stage of {variant} "
            f"has {blocks} blocks: give one rate a block, or () for all ones"
        )


class Block(nn.Module):
    """A residual block: 3x3, 3x3, or as a bottleneck 1x1, 3x3, 1x1 to four times the features."""

    features: int
    bottleneck: bool
    stride_in_3x3: bool
    stride: int
    dilations: tuple[int, int]  # of the strided convolution and of a 3x3 after it
    layers: Layers
    project: bool = False  # the shortcut, even where neither stride nor width changes

    @nn.compact
    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b h2 w2 o"]:
        conv, norm = self.layers.conv, self.layers.norm
        dilation, second = self.dilations
        if self.bottleneck:
            width = 4 * self.features
            if self.stride_in_3x3:
                first, middle = 1, self.stride
            else:  # then the 3x3 comes after the stride
                first, middle, dilation = self.stride, 1, second
            convs = [
                conv(self.features, kernel_size=1, stride=first, name="conv1"),
                conv(self.features, stride=middle, dilation=dilation, name="conv2"),
                conv(width, kernel_size=1, name="conv3"),
            ]
        else:
            width = self.features
            convs = [
                conv(width, stride=self.stride, dilation=dilation, name="conv1"),
                conv(width, dilation=second, name="conv2"),
            ]

        shortcut = x
        for i, layer in enumerate(convs[:-1], start=1):
            x = nn.relu(norm(name=f"norm{i}")(layer(x)))
        last_norm = norm(name=f"norm{len(convs)}", scale_init=nn.initializers.zeros)
        x = last_norm(convs[-1](x))
        if self.project or shortcut.shape[-1] != width or self.stride != 1:
            project = conv(width, kernel_size=1, stride=self.stride, name="shortcut_conv")
            shortcut = norm(name="shortcut_norm")(project(shortcut))
        return nn.relu(x + shortcut)


class ResNet(nn.Module):
    """Endpoints "stem" (stride 2, before its max pooling) and "stage1".."stage4".

    - Strides of the stages: 4, 8, 16, 32, none above `output_stride` (8, 16 or 32).
    - `multi_grid`: unit rates of the blocks of stage 4 and later, which multiply the stage's rate
      (Chen et al. 2017, section 3.2.1); () is all ones.
    - `first_block_rate` of a dilated stage: "own" or "previous", see above.
    - `width_multiplier` 1 is the paper's 64 channels of the stem.
    - `stages` up to 7 appends copies of stage 4, each with its stride or the dilation that stands
      for it: DeepLabv3's cascade (section 3.2).
    """

    variant: str
    layers: Layers
    output_stride: int = 32
    multi_grid: tuple[int, ...] = ()
    width_multiplier: float = 1.0
    stages: int = 4
    first_block_rate: str = "own"

    def __post_init__(self):
        check_options(self.variant, self.output_stride, self.multi_grid, self.stages)
        if self.first_block_rate not in FIRST_BLOCK_RATES:
            known = " or ".join(FIRST_BLOCK_RATES)
            raise UserError(f"first_block_rate is {self.first_block_rate!r}, expected {known}")
        super().__post_init__()

    @nn.compact
    def __call__(self, images: Float[Array, "b h w c"]) -> dict[str, Array]:
        bottleneck, stride_in_3x3, depths = VARIANTS[self.variant]
        depths = depths + (depths[-1],) * (self.stages - 4)
        width = round(64 * self.width_multiplier)

        out = {}
        x = self.layers.conv(width, kernel_size=7, stride=2, name="stem_conv")(images)
        x = out["stem"] = nn.relu(self.layers.norm(name="stem_norm")(x))
        x = max_pool_3x3(x, padding=self.layers.padding)
        blocks = [(stage, i) for stage, n in enumerate(depths, start=1) for i in range(n)]
        strides = [2 if i == 0 and stage > 1 else 1 for stage, i in blocks]
        replaced = replace_strides(strides, self.output_stride, initial_stride=4)
        for (stage, i), full_stride, (stride, before) in zip(
            blocks, strides, replaced, strict=True
        ):
            rate = before * full_stride // stride  # a stride left out dilates what follows it
            first_rate = rate if self.first_block_rate == "own" else before
            unit_rate = self.multi_grid[i] if self.multi_grid and stage >= 4 else 1
            x = out[f"stage{stage}"] = self.layers.block(Block)(
                width << (min(stage, 4) - 1),
                bottleneck,
                stride_in_3x3,
                stride,
                (first_rate * unit_rate, rate * unit_rate),
                self.layers,
                # a copy of stage 4 projects as it does: parameters do not depend on strides
                project=i == 0 and stage > 4,
                name=f"stage{stage}_block{i + 1}",
            )(x)
        return out
