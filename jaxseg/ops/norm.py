"""Batch normalization (Ioffe, Szegedy, ICML 2015)."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

POLICIES = ("global", "per_device", "frozen")


@dataclasses.dataclass(frozen=True)
class Statistics:
    """What batch norm normalizes by in training, the same under jit and under pmap.

    - "global": mean and variance of the batch of all devices.
    - "per_device": each device's share by its own; the running statistics move toward the mean of
      all devices' statistics.
    - "frozen": the running statistics, which stay; scale and bias are learned all the same.
      DeepLabv3 trains so for the last 30k steps, with smaller strides (section 4.1).

    `axis_name` names the mapped axis of pmap. Under jit a step sees the batch of all devices, and
    `devices` says into how many equal parts it falls.
    """

    policy: str = "global"
    axis_name: str | None = None
    devices: int = 1

    @property
    def parts(self) -> int:
        """How many parts of the batch at hand have statistics of their own."""
        return self.devices if self.policy == "per_device" else 1

    @property
    def sum_axis(self) -> str | None:
        """The mapped axis that the statistics are taken over."""
        return self.axis_name if self.policy == "global" else None


GLOBAL = Statistics()


class BatchNorm(nn.Module):
    """Normalize each channel, then scale and shift; statistics are taken in float32.

    In training, the batch's own mean and (biased) variance normalize, and the running statistics
    move: `running = momentum * running + (1 - momentum) * batch`, with the unbiased variance, as
    PyTorch and TensorFlow's fused kernel have it (flax and Keras keep the biased one). PyTorch's
    `momentum` is one minus this one. `statistics` says which images are the batch. Otherwise the
    running statistics normalize and stay.
    """

    use_running_average: bool
    momentum: float = 0.9
    epsilon: float = 1e-5
    dtype: Any = jnp.float32  # of the output
    statistics: Statistics = GLOBAL
    scale_init: Any = nn.initializers.ones

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        channels = (x.shape[-1],)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, channels, jnp.float32)
        running_var = self.variable("batch_stats", "var", jnp.ones, channels, jnp.float32)
        # weights read from a file may be NumPy's
        scale = jnp.asarray(self.param("scale", self.scale_init, channels, jnp.float32))
        bias = jnp.asarray(self.param("bias", nn.initializers.zeros, channels, jnp.float32))

        if self.use_running_average:
            mean, var = jnp.asarray(running_mean.value), jnp.asarray(running_var.value)
            return _scale(x, mean, var, scale, bias, self.epsilon).astype(self.dtype)
        over, parts = self.statistics, self.statistics.parts

        def normalize(x: Array) -> tuple[Array, Array, Array]:
            return _normalize(x, scale, bias, self.epsilon, over.sum_axis)

        if parts > 1:
            y, mean, var = jax.vmap(normalize)(x.reshape(parts, -1, *x.shape[1:]))
            y, mean, var = y.reshape(x.shape), mean.mean(axis=0), var.mean(axis=0)
        else:
            y, mean, var = normalize(x)
        if not self.is_initializing():
            count = _count(x, over.sum_axis) // parts
            unbiased = var * (count / max(count - 1, 1))
            if over.policy == "per_device" and over.axis_name:
                mean, unbiased = jax.lax.pmean((mean, unbiased), over.axis_name)
            keep, take = self.momentum, 1 - self.momentum
            running_mean.value = keep * running_mean.value + take * jax.lax.stop_gradient(mean)
            running_var.value = keep * running_var.value + take * jax.lax.stop_gradient(unbiased)
        return y.astype(self.dtype)


def _by_batch(
    x: Array, scale: Array, bias: Array, epsilon: float, axis_name: str | None
) -> tuple[Array, Array, Array]:
    """Normalized by the batch's statistics, which follow: mean and biased variance, in float32.

    The gradient is written out: derived step by step, it reads the map more often and keeps copies
    of it, which made the training step of MobileNetV2 a quarter slower on a CPU. No gradient flows
    through the statistics that are returned, and there is no forward-mode derivative.
    """
    x32 = x.astype(jnp.float32)
    mean, square = x32.mean(axis=(0, 1, 2)), jnp.square(x32).mean(axis=(0, 1, 2))
    if axis_name:  # every device has an equal share of the batch
        mean, square = jax.lax.pmean((mean, square), axis_name)
    var = jnp.maximum(square - jnp.square(mean), 0.0)
    return _scale(x, mean, var, scale, bias, epsilon), mean, var


def _forward(
    x: Array, scale: Array, bias: Array, epsilon: float, axis_name: str | None
) -> tuple[tuple[Array, Array, Array], Any]:
    y, mean, var = _by_batch(x, scale, bias, epsilon, axis_name)
    return (y, mean, var), (x, scale, mean, var)


def _backward(
    epsilon: float, axis_name: str | None, saved: Any, gradients: tuple[Array, Array, Array]
) -> tuple[Array, Array, Array]:
    """Of `x`: `g` less what moves the batch's mean and variance (Ioffe, Szegedy, section 3)."""
    x, scale, mean, var = saved
    g, centred = gradients[0], x.astype(jnp.float32) - mean[None, None, None]
    over_deviation = jax.lax.rsqrt(var + epsilon)
    of_bias = g.sum(axis=(0, 1, 2))
    of_scale = (g * centred).sum(axis=(0, 1, 2)) * over_deviation
    # the parameters' gradients are each device's own, to be added up with all others
    shares = jax.lax.psum((of_bias, of_scale), axis_name) if axis_name else (of_bias, of_scale)
    of_mean, of_deviation = (share / _count(x, axis_name) for share in shares)
    slope, factor = of_deviation * over_deviation, scale * over_deviation
    of_x = g - of_mean[None, None, None] - centred * slope[None, None, None]
    of_x *= factor[None, None, None]
    return of_x.astype(x.dtype), of_scale, of_bias


_normalize = jax.custom_vjp(_by_batch, nondiff_argnums=(3, 4))
_normalize.defvjp(_forward, _backward)


def _scale(x: Array, mean: Array, var: Array, scale: Array, bias: Array, epsilon: float) -> Array:
    factor = jax.lax.rsqrt(var + epsilon) * scale
    centred = x.astype(jnp.float32) - mean[None, None, None]
    return centred * factor[None, None, None] + bias[None, None, None]


def _count(x: Array, axis_name: str | None) -> int:
    """Values of each channel, on all devices together."""
    return x.size // x.shape[-1] * (jax.lax.axis_size(axis_name) if axis_name else 1)
