"""Batch normalization (Ioffe, Szegedy, ICML 2015)."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class BatchNorm(nn.Module):
    """Normalize each channel, then scale and shift; statistics are taken in float32.

    In training, the batch's own mean and (biased) variance normalize, and the running statistics
    move: `running = momentum * running + (1 - momentum) * batch`, with the unbiased variance, as
    PyTorch and TensorFlow's fused kernel have it (flax and Keras keep the biased one). PyTorch's
    `momentum` is one minus this one. Otherwise the running statistics normalize and stay.

    `axis_name` names the mapped axis (pmap) over which statistics are averaged. Under jit the mean
    over a sharded batch is global by itself: give None.
    """

    use_running_average: bool
    momentum: float = 0.9
    epsilon: float = 1e-5
    dtype: Any = jnp.float32  # of the output
    axis_name: str | None = None
    scale_init: Any = nn.initializers.ones

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        channels = (x.shape[-1],)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, channels, jnp.float32)
        running_var = self.variable("batch_stats", "var", jnp.ones, channels, jnp.float32)
        scale = self.param("scale", self.scale_init, channels, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, channels, jnp.float32)

        x = x.astype(jnp.float32)
        if self.use_running_average:
            mean, var = running_mean.value, running_var.value
        else:
            mean, var, count = self._batch_statistics(x)
            if not self.is_initializing():
                unbiased = var * count / jnp.maximum(count - 1, 1)
                keep, take = self.momentum, 1 - self.momentum
                running_mean.value = keep * running_mean.value + take * mean
                running_var.value = keep * running_var.value + take * unbiased
        factor = jax.lax.rsqrt(var + self.epsilon) * scale
        x = (x - mean[None, None, None]) * factor[None, None, None] + bias[None, None, None]
        return x.astype(self.dtype)

    def _batch_statistics(self, x: Array) -> tuple[Array, Array, Array]:
        """Mean, biased variance and number of values of each channel, of all devices together."""
        mean, square = x.mean(axis=(0, 1, 2)), jnp.square(x).mean(axis=(0, 1, 2))
        count = jnp.asarray(x.size // x.shape[-1], jnp.float32)
        if self.axis_name:  # every device has an equal share of the batch
            mean, square = jax.lax.pmean((mean, square), self.axis_name)
            count = jax.lax.psum(count, self.axis_name)
        return mean, jnp.maximum(square - jnp.square(mean), 0.0), count
