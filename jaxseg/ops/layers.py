"""The layers of one model, bound once at its top and passed down."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn

from jaxseg.ops.conv import Conv, check_padding
from jaxseg.ops.depthwise import DepthwiseConv
from jaxseg.ops.norm import GLOBAL, BatchNorm, Statistics


@dataclasses.dataclass(frozen=True)
class Layers:
    """Makers of layers that share padding, precision and the settings of batch norm."""

    conv: Callable[..., Conv]  # (features, kernel_size=3, stride=1, dilation=1, use_bias=False)
    depthwise: Callable[..., DepthwiseConv]  # (kernel_size=3, stride=1, dilation=1)
    norm: Callable[..., BatchNorm]
    padding: str  # of the convolutions, for what must go with them
    remat: bool

    def block(self, part: Any) -> Any:
        """`part`, a class of modules or a method of one, as it is unless `remat`.

        Then its activations are not kept but recomputed in the backward pass (Chen et al. 2016,
        "Training deep nets with sublinear memory cost"): less memory for more time.
        """
        return nn.remat(part) if self.remat else part


def bind(
    *,
    train: bool,
    dtype: Any,
    statistics: Statistics = GLOBAL,
    padding: str = "symmetric",
    norm_epsilon: float = 1e-5,
    norm_momentum: float = 0.9,
    remat: bool = False,
) -> Layers:
    """The layers of a model in training or not; raises UserError on an unknown padding."""
    check_padding(padding)
    return Layers(
        conv=partial(Conv, padding=padding, dtype=dtype),
        depthwise=partial(DepthwiseConv, padding=padding, dtype=dtype),
        norm=partial(
            BatchNorm,
            use_running_average=not train or statistics.policy == "frozen",
            momentum=norm_momentum,
            epsilon=norm_epsilon,
            dtype=dtype,
            statistics=statistics,
        ),
        padding=padding,
        remat=remat,
    )


def bind_model(model: nn.Module, *, train: bool, **changes: Any) -> Layers:
    """`bind` by the fields of `model` that have the names of its arguments, and by `changes`."""
    names = ("dtype", "statistics", "padding", "norm_epsilon", "norm_momentum", "remat")
    fields = {name: getattr(model, name) for name in names if hasattr(model, name)}
    return bind(train=train, **{**fields, **changes})
