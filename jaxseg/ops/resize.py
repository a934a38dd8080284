"""Bilinear resize, as two small matrix products."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.errors import UserError

CORNERS = ("half_pixel", "aligned")


def resize(
    x: Float[Array, "b h w c"], size: tuple[int, int], corners: str = "half_pixel"
) -> Float[Array, "b h2 w2 c"]:
    """Resize to `size` = (rows, columns) by bilinear interpolation, without anti-aliasing.

    Pixels keep the dtype they came in; bfloat16 is interpolated and summed in float32. `corners`:

    - "half_pixel": pixel i is the area [i, i + 1), the areas of both images coincide (PyTorch's
      align_corners=False, today's TensorFlow, OpenCV).
    - "aligned": pixel i is the point i, the first and last points coincide (align_corners=True:
      DeepLab's released TensorFlow models, on sizes 16 n + 1).
    """
    rows = interpolation_matrix(x.shape[1], size[0], corners)
    cols = interpolation_matrix(x.shape[2], size[1], corners)
    if x.shape[1:3] == tuple(size):  # in both conventions every pixel stays where it is
        return x
    # in full float32: a GPU's default for a product, TF32, would round pixels to 10 bits
    einsum = partial(
        jnp.einsum, preferred_element_type=jnp.float32, precision=jax.lax.Precision.HIGHEST
    )
    y = einsum("Ww,bHwc->bHWc", cols, einsum("Hh,bhwc->bHwc", rows, x))
    return y.astype(x.dtype)


def check_corners(corners: str) -> None:
    """Raise UserError unless there is such a convention."""
    if corners not in CORNERS:
        raise UserError(f"corners is {corners!r}, expected one of {', '.join(CORNERS)}")


def interpolation_matrix(old: int, new: int, corners: str) -> np.ndarray:
    """[new, old]: row i holds the (at most two) weights that make new pixel i; rows sum to one."""
    check_corners(corners)
    i = np.arange(new)
    half_pixel, aligned = (i + 0.5) * old / new - 0.5, i * (old - 1) / max(new - 1, 1)
    at = half_pixel if corners == "half_pixel" else aligned
    at = np.clip(at, 0, old - 1)  # beyond the outermost centres the border pixel is repeated
    return np.maximum(0, 1 - np.abs(at[:, None] - np.arange(old))).astype(np.float32)
