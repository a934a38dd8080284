"""The layers of one model, bound once at its top and passed down."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

from jaxseg.ops.conv import Conv, DepthwiseConv, check_padding
from jaxseg.ops.norm import BatchNorm


@dataclasses.dataclass(frozen=True)
class Layers:
    """Makers of layers that share padding, precision and the settings of batch norm."""

    conv: Callable[..., Conv]  # (features, kernel_size=3, stride=1, dilation=1, use_bias=False)
    depthwise: Callable[..., DepthwiseConv]  # (kernel_size=3, stride=1, dilation=1)
    norm: Callable[..., BatchNorm]
    padding: str  # of the convolutions, for what must go with them


def bind(
    *,
    train: bool,
    dtype: Any,
    axis_name: str | None,
    padding: str = "symmetric",
    norm_epsilon: float = 1e-5,
    norm_momentum: float = 0.9,
) -> Layers:
    """The layers of a model in training or not; raises UserError on an unknown padding."""
    check_padding(padding)
    return Layers(
        conv=partial(Conv, padding=padding, dtype=dtype),
        depthwise=partial(DepthwiseConv, padding=padding, dtype=dtype),
        norm=partial(
            BatchNorm,
            use_running_average=not train,
            momentum=norm_momentum,
            epsilon=norm_epsilon,
            dtype=dtype,
            axis_name=axis_name,
        ),
        padding=padding,
    )
