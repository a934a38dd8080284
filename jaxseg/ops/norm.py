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
        statistics, parts = self.statistics, self.statistics.parts

        def normalize(x: Array) -> tuple[Array, Array, Array]:
            return _normalize(x, scale, bias, self.epsilon, statistics.sum_axis)

        if parts > 1:
            y, mean, var = jax.vmap(normalize)(x.reshape(parts, -1, *x.shape[1:]))
            y, mean, var = y.reshape(x.shape), mean.mean(axis=0), var.mean(axis=0)
        else:
            y, mean, var = normalize(x)
        if not self.is_initializing():
            count = _count(x, statistics.sum_axis) // parts
            unbiased = var * (count / max(count - 1, 1))
            if statistics.policy == "per_device" and statistics.axis_name:
                mean, unbiased = jax.lax.pmean((mean, unbiased), statistics.axis_name)
            old, new = self.momentum, 1 - self.momentum
            running_mean.value = old * running_mean.value + new * jax.lax.stop_gradient(mean)
            running_var.value = old * running_var.value + new * jax.lax.stop_gradient(unbiased)
        return y.astype(self.dtype)


def _by_batch(
    x: Array, scale: Array, bias: Array, epsilon: float, axis_name: str | None
) -> tuple[Array, Array, Array]:
    """Normalized by the batch's statistics, which follow: mean and biased variance, in float32.

    The variance takes a second pass over the map and a second sum over devices: E[x^2] - E[x]^2 is
    nothing but rounding where the mean is 1000 times the standard deviation. On a CPU this costs no
    time (DeepLabv3+ on MobileNetV2, a training step at 2x257x257: 0.99 to 1.00 of the time). One
    pass over values shifted by the mean of one row would take two sums over devices as well.

    The gradient is written out: derived step by step, it reads the map more often and keeps copies
    of it, which made the training step of MobileNetV2 a quarter slower on a CPU. No gradient flows
    through the statistics that are returned, and there is no forward-mode derivative.
    """
    x32 = x.astype(jnp.float32)
    mean = _mean(x32, axis_name)
    var = _mean(jnp.square(x32 - mean[None, None, None]), axis_name)
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
    inverse = jax.lax.rsqrt(var + epsilon)  # of the standard deviation
    scale_gradient = (g * centred).sum(axis=(0, 1, 2)) * inverse
    bias_gradient = g.sum(axis=(0, 1, 2))
    sums = (scale_gradient, bias_gradient)
    if (
        axis_name
    ):  # the parameters' gradients stay each device's own, to be added up with all others
        sums = jax.lax.psum(sums, axis_name)
    slope, shift = (total / _count(x, axis_name) for total in sums)
    slope, factor = slope * inverse, scale * inverse
    x_gradient = g - shift[None, None, None] - centred * slope[None, None, None]
    x_gradient *= factor[None, None, None]
    return x_gradient.astype(x.dtype), scale_gradient, bias_gradient


_normalize = jax.custom_vjp(_by_batch, nondiff_argnums=(3, 4))
_normalize.defvjp(_forward, _backward)


def _mean(x: Array, axis_name: str | None) -> Array:
    """Of each channel, over all devices: each has an equal share of the batch."""
    mean = x.mean(axis=(0, 1, 2))
    return jax.lax.pmean(mean, axis_name) if axis_name else mean


def _scale(x: Array, mean: Array, var: Array, scale: Array, bias: Array, epsilon: float) -> Array:
    factor = jax.lax.rsqrt(var + epsilon) * scale
    centred = x.astype(jnp.float32) - mean[None, None, None]
    return centred * factor[None, None, None] + bias[None, None, None]


def _count(x: Array, axis_name: str | None) -> int:
    """Values of each channel, on all devices together."""
    return x.size // x.shape[-1] * (jax.lax.axis_size(axis_name) if axis_name else 1)
