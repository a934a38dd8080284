"""Statistics for batch norms that were folded into their convolutions, so that they can train.

A folded network's batch norms have running mean 0, variance 1 and scale sqrt(1 + eps): they add
their bias and nothing else. That is right in evaluation, but training would normalise by the
batch's statistics what the weights expect unnormalised. So the statistics are measured: a channel
whose input has mean m and variance v gets running mean m, running variance v, and the scale and
bias for which `(x - m) / sqrt(v + eps) * scale + bias` is the same function of x as before.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.ops.norm import BatchNorm
from jaxseg.weights.imported import flatten, unflatten


def unfold(
    model: nn.Module,
    variables: Mapping[str, Any],
    batches: Iterable[Float[Array, "b h w c"]],
    norms: Collection[str] | None = None,
) -> dict[str, Any]:
    """Variables that compute the same in evaluation, with statistics measured on `batches`.

    Args:
      model: with batch norm over the batch it is given (`ops.norm.GLOBAL`).
      variables: params and batch_stats.
      batches: normalised images, one batch or more.
      norms: paths of the batch norms to change ("encoder/stem_norm"); None for all.
    """
    statistics, epsilons = _measure(model, variables, batches)
    flat = flatten(variables)
    for path, (mean, var) in statistics.items():
        if norms is not None and path not in norms:
            continue
        names = ("params/{}/scale", "params/{}/bias", "batch_stats/{}/mean", "batch_stats/{}/var")
        keys = [name.format(path) for name in names]
        scale, bias, old_mean, old_var = (np.asarray(flat[key], np.float64) for key in keys)
        factor = scale / np.sqrt(old_var + epsilons[path])  # y = factor * x + offset
        offset = bias - factor * old_mean
        new = (factor * np.sqrt(var + epsilons[path]), offset + factor * mean, mean, var)
        flat.update({k: v.astype(np.float32) for k, v in zip(keys, new, strict=True)})
    return unflatten(flat)


def _measure(
    model: nn.Module, variables: Mapping[str, Any], batches: Iterable[Array]
) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], dict[str, float]]:
    """Mean and variance [c] of every batch norm's input over all batches, and its epsilon."""
    epsilons: dict[str, float] = {}

    @jax.jit
    def moments(variables: Any, images: Array) -> dict[str, tuple[Array, Array]]:
        seen = {}

        def record(call: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
            if isinstance(context.module, BatchNorm) and context.method_name == "__call__":
                path = "/".join(context.module.path)
                epsilons[path] = context.module.epsilon  # a Python number, read while tracing
                x = args[0].astype(jnp.float32)
                seen[path] = (x.mean((0, 1, 2)), x.var((0, 1, 2)))
            return call(*args, **kwargs)

        with nn.intercept_methods(record):
            model.apply(variables, images, train=False)
        return seen

    found = [jax.device_get(moments(variables, images)) for images in batches]
    statistics = {}
    for path in found[0] if found else ():
        # All batches have one size: the total is the mean of variances plus the variance of means
        means, variances = (np.asarray([batch[path][i] for batch in found], float) for i in (0, 1))
        statistics[path] = (means.mean(0), variances.mean(0) + means.var(0))
    return statistics, epsilons
