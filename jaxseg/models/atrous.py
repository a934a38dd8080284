"""Atrous replacement (Chen et al. 2017, "Rethinking atrous convolution", section 3.1)."""

from collections.abc import Sequence

from jaxseg.errors import UserError


def replace_strides(
    strides: Sequence[int], output_stride: int, reached: int = 2
) -> list[tuple[int, int]]:
    """The stride and the dilation of each block, for the strides of the dense network.

    `reached` is the stride before the first block. Past `output_stride` a block takes stride 1, and
    the blocks after it are dilated instead. It still sees its own input at the old rate, so that
    all features equal those of the strided network at every position that those have.
    """
    replaced, rate = [], 1
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
