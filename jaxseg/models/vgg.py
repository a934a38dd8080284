"""VGG16 (Simonyan, Zisserman, ICLR 2015, table 1, column D) as an encoder: conv1_1 to pool5."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxseg.ops.conv import Conv
from jaxseg.ops.norm import batch_norm
from jaxseg.ops.pooling import max_pool

# (convolutions, channels as multiples of `width`) between two poolings
STAGES = ((2, 1), (2, 2), (3, 4), (3, 8), (3, 8))


class VGG16(nn.Module):
    """Endpoints "pool1".."pool5", at strides 2 to 32; poolings round up, as Caffe's do.

    `width` 64 is the paper's. With `batch_norm` each convolution is followed by one and has no
    bias of its own.
    """

    width: int = 64
    batch_norm: bool = False
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, images: Float[Array, "b h w c"], *, train: bool) -> dict[str, Array]:
        conv = partial(Conv, use_bias=not self.batch_norm, dtype=self.dtype)
        norm = batch_norm(train=train, dtype=self.dtype, axis_name=self.axis_name)

        x, out = images, {}
        for stage, (depth, multiple) in enumerate(STAGES, start=1):
            for i in range(1, depth + 1):
                x = conv(self.width * multiple, name=f"conv{stage}_{i}")(x)
                if self.batch_norm:
                    x = norm(name=f"norm{stage}_{i}")(x)
                x = nn.relu(x)
            x = out[f"pool{stage}"] = max_pool(x)
        return out
