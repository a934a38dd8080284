"""Means over a fixed grid of bins of a map of any size: image pooling and pyramid contexts.

Of n bins along h rows, bin i holds rows floor(i * h / n) to ceil((i + 1) * h / n), as spatial
pyramid pooling has them (He, Zhang, Ren, Sun, ECCV 2014, appendix A): bins may share a row, and
none is empty even where h is less than n.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.errors import UserError


def mean_bins(x: Float[Array, "b h w c"], bins: int) -> Float[Array, "b n n c"]:
    """The means of bins x bins bins, taken in float32 (PyTorch's adaptive average pooling)."""
    rows, cols = (_mean_matrix(size, bins) for size in x.shape[1:3])
    x32 = x.astype(jnp.float32)
    # in full float32: a GPU's default for a product, TF32, would round the pixels
    y = jnp.einsum("ih,jw,bhwc->bijc", rows, cols, x32, precision=jax.lax.Precision.HIGHEST)
    return y.astype(x.dtype)


def _mean_matrix(size: int, bins: int) -> np.ndarray:
    """[bins, size]: row i holds the weights of bin i."""
    matrix = np.zeros((bins, size), np.float32)
    for i, (start, stop) in enumerate(_bounds(size, bins)):
        matrix[i, start:stop] = 1 / (stop - start)
    return matrix


def _bounds(size: int, bins: int) -> list[tuple[int, int]]:
    """First row of each bin, and the one after its last."""
    if bins < 1:
        raise UserError(f"pooling into {bins} bins, expected at least 1")
    return [(i * size // bins, -(-(i + 1) * size // bins)) for i in range(bins)]
