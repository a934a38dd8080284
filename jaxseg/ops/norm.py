"""Batch normalization."""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn


def batch_norm(
    *,
    train: bool,
    dtype: Any,
    axis_name: str | None,
    momentum: float = 0.9,
    epsilon: float = 1e-5,
) -> Callable[..., nn.BatchNorm]:
    """Bind batch norm's settings once, at the top of a model; the result makes the layers.

    In training, the batch's own mean and (biased) variance normalize, and the running statistics
    move: `running = momentum * running + (1 - momentum) * batch`. PyTorch's `momentum` is one minus
    this one, and its running variance is the unbiased one. Otherwise the running statistics
    normalize and stay as they are.

    `axis_name` names the mapped axis (pmap) over which statistics are averaged. Under jit the mean
    over a sharded batch is global by itself: give None.
    """
    return functools.partial(
        nn.BatchNorm,
        use_running_average=not train,
        momentum=momentum,
        epsilon=epsilon,
        dtype=dtype,  # of the output: the mean and the variance are taken in float32 regardless
        axis_name=axis_name,
    )
