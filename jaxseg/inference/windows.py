"""Sliding windows: where they lie, and how much of each counts at every pixel.

As in PSPNet's code windows are a fixed step apart, the last moved back to the image's end. Their
probabilities are averaged at the image's own resolution, with flat weights, or with a Gaussian
about the window's centre whose standard deviation is an eighth of its side (nnU-Net, Isensee et al.
2021). The weights of a pixel sum to one, and are a row's times a column's.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxseg.inference.views import Views, canvas_of, on_logits, places
from jaxseg.models.contract import SegmentationModel
from jaxseg.ops.resize import matrix_at

SIGMA = 1 / 8  # of the Gaussian, in windows


@dataclasses.dataclass(frozen=True)
class Axis:
    """The windows along the rows, or the columns, of a padded image at one scale."""

    window: int  # its pixels, in the rescaled image
    corners: str
    starts: Int[np.ndarray, " n"]  # in the rescaled image
    firsts: Int[np.ndarray, " n"]  # the first of its pixels in the image itself
    places: Float[np.ndarray, "n r"]  # of the image's pixels, in the window's
    weights: Float[np.ndarray, "n r"]  # of the image's pixels; 0 for those that it does not see

    def has_pixels_of(self, logits: int) -> bool:
        """Whether so many logits of a window are of the image's pixels: nothing to interpolate."""
        at = on_logits(self.places, self.window, logits, self.corners)
        return at.shape[1] == logits and bool((at == np.arange(logits)).all())

    def matrices(self, logits: int, chosen: Sequence[int]) -> Float[np.ndarray, "_ r l"]:
        """They interpolate so many logits of each of these windows to the image's pixels."""
        at = on_logits(self.places[list(chosen)], self.window, logits, self.corners)
        return np.stack([matrix_at(each, logits) for each in at])


def axes(
    size: tuple[int, int], scale: float, views: Views, model: SegmentationModel
) -> tuple[Axis, Axis]:
    """The windows along rows and columns of an image of a padded `size`."""
    canvas = canvas_of(size, scale, model)
    rows, columns = (
        _axis(*sides, scale, views, model.corners)
        for sides in zip(size, canvas, views.windows_of(canvas), strict=True)
    )
    return rows, columns


def _axis(side: int, canvas: int, window: int, scale: float, views: Views, corners: str) -> Axis:
    step = max(1, round(window * (1 - views.overlap)))
    count = math.ceil((canvas - window) / step) + 1
    starts = np.minimum(np.arange(count) * step, canvas - window)
    # every pixel belongs to the windows that it lies in, those beyond the outermost to these
    at = np.clip(places(side, scale, corners), 0, canvas - 1)
    inside = (at >= starts[:, None] - 0.5) & (at < starts[:, None] + window - 0.5)
    firsts = inside.argmax(1)
    length = int((side - inside[:, ::-1].argmax(1) - firsts).max())
    firsts = np.minimum(firsts, side - length)
    pixels = firsts[:, None] + np.arange(length)
    near = at[pixels] - starts[:, None]
    weights = np.ones_like(near)
    if views.window_weights == "gaussian":
        weights = np.exp(-0.5 * ((near - (window - 1) / 2) / (SIGMA * window)) ** 2)
    weights = np.where(np.take_along_axis(inside, pixels, 1), weights, 0.0)
    total = np.zeros(side)
    np.add.at(total, pixels, weights)
    weights = (weights / total[pixels]).astype(np.float32)
    return Axis(window, corners, starts, firsts, near, weights)


def probabilities(
    logits: Float[Array, "b h w k"],
    matrices: tuple[Float[Array, "r h"] | None, Float[Array, "c w"] | None],
    weights: tuple[Float[Array, " r"], Float[Array, " c"]],
    temperature: float,
) -> Float[Array, "b r c k"]:
    """A window's share in the probabilities of the image's pixels.

    A matrix is None where the logits are of these pixels already.
    """
    high, x = jax.lax.Precision.HIGHEST, logits  # as in `ops.resize`
    if matrices[0] is not None:
        x = jnp.einsum("rh,bhwk->brwk", matrices[0], x, precision=high)
    if matrices[1] is not None:
        x = jnp.einsum("cw,brwk->brck", matrices[1], x, precision=high)
    return jax.nn.softmax(x / temperature) * weights[0][:, None, None] * weights[1][:, None]


def add(
    total: Float[Array, "b H W k"],
    apply: Callable[[Array], Array],
    images: Float[Array, "b h w c"],
    grid: tuple[Axis, Axis],
    share: float,
    temperature: float,
) -> Float[Array, "b H W k"]:
    """`total` and `share` of the probabilities of all windows, one window after the other.

    Args:
      total: at the image's own size.
      apply: images -> logits at the head's own stride.
      images: rescaled.
      grid: where the windows lie, see `axes`.
      share: of these windows in the mean.
      temperature: divides logits.
    """
    rows, columns = grid
    b, _, _, c = images.shape

    def step(total: Array, place: Array) -> tuple[Array, None]:
        i, j = place
        start = (0, jnp.asarray(rows.starts)[i], jnp.asarray(columns.starts)[j], 0)
        logits = apply(jax.lax.dynamic_slice(images, start, (b, rows.window, columns.window, c)))
        _, h, w, _ = logits.shape
        more = share * probabilities(
            logits,
            (_matrix(rows, h, i), _matrix(columns, w, j)),
            (jnp.asarray(rows.weights)[i], jnp.asarray(columns.weights)[j]),
            temperature,
        )
        start = (0, jnp.asarray(rows.firsts)[i], jnp.asarray(columns.firsts)[j], 0)
        before = jax.lax.dynamic_slice(total, start, more.shape)
        return jax.lax.dynamic_update_slice(total, before + more, start), None

    order = [(i, j) for i in range(len(rows.starts)) for j in range(len(columns.starts))]
    return jax.lax.scan(step, total, jnp.asarray(order, jnp.int32))[0]


def _matrix(axis: Axis, logits: int, index: Array) -> Array | None:
    if axis.has_pixels_of(logits):
        return None
    return jnp.asarray(axis.matrices(logits, range(len(axis.starts))))[index]


def window_step(
    variables: Mapping[str, Any],
    batch: Mapping[str, Array],
    *,
    model: SegmentationModel,
    normalize: Callable[[Array], Array],
    views: Views,
) -> Float[Array, "n r c k"]:
    """The weighted probabilities of some windows, for whoever adds them up on the host.

    The batch holds "image" [n w1 w2 3], windows in 0..255 of the rescaled image, and for each of
    them "row_weight" [n r], "column_weight" [n c], and where there is something to interpolate,
    "row_matrix" [n r h] and "column_matrix" [n c w], those of its `Axis`.
    """
    images = normalize(batch["image"])

    def seen(*, flipped: bool) -> Array:
        step = -1 if flipped else 1  # along columns
        found, _ = model.apply(variables, images[:, :, ::step], train=False)
        one = jax.vmap(
            lambda logits, matrices, weights: probabilities(
                logits[None], matrices, weights, views.temperature
            )[0]
        )
        matrices = batch.get("row_matrix"), batch.get("column_matrix")
        weights = batch["row_weight"], batch["column_weight"]
        return one(found[:, :, ::step], matrices, weights)

    plain = seen(flipped=False)
    return (plain + seen(flipped=True)) / 2 if views.flip else plain
