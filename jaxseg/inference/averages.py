"""The mean of several views' probabilities, inside the compiled step."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxseg.inference import tiling, windows
from jaxseg.inference.views import (
    PLAIN,
    Views,
    flip_each,
    on_logits,
    places,
    repeat_border,
    rescale,
)
from jaxseg.models.contract import SegmentationModel
from jaxseg.ops import averaging


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
    maps = _maps(model, variables, images, sizes, tile_size, views)
    if _are_large(maps):
        return _sum(maps, views)
    return averaging.probabilities(maps, views.temperature)


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
        return _highest(_windowed(model, variables, images, sizes, views))
    return _classes(_maps(model, variables, images, sizes, tile_size, views), views)


def classes_and_logits(
    model: SegmentationModel,
    variables: Mapping[str, Any],
    images: Float[Array, "b h w c"],
    sizes: Int[Array, "b 2"],
    tile_size: int,
    views: Views,
) -> tuple[Int[Array, "b h w"], Float[Array, "b h2 w2 k"]]:
    """`classes`, and the logits of the plain view: one of `views`, or from a pass of its own."""
    maps = _maps(model, variables, images, sizes, tile_size, views)
    if 1.0 in views.scales:
        plain = maps[views.scales.index(1.0) * (1 + views.flip)]
    else:
        (plain,) = _maps(model, variables, images, sizes, tile_size, PLAIN)
    return _classes(maps, views), plain.logits


def _maps(
    model: SegmentationModel,
    variables: Mapping[str, Any],
    images: Array,
    sizes: Array,
    tile_size: int,
    views: Views,
) -> list[averaging.Map]:
    """The logits of every view, and where the images' pixels lie on them; scale by scale."""

    def apply(images: Array) -> Array:
        return model.apply(variables, images, train=False)[0]

    def both(scale: float, seen: Array, sizes: Array) -> Iterator[Array]:
        if not model.context:
            yield apply(seen)
            if views.flip:
                yield apply(seen[:, :, ::-1])[:, :, ::-1]
            return
        for turn in (False, True)[: 1 + views.flip]:
            turned = flip_each(seen, sizes[:, 1]) if turn else seen
            found = tiling.overlap_tile(apply, turned, sizes, model, tile_size)
            found = flip_each(found, sizes[:, 1]) if turn else found
            yield found if scale == 1 else repeat_border(found, sizes)

    return [
        _place(logits, images.shape[1:3], seen.shape[1:3], scale, model.corners)
        for scale in views.scales
        for seen, own in [rescale(images, sizes, scale, model)]
        for logits in both(scale, seen, own)
    ]


def _place(
    logits: Array, size: tuple[int, ...], canvas: tuple[int, ...], scale: float, corners: str
) -> averaging.Map:
    rows, columns = (
        on_logits(places(side, scale, corners), whole, count, corners)
        for side, whole, count in zip(size, canvas, logits.shape[1:3], strict=True)
    )
    return averaging.Map(logits, rows, columns)


def _classes(maps: Sequence[averaging.Map], views: Views) -> Array:
    if _are_large(maps):
        return _highest(_sum(maps, views))
    return averaging.classes(maps, views.temperature)


def _are_large(maps: Sequence[averaging.Map]) -> bool:
    """Whether they hold more than one number for each class and pixel of the image."""
    held = sum(one.logits.shape[1] * one.logits.shape[2] for one in maps)
    return held > len(maps[0].rows) * len(maps[0].columns)


def _sum(maps: Sequence[averaging.Map], views: Views) -> Array:
    total = averaging.zeros(maps[0])
    for one in maps:
        total = averaging.add(total, one, 1 / len(maps), views.temperature)
    return total


def _highest(probabilities: Array) -> Array:
    return averaging.first_highest(probabilities, axis=-1)


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

    def apply_turned(images: Array) -> Array:
        return apply(images[:, :, ::-1])[:, :, ::-1]

    b, height, width, _ = images.shape
    total = jnp.zeros_like(images, jnp.float32, shape=(b, height, width, model.num_classes))
    for scale in views.scales:
        seen, _ = rescale(images, sizes, scale, model)
        axes = windows.axes((height, width), scale, views, model)
        for each in (apply, apply_turned)[: 1 + views.flip]:
            total = windows.add(total, each, seen, axes, 1 / views.count, views.temperature)
    return total
