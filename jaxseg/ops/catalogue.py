"""Every operation that has several lowerings, and their names."""

from collections.abc import Mapping

from jaxseg.errors import UserError, suggest
from jaxseg.ops import (
    conv,
    depthwise,
    lowering,
    pooling,
    resize,
    transposed,
    transposed_per_class,
)

OPERATIONS: dict[str, tuple[str, ...]] = {
    "conv": conv.LOWERINGS,
    "pointwise_conv": conv.POINTWISE_LOWERINGS,
    "atrous_conv": conv.ATROUS_LOWERINGS,
    "depthwise_conv": depthwise.LOWERINGS,
    "transposed_conv": transposed.LOWERINGS,
    "transposed_conv_per_class": transposed_per_class.LOWERINGS,
    "resize": resize.LOWERINGS,
    "max_pool": pooling.LOWERINGS,
    "max_pool_3x3": pooling.LOWERINGS,
}


def check(choices: Mapping[str, str]) -> None:
    """Raise UserError unless each operation's choice is "measured" or one of its lowerings."""
    for operation, choice in choices.items():
        known = (lowering.MEASURED, *OPERATIONS[operation])
        if choice not in known:
            raise UserError(f"config.lowerings.{operation} is {choice!r}; {suggest(choice, known)}")
