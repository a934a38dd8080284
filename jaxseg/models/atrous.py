"""Atrous replacement (Chen et al. 2017, "Rethinking atrous convolution", section 3.1)."""

from collections.abc import Sequence

from jaxseg.errors import UserError


def replace_strides(
    strides: Sequence[int], output_stride: int, initial_stride: int = 2
) -> list[tuple[int, int]]:
    """The stride and the dilation of each block of a network with these strides.

    `initial_stride` is that of the first block's input. Past `output_stride` a block takes stride 1
    and the blocks after it are dilated instead. The block itself keeps the previous rate, so that
    features equal those of the strided network at all positions that it has.
    """
    replaced, rate, reached = [], 1, initial_stride
    for stride in strides:
        if reached * stride <= output_stride:
            replaced.append((stride, rate))
            reached *= stride
        else:
            replaced.append((1, rate))
            rate *= stride
    return replaced


def check_output_stride(output_stride: int, coarsest: int = 32) -> None:
    """Raise UserError unless it is 8, 16, ... or `coarsest`, a power of two."""
    strides = [8 << i for i in range(coarsest.bit_length() - 3)]
    if output_stride not in strides:
        allowed = ", ".join(map(str, strides))
        raise UserError(f"output_stride is {output_stride!r}, expected one of {allowed}")
