"""The mean of several views' probabilities, inside the compiled step."""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxseg.inference import tiling, windows
from jaxseg.inference.views import (
    PLAIN,
    Views,
    canvas_of,
    flip_each,
    on_logits,
    places,
    repeat_border,
    rescale,
)
from jaxseg.models.contract import SegmentationModel
from jaxseg.ops import averaging
from jaxseg.ops.bands import first_highest


def scores(
    model: SegmentationModel,
    variables: Mapping[str, Any],
    images: Float[Array, "b h w c"],
    sizes: Int[Array, "b 2"],
    tile_size: int,
    views: Views,
) -> Float[Array, "b h w k"]:
    """The mean probability of each class at every pixel; arguments as in `inference.classes`."""
    if views.has_window:
        return _windowed(model, variables, images, sizes, views)
    found = _look(model, variables, images, sizes, tile_size, views)
    if found.total is not None:
        return found.total
    return averaging.probabilities(found.maps, views.temperature)


def classes(
    model: SegmentationModel,
    variables: Mapping[str, Any],
    images: Float[Array, "b h w c"],
    sizes: Int[Array, "b 2"],
    tile_size: int,
    views: Views,
) -> Int[Array, "b h w"]:
    """The class of the highest mean probability."""
    if views.has_window:
        return first_highest(_windowed(model, variables, images, sizes, views), axis=-1)
    return _look(model, variables, images, sizes, tile_size, views).classes(views)


def classes_confidence_and_logits(
    model: SegmentationModel,
    variables: Mapping[str, Any],
    images: Float[Array, "b h w c"],
    sizes: Int[Array, "b 2"],
    tile_size: int,
    views: Views,
) -> tuple[Int[Array, "b h w"], Float[Array, "b h w"], Float[Array, "b h2 w2 k"] | None]:
    """`classes`, their mean probability, and the logits of the plain view.

    That view is one of `views`, or has a pass of its own; with windows there is None.
    """
    if views.has_window:
        total = _windowed(model, variables, images, sizes, views)
        return first_highest(total, axis=-1), total.max(-1), None
    found = _look(model, variables, images, sizes, tile_size, views)
    plain = found.first if 1.0 in views.scales else None
    if plain is None:
        plain = _look(model, variables, images, sizes, tile_size, PLAIN).first
    return found.classes(views), found.confidence(views), plain


@dataclasses.dataclass(frozen=True)
class _Seen:
    """All views of a batch: their maps, or where these would be larger, their mean."""

    first: Array  # the logits of the first view: the plain one, if it is among them
    maps: Sequence[averaging.Map]
    total: Float[Array, "b h w k"] | None

    def classes(self, views: Views) -> Int[Array, "b h w"]:
        if self.total is not None:
            return first_highest(self.total, axis=-1)
        return averaging.classes(self.maps, views.temperature)

    def confidence(self, views: Views) -> Float[Array, "b h w"]:
        if self.total is not None:
            return self.total.max(-1)
        return averaging.max_probability(self.maps, views.temperature)


def _look(
    model: SegmentationModel,
    variables: Mapping[str, Any],
    images: Array,
    sizes: Array,
    tile_size: int,
    views: Views,
) -> _Seen:
    """Look at images by one view after the other."""
    flips = (False, True)[: 1 + views.flip]
    order = sorted(views.scales, key=lambda scale: scale != 1)
    maps, total = [], None
    first: Any = None
    for number, (scale, flipped) in enumerate(itertools.product(order, flips)):
        one = _view(model, variables, images, sizes, tile_size, scale, flipped)
        if number == 0:
            first = one.logits
            if _are_large(one, images, views, model):
                total = averaging.zeros(one)
        if total is None:
            maps.append(one)
            images = _after(one.logits, images)
        else:
            total = averaging.add(total, one, 1 / views.count, views.temperature)
            images = _after(total, images)
    return _Seen(first, maps, total)


def _view(
    model: SegmentationModel,
    variables: Mapping[str, Any],
    images: Array,
    sizes: Array,
    tile_size: int,
    scale: float,
    flipped: bool,
) -> averaging.Map:
    """The logits of a view, and where the images' pixels lie on them."""

    def apply(images: Array) -> Array:
        return model.apply(variables, images, train=False)[0]

    seen, own = rescale(images, sizes, scale, model)
    if not model.context:
        logits = apply(seen[:, :, ::-1])[:, :, ::-1] if flipped else apply(seen)
    else:
        seen = flip_each(seen, own[:, 1]) if flipped else seen
        logits = tiling.overlap_tile(apply, seen, own, model, tile_size)
        logits = flip_each(logits, own[:, 1]) if flipped else logits
        logits = logits if scale == 1 else repeat_border(logits, own)
    return _place(logits, images.shape[1:3], seen.shape[1:3], scale, model.corners)


def _place(
    logits: Array, size: tuple[int, ...], canvas: tuple[int, ...], scale: float, corners: str
) -> averaging.Map:
    rows, columns = (
        on_logits(places(side, scale, corners), whole, count, corners)
        for side, whole, count in zip(size, canvas, logits.shape[1:3], strict=True)
    )
    return averaging.Map(logits, rows, columns)


def _are_large(first: averaging.Map, images: Array, views: Views, model: SegmentationModel) -> bool:
    """Whether the maps of all views hold more than one number for each class and pixel."""
    size = (images.shape[1], images.shape[2])
    areas = [math.prod(canvas_of(size, scale, model)) for scale in views.scales]
    own = math.prod(canvas_of(size, min(views.scales, key=lambda scale: scale != 1), model))
    held = math.prod(first.logits.shape[1:3]) / own * sum(areas) * (1 + views.flip)
    return held > math.prod(size)


def _after(earlier: Array, images: Array) -> Array:
    """The same images, that can't be used before `earlier` is computed.

    Else XLA has several passes under way at once, each with its features. On a CPU it takes out
    `optimization_barrier`, so that this asks for what is never true.
    """
    one = earlier.ravel()[0]
    return jnp.where(jnp.isnan(one) & (one == one), 0.0, images)


def _windowed(
    model: SegmentationModel,
    variables: Mapping[str, Any],
    images: Array,
    sizes: Array,
    views: Views,
) -> Array:
    """The mean probabilities of all windows of all views."""

    def apply(images: Array) -> Array:
        return model.apply(variables, images, train=False)[0]

    def apply_flipped(images: Array) -> Array:
        return apply(images[:, :, ::-1])[:, :, ::-1]

    b, height, width, _ = images.shape
    total = jnp.zeros_like(images, jnp.float32, shape=(b, height, width, model.num_classes))
    for scale in views.scales:
        seen, _ = rescale(images, sizes, scale, model)
        axes = windows.axes((height, width), scale, views, model)
        for each in (apply, apply_flipped)[: 1 + views.flip]:
            total = windows.add(total, each, seen, axes, 1 / views.count, views.temperature)
    return total
