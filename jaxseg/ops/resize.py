"""Resize by nearest, bilinear or bicubic interpolation, rows and columns one after the other.

Lowerings, equal to rounding:

- "matmul": a product with a matrix of weights along each axis, as `jax.image.resize` has it.
- "taps": along each axis the weighted sum of the 1, 2 or 4 pixels that count, and as the gradient,
  of the few new pixels that a pixel went to. On a CPU a third of the time and less, with its
  gradient a half.
"""

import functools
import operator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.errors import UserError
from jaxseg.ops import lowering

CORNERS = ("half_pixel", "aligned")
METHODS = ("nearest", "bilinear", "bicubic")
LOWERINGS = ("matmul", "taps")
MOST_TAPS = 40  # of more, as where one pixel fills a map, a product is faster


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
      DeepLab's released TensorFlow models).

    Which of them features need depends on the image's size. Strides of 32 in all put feature i of
    padded convolutions at pixel 32 i, plus a constant. Images of 32 k + 1 pixels have k + 1
    features, the last at the last pixel: "aligned" returns them to their pixels exactly. Images of
    32 k have k: "half_pixel" puts them 32 pixels apart too (a constant away from their pixels, 7.5
    at stride 16, which training absorbs). Either on the other's sizes spaces them wrongly, so that
    they are off by up to half a stride, depending on the position. `corner_mismatch` of
    models/contract.py finds that.

    `method`, each as `torch.nn.functional.interpolate` has it:

    - "bilinear".
    - "bicubic": Keys' kernel (1981, "Cubic convolution interpolation") with a = -0.75, as OpenCV
      too; TensorFlow and jax.image have a = -0.5. Beyond the border the border pixel is repeated.
    - "nearest": new pixel i is old pixel floor(i * old / new), and `corners` says nothing. By whole
      factors this is the nearest by half-pixel centres; by others it leans to the top left.
    """
    _check(corners, method)
    b, h, w, c = x.shape
    if (h, w) == tuple(size):  # whatever the method, every pixel stays where it is
        return x
    if method == "nearest" and size[0] % h == 0 and size[1] % w == 0:
        # copies, without a product: a tenth of the time on a CPU
        m, n = size[0] // h, size[1] // w
        return jnp.broadcast_to(x[:, :, None, :, None], (b, h, m, w, n, c)).reshape(b, *size, c)
    shapes = "enlarge" if size[0] * size[1] > h * w else "shrink"
    name = lowering.choose("resize", shapes, x.dtype, LOWERINGS)
    functions = {"matmul": _by_matmul, "taps": _by_taps}
    y = functions[name](x.astype(jnp.float32), (h, w), tuple(size), corners, method)
    return y.astype(x.dtype)


Sizes = tuple[int, int]


def _by_matmul(x: Array, old: Sizes, new: Sizes, corners: str, method: str) -> Array:
    for axis in _order(old, new):
        x = _product(x, axis, _matrix(old, new, axis, corners, method))
    return x


@partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3, 4))
def _by_taps(x: Array, old: Sizes, new: Sizes, corners: str, method: str) -> Array:
    for axis in _order(old, new):
        x = _weigh(x, axis, _matrix(old, new, axis, corners, method))
    return x


def _by_taps_forward(
    x: Array, old: Sizes, new: Sizes, corners: str, method: str
) -> tuple[Array, None]:
    return _by_taps(x, old, new, corners, method), None


def _by_taps_backward(
    old: Sizes, new: Sizes, corners: str, method: str, _: None, y: Array
) -> tuple[Array]:
    """The transposed matrices have few numbers a row too: again a sum of taps, not a scatter."""
    for axis in reversed(_order(old, new)):
        y = _weigh(y, axis, _matrix(old, new, axis, corners, method).T)
    return (y,)


_by_taps.defvjp(_by_taps_forward, _by_taps_backward)


def _order(old: Sizes, new: Sizes) -> tuple[int, ...]:
    """The axes that change, in the order that multiplies less."""
    (h, w), (rows, cols) = old, new
    rows_first, cols_first = rows * w * (h + cols), h * cols * (w + rows)
    order = (1, 2) if rows_first <= cols_first else (2, 1)
    return tuple(axis for axis in order if old[axis - 1] != new[axis - 1])


def _product(x: Array, axis: int, matrix: np.ndarray) -> Array:
    """`matrix` times the rows (axis 1) or the columns (axis 2), as plain matrix products."""
    b, h, w, c = x.shape
    lines = x.reshape(b, h, w * c) if axis == 1 else x.reshape(b * h, w, c)
    # in full float32: a GPU's default for a product, TF32, would round pixels to 10 bits
    y = jnp.einsum("Nn,bnc->bNc", matrix, lines, precision=jax.lax.Precision.HIGHEST)
    return y.reshape((b, len(matrix), w, c) if axis == 1 else (b, h, len(matrix), c))


def _weigh(x: Array, axis: int, matrix: np.ndarray) -> Array:
    """As `_product`, by taking the lines that count and adding them up."""
    count = int((matrix != 0).sum(axis=1).max())
    if count > MOST_TAPS:
        return _product(x, axis, matrix)
    lines = np.argsort(matrix == 0, axis=1, kind="stable")[:, :count]  # those that count, in order
    weights = np.take_along_axis(matrix, lines, axis=1)
    lines = np.where(weights == 0, lines[:, :1], lines)  # a NaN elsewhere stays out of this pixel
    shape = [1, 1, 1, 1]
    shape[axis] = len(matrix)
    taps = (
        jnp.take(x, line, axis=axis, mode="clip") * weight.reshape(shape)
        for line, weight in zip(lines.T, weights.T, strict=True)
    )
    return functools.reduce(operator.add, taps)


def check_corners(corners: str) -> None:
    """Raise UserError unless there is such a convention."""
    if corners not in CORNERS:
        raise UserError(f"corners is {corners!r}, expected one of {', '.join(CORNERS)}")


def _check(corners: str, method: str) -> None:
    check_corners(corners)
    if method not in METHODS:
        raise UserError(f"resize method is {method!r}, expected one of {', '.join(METHODS)}")


def _matrix(old: Sizes, new: Sizes, axis: int, corners: str, method: str) -> np.ndarray:
    return interpolation_matrix(old[axis - 1], new[axis - 1], corners, method)


def interpolation_matrix(old: int, new: int, corners: str, method: str = "bilinear") -> np.ndarray:
    """[new, old]: row i holds the weights that make new pixel i of the old; rows sum to one."""
    _check(corners, method)
    i = np.arange(new)
    if method == "nearest":
        return np.eye(old, dtype=np.float32)[i * old // new]
    half_pixel, aligned = (i + 0.5) * old / new - 0.5, i * (old - 1) / max(new - 1, 1)
    return matrix_at(half_pixel if corners == "half_pixel" else aligned, old, method)


def matrix_at(at: Float[np.ndarray, " new"], old: int, method: str = "bilinear") -> np.ndarray:
    """[new, old]: the weights of the `old` pixels for the values at the places `at`.

    Places are counted in pixels; whole numbers are their centres. Beyond the outermost centres the
    border pixel is repeated.
    """
    kernel, reach = (_linear, 1) if method == "bilinear" else (_cubic, 2)
    matrix = np.zeros((len(at), old))
    for tap in range(1 - reach, reach + 1):
        pixel = np.floor(at).astype(int) + tap
        np.add.at(
            matrix, (np.arange(len(at)), np.clip(pixel, 0, old - 1)), kernel(np.abs(at - pixel))
        )
    return matrix.astype(np.float32)


def _linear(distance: np.ndarray) -> np.ndarray:
    return np.maximum(0, 1 - distance)


def _cubic(distance: np.ndarray, a: float = -0.75) -> np.ndarray:
    near = (a + 2) * distance**3 - (a + 3) * distance**2 + 1
    far = a * (distance**3 - 5 * distance**2 + 8 * distance - 4)
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0))
