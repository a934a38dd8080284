"""The phases of a transposed convolution, for every lowering that computes it phase by phase.

Output row i * stride + r is the sum over q of x[i - q] * kernel[q * stride + r]: each phase r is an
ordinary stride-1 convolution of the input, and interleaving the stride * stride phases gives the
output. No zeros are inserted and multiplied.
"""

import jax.numpy as jnp
from jaxtyping import Array


def split_kernel(kernel: Array, stride: int) -> Array:
    """[k, k, ...] -> [q, stride, q, stride, ...], filled up with zeros to a multiple of stride."""
    k = kernel.shape[0]
    q = -(-k // stride)
    fill = q * stride - k
    kernel = jnp.pad(kernel, ((0, fill), (0, fill)) + ((0, 0),) * (kernel.ndim - 2))
    return kernel.reshape(q, stride, q, stride, *kernel.shape[2:])


def interleave(phases: Array, input_shape: tuple[int, ...], k: int, padding: int) -> Array:
    """[b, h, stride, w, stride, c] -> [b, h * stride, w * stride, c], less padding and filling."""
    b, h, stride, w, _, c = phases.shape
    rows, cols = ((n - 1) * stride + k - 2 * padding for n in input_shape[1:3])
    full = phases.reshape(b, h * stride, w * stride, c)
    return full[:, padding : padding + rows, padding : padding + cols]


def split_output(
    y: Array, input_shape: tuple[int, ...], k: int, stride: int, padding: int
) -> Array:
    """The transpose of `interleave`: [b, rows, cols, c] -> [b, h, stride, w, stride, c]."""
    b, *size, c = y.shape
    more = -(-k // stride) - 1  # rows of phases beyond those of the input
    h, w = (n + more for n in input_shape[1:3])
    after = (n * stride - padding - old for n, old in zip((h, w), size, strict=True))
    rows, cols = ((padding, fill) for fill in after)
    return jnp.pad(y, ((0, 0), rows, cols, (0, 0))).reshape(b, h, stride, w, stride, c)
