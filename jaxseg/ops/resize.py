"""Resize by nearest, bilinear or bicubic interpolation, as two small matrix products."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.errors import UserError

CORNERS = ("half_pixel", "aligned")
METHODS = ("nearest", "bilinear", "bicubic")


def resize(
    x: Float[Array, "b h w c"],
    size: tuple[int, int],
    corners: str = "half_pixel",
    method: str = "bilinear",
) -> Float[Array, "b h2 w2 c"]:
    """Resize to `size` = (rows, columns) without anti-aliasing.

    Pixels keep the dtype they came in; bfloat16 is interpolated and summed in float32. `corners`:

    - "half_pixel": pixel i is the area [i, i + 1), the areas of both images coincide (PyTorch's
      align_corners=False, today's TensorFlow, OpenCV).
    - "aligned": pixel i is the point i, the first and last points coincide (align_corners=True:
      DeepLab's released TensorFlow models, on sizes 16 n + 1).

    `method`, each as `torch.nn.functional.interpolate` has it:

    - "bilinear".
    - "bicubic": Keys' kernel (1981, "Cubic convolution interpolation") with a = -0.75, as OpenCV
      too; TensorFlow and jax.image have a = -0.5. Beyond the border the border pixel is repeated.
    - "nearest": new pixel i is old pixel floor(i * old / new), and `corners` says nothing. By whole
      factors this is the nearest by half-pixel centres; by others it leans to the top left.
    """
    rows = interpolation_matrix(x.shape[1], size[0], corners, method)
    cols = interpolation_matrix(x.shape[2], size[1], corners, method)
    b, h, w, c = x.shape
    if (h, w) == tuple(size):  # whatever the method, every pixel stays where it is
        return x
    if method == "nearest" and size[0] % h == 0 and size[1] % w == 0:
        # copies, without a product: a tenth of the time on a CPU
        m, n = size[0] // h, size[1] // w
        return jnp.broadcast_to(x[:, :, None, :, None], (b, h, m, w, n, c)).reshape(b, *size, c)
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


def interpolation_matrix(old: int, new: int, corners: str, method: str = "bilinear") -> np.ndarray:
    """[new, old]: row i holds the weights that make new pixel i of the old; rows sum to one."""
    check_corners(corners)
    if method not in METHODS:
        raise UserError(f"resize method is {method!r}, expected one of {', '.join(METHODS)}")
    i = np.arange(new)
    if method == "nearest":
        return np.eye(old, dtype=np.float32)[i * old // new]
    half_pixel, aligned = (i + 0.5) * old / new - 0.5, i * (old - 1) / max(new - 1, 1)
    at = half_pixel if corners == "half_pixel" else aligned
    kernel, reach = (_linear, 1) if method == "bilinear" else (_cubic, 2)
    matrix = np.zeros((new, old))
    for tap in range(1 - reach, reach + 1):
        pixel = np.floor(at).astype(int) + tap
        # beyond the outermost centres the border pixel is repeated
        np.add.at(matrix, (i, np.clip(pixel, 0, old - 1)), kernel(np.abs(at - pixel)))
    return matrix.astype(np.float32)


def _linear(distance: np.ndarray) -> np.ndarray:
    return np.maximum(0, 1 - distance)


def _cubic(distance: np.ndarray, a: float = -0.75) -> np.ndarray:
    near = (a + 2) * distance**3 - (a + 3) * distance**2 + 1
    far = a * (distance**3 - 5 * distance**2 + 8 * distance - 4)
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0))
