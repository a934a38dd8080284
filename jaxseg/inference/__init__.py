"""From images to class scores or classes at the images' own size.

Models whose logits cover the image see it whole. Those that lose its border (`model.context`) see
it mirrored there, tile by tile (Ronneberger et al. 2015, figure 2).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cv2
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int, Int32, UInt

from jaxseg.data import padding
from jaxseg.errors import UserError
from jaxseg.inference import averages, tiling
from jaxseg.inference.views import PLAIN, Views
from jaxseg.losses import WeightedSum
from jaxseg.models.contract import SegmentationModel
from jaxseg.ops import bands
from jaxseg.ops.resize import resize

# classes, sums of losses, and confidences if they were asked for
_Read = tuple[Array, dict[str, Array], Array | None]


def check(
    model: SegmentationModel, crop_size: tuple[int, int], tile_size: int, views: Views = PLAIN
) -> None:
    """Raise UserError unless `model` can train on such crops and predict by these tiles, views."""
    views.check(model)
    if not model.labels_pixels:
        raise UserError(
            "model classifier: fc_padding is 'valid', which labels patches of the image and not "
            "its pixels: use fc_padding=symmetric"
        )
    if model.context:
        try:
            model.check_size(crop_size)
        except UserError as error:
            raise UserError(f"config.augment.crop_size: {error}") from None
    if not tile_size:
        return
    if not model.context:
        raise UserError(
            f"config.eval.tile_size is {tile_size}, but this model sees zeros beyond a tile's "
            "border, and tiles would show: use 0, whole images, or unet,padding=valid"
        )
    if tile_size < 0 or tile_size % model.grid:
        raise UserError(
            f"config.eval.tile_size is {tile_size}, expected 0 for whole images or a multiple of "
            f"{model.grid}, so that every tile pools the same pixels together"
        )


def logits(
    model: SegmentationModel,
    variables: Mapping[str, Any],
    images: Float[Array, "b h w c"],
    sizes: Int[Array, "b 2"],
    *,
    tile_size: int = 0,
) -> Float[Array, "b h w k"]:
    """The logits of every pixel, resized to the image.

    Arguments as in `classes`. It takes k float32 a pixel, which `classes` never holds.
    """

    def read(logits: Array, size: tuple[int, int]) -> Array:
        return resize(logits, size, model.corners)

    return _read_logits(read, model, variables, images, sizes, tile_size)


def scores(
    model: SegmentationModel,
    variables: Mapping[str, Any],
    images: Float[Array, "b h w c"],
    sizes: Int[Array, "b 2"],
    *,
    tile_size: int = 0,
    views: Views = PLAIN,
) -> Float[Array, "b h w k"]:
    """The probability of each class at every pixel, the softmax of `logits`; of views, the mean."""
    views = views.for_size(images.shape[1:3], model)
    if not views.is_plain:
        return averages.scores(model, variables, images, sizes, tile_size, views)
    found = logits(model, variables, images, sizes, tile_size=tile_size)
    return jax.nn.softmax(found if views.temperature == 1 else found / views.temperature)


def classes(
    model: SegmentationModel,
    variables: Mapping[str, Any],
    images: Float[Array, "b h w c"],
    sizes: Int[Array, "b 2"],
    *,
    tile_size: int = 0,
    views: Views = PLAIN,
) -> Int[Array, "b h w"]:
    """The most likely class of every pixel, by the mean probabilities of `views`.

    Besides the features of one pass it holds the logits of all views, at the head's own stride.
    Where these are more than one float32 for each pixel and class (U-Net's), and with windows, it
    holds that instead: a running sum of probabilities.

    Args:
      model: in evaluation mode.
      variables: its parameters and statistics.
      images: normalised.
      sizes: height and width of each image without padding at the bottom and on the right. Only
        models with context look at it, others see the padding, which a flip puts on the left.
      tile_size: of `tiling.overlap_tile`, for models with context.
      views: what is averaged; `views.PLAIN` is one pass over the whole image.
    """
    views = views.for_size(images.shape[1:3], model)
    if not views.is_plain:
        return averages.classes(model, variables, images, sizes, tile_size, views)

    def read(logits: Array, size: tuple[int, int]) -> Array:
        return bands.argmax(logits, size, model.corners)

    return _read_logits(read, model, variables, images, sizes, tile_size)


def classes_and_losses(
    model: SegmentationModel,
    variables: Mapping[str, Any],
    images: Float[Array, "b h w c"],
    sizes: Int[Array, "b 2"],
    labels: Int[Array, "b h w"],
    loss: WeightedSum,
    *,
    tile_size: int = 0,
    views: Views = PLAIN,
    with_confidence: bool = False,
) -> tuple[Int[Array, "b h w"], dict[str, Float[Array, "..."]], Float[Array, "b h w"] | None]:
    """`classes`, what `WeightedSum.sums` gives for each loss of one plain pass, and confidences.

    A pixel's confidence is the probability of its class, `scores.max(-1)`; None without
    `with_confidence`.

    Whatever the views, losses are training's, of the whole image as it is: that view gives them if
    it is among them, else a pass of their own. With a window that pass could need more memory than
    there is: there are no losses then, as in `WeightedSum.no_sums`.

    Other arguments as in `classes`. Logits are never held at the labels' size, but where the model
    gives them so, and a tile's losses are added up as it is computed.
    """
    seen = views.for_size(images.shape[1:3], model)
    if seen.is_plain:
        temperature = seen.temperature if with_confidence else None
        best, sums, confidence = _read_plain(
            model, variables, images, sizes, labels, loss, tile_size, temperature
        )
    else:
        best, confidence, plain = averages.classes_confidence_and_logits(
            model, variables, images, sizes, tile_size, seen
        )
        sums = {} if plain is None else loss.sums(plain, labels, corners=model.corners)
    if views.has_window:  # even where one covers these images: others of the split may be larger
        sums = {name: jnp.zeros(()) for name in loss.losses}
    return best, sums, confidence if with_confidence else None


def _read_plain(
    model: SegmentationModel,
    variables: Mapping[str, Any],
    images: Array,
    sizes: Array,
    labels: Array,
    loss: WeightedSum,
    tile_size: int,
    temperature: float | None,
) -> _Read:
    """`classes_and_losses` of one plain pass; without a temperature there are no confidences."""

    def read(images: Array, labels: Array) -> _Read:
        logits, _ = model.apply(variables, images, train=False)
        size = (labels.shape[1], labels.shape[2])
        losses = loss.sums(logits, labels, corners=model.corners)
        confidence = None
        if temperature is not None:
            confidence = bands.max_probability(logits, size, model.corners, temperature)
        return bands.argmax(logits, size, model.corners), losses, confidence

    if not model.context:
        return read(images, labels)
    cover = tiling.Cover.for_size(images.shape[1:3], model, tile_size)

    def read_tile(images: Array, top_left: Array) -> _Read:
        best, losses, confidence = read(images, cover.crop(labels, top_left, fill=loss.void))
        return cover.cut(best), losses, jax.tree.map(cover.cut, confidence)

    best, losses, confidence = cover.map(read_tile, cover.mirror(images, sizes))
    losses = jax.tree.map(lambda parts: parts.sum(0), losses)
    return cover.join(best), losses, jax.tree.map(cover.join, confidence)


def _read_logits(
    read: Callable[[Array, tuple[int, int]], Array],
    model: SegmentationModel,
    variables: Mapping[str, Any],
    images: Array,
    sizes: Array,
    tile_size: int,
) -> Array:
    """`read(logits, size)` of the whole image, or of its tiles."""

    def apply(images: Array) -> Array:
        logits, _ = model.apply(variables, images, train=False)
        rows, cols = (n - 2 * model.context for n in images.shape[1:3])
        return read(logits, (rows, cols))

    if model.context:
        return tiling.overlap_tile(apply, images, sizes, model, tile_size)
    return apply(images)


def predict_image(
    predict_step: Callable[[Any, Any], Array],
    variables: Mapping[str, Any],
    image: UInt[np.ndarray, "h w c"],
    config: Any,
) -> Int[np.ndarray, "h w"]:
    """The class of every pixel of one image, at its own size.

    It is padded as evaluation pads (`config.eval`, `config.dataset.mean`), so that few shapes
    compile and the numbers agree.

    Args:
      predict_step: `Program.predict_step`.
      variables: of the state, `eval_variables`.
      image: of the config's channels and bits.
      config: the run's.
    """
    height, width = image.shape[:2]
    mask = predict_step(variables, padded_batch([image], config))
    return np.asarray(mask)[0, :height, :width]


def padded_size(size: tuple[int, int], config: Any) -> tuple[int, int]:
    """The height and width that evaluation and prediction pad an image of `size` to."""
    return padding.padded_size(
        size, canvas=tuple(config.eval.canvas), multiple=config.eval.size_multiple
    )


def padded_batch(
    images: Sequence[UInt[np.ndarray, "_ _ _"]], config: Any, count: int = 1
) -> dict[str, np.ndarray]:
    """A batch for `Program.predict_step` and `scores_step`: "image" and "size".

    Args:
      images: of the config's channels and bits, all of one `padded_size`.
      config: the run's.
      count: examples in the batch, where that is more than there are images; the others are blank.
    """
    padded = padded_size(images[0].shape[:2], config)
    count = max(count, len(images))
    pixel = padding.mean_pixel(config.dataset.mean, config.dataset.bits)
    batch = np.empty((count, *padded, len(pixel)), pixel.dtype)
    batch[:] = pixel
    sizes = np.full((count, 2), padded, np.int32)
    for slot, image in enumerate(images):
        height, width = sizes[slot] = image.shape[:2]
        batch[slot, :height, :width] = image
    return {"image": batch, "size": sizes}


def at_size(
    scores: Float32[np.ndarray, "_ _ c"], size: tuple[int, int], *, keep: bool
) -> tuple[Int32[np.ndarray, "h w"], Float32[np.ndarray, "h w c"] | None]:
    """The mask and, if they are to be kept, the probabilities, interpolated to another size.

    One class after the other: without `keep`, memory does not grow with their number.
    """
    height, width = size
    best, mask = np.full(size, -1, np.float32), np.zeros(size, np.int32)
    kept = np.empty((height, width, scores.shape[-1]), np.float32) if keep else None
    for index, plane in enumerate(np.ascontiguousarray(np.moveaxis(scores, -1, 0))):
        large = np.asarray(cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR))
        better = large > best
        best[better], mask[better] = large[better], index
        if kept is not None:
            kept[..., index] = large
    return mask, kept
