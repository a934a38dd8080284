"""Grouped convolution: channels fall into groups that do not see each other (ResNeXt, Xie 2017)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxseg.errors import UserError
from jaxseg.ops import lowering
from jaxseg.ops.conv import conv, pads

# "split" computes the groups one after another: XLA's own form takes 50 times as long on a CPU
LOWERINGS = ("native", "split")


def grouped_conv(
    x: Float[Array, "b h w c"],
    kernel: Float[Array, "k k i o"],
    groups: int,
    stride: int = 1,
    dilation: int = 1,
    padding: str = "symmetric",
) -> Float[Array, "b h2 w2 o"]:
    """Cross-correlate each of `groups` equal shares of the channels with its share of the outputs.

    The kernel's `i` input channels are those of one group: c = groups * i.
    """
    inputs, outputs = kernel.shape[2:]
    if x.shape[-1] != groups * inputs or outputs % groups:
        raise UserError(
            f"{groups} groups of {inputs} channels got {x.shape[-1]} channels in and {outputs} "
            f"out: expected {groups * inputs} in and a multiple of {groups} out"
        )
    rows, cols = pads(x, kernel.shape[0], stride, dilation, padding)
    shapes = "strided" if stride > 1 else "dilated" if dilation > 1 else "dense"
    if lowering.choose("grouped_conv", shapes, x.dtype, LOWERINGS) == "split":
        shares = zip(jnp.split(x, groups, -1), jnp.split(kernel, groups, -1), strict=True)
        maps = [conv(share, weights, stride, dilation, padding) for share, weights in shares]
        return jnp.concatenate(maps, axis=-1)
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(stride, stride),
        padding=(rows, cols),
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )
