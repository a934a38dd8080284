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
from jaxtyping import Array, Float, Float32, Int, Int32, UInt8

from jaxseg.data import padding
from jaxseg.errors import UserError
from jaxseg.models.contract import SegmentationModel
from jaxseg.ops import bands
from jaxseg.ops.resize import resize


def check(model: SegmentationModel, crop_size: tuple[int, int], tile_size: int) -> None:
    """Raise UserError unless `model` can train on such crops and predict by such tiles."""
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
) -> Float[Array, "b h w k"]:
    """The probability of each class at every pixel: the softmax of `logits`."""
    return jax.nn.softmax(logits(model, variables, images, sizes, tile_size=tile_size))


def classes(
    model: SegmentationModel,
    variables: Mapping[str, Any],
    images: Float[Array, "b h w c"],
    sizes: Int[Array, "b 2"],
    *,
    tile_size: int = 0,
) -> Int[Array, "b h w"]:
    """The most likely class of every pixel.

    Args:
      model: in evaluation mode.
      variables: its parameters and statistics.
      images: normalised.
      sizes: height and width of each image without padding at the bottom and on the right. Only
        models with context look at it, others see the padding.
      tile_size: of `overlap_tile`, for models with context.
    """

    def read(logits: Array, size: tuple[int, int]) -> Array:
        return bands.argmax(logits, size, model.corners)

    return _read_logits(read, model, variables, images, sizes, tile_size)


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
        return overlap_tile(apply, images, sizes, model, tile_size)
    return apply(images)


def predict_image(
    predict_step: Callable[[Any, Any], Array],
    variables: Mapping[str, Any],
    image: UInt8[np.ndarray, "h w 3"],
    config: Any,
) -> Int[np.ndarray, "h w"]:
    """The class of every pixel of one image, at its own size.

    It is padded as evaluation pads (`config.eval`, `config.dataset.mean`), so that few shapes
    compile and the numbers agree.

    Args:
      predict_step: `Program.predict_step`.
      variables: of the state, `eval_variables`.
      image: RGB.
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
    images: Sequence[UInt8[np.ndarray, "_ _ 3"]], config: Any, count: int = 1
) -> dict[str, np.ndarray]:
    """A batch for `Program.predict_step` and `scores_step`: "image" and "size".

    Args:
      images: RGB, all of one `padded_size`.
      config: the run's.
      count: examples in the batch, where that is more than there are images; the others are blank.
    """
    padded = padded_size(images[0].shape[:2], config)
    count = max(count, len(images))
    batch = np.empty((count, *padded, 3), np.uint8)
    batch[:] = padding.mean_pixel(config.dataset.mean)
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


def overlap_tile(
    function: Callable[[Array], Array],
    images: Float[Array, "b h w c"],
    sizes: Int[Array, "b 2"],
    model: Any,
    tile_size: int = 0,
) -> Array:
    """Apply `function`, which leaves out the model's context, to images mirrored at their border.

    The border is that of each image itself: its padding is not seen.

    Args:
      function: [b, h, w, c] -> [b, h - 2 * context, w - 2 * context, ...].
      images: of any size, padded at the bottom and on the right.
      sizes: height and width of each without the padding.
      model: its `context`, `grid` and `fit` say what sizes go in.
      tile_size: height and width of the output that is computed at a time, a multiple of
        `model.grid`; 0 computes it at once. The output is the same, the memory for features is not.

    Returns:
      [b, h, w, ...]; in the padding, that of the image mirrored on and on.
    """
    b, *size, c = images.shape
    # an output tile, how many cover the image, and the input that a tile needs
    tile = [min(tile_size, n) if tile_size else n for n in size]
    count = [-(-whole // part) for whole, part in zip(size, tile, strict=True)]
    window = [model.fit(part + 2 * model.context) for part in tile]
    rows, cols = (
        _mirror(
            sizes[:, axis],
            before=model.context,
            total=(count[axis] - 1) * tile[axis] + window[axis],
        )
        for axis in (0, 1)
    )
    extended = jax.vmap(lambda image, rows, cols: image[rows][:, cols])(images, rows, cols)

    def compute_tile(top_left: Array) -> Array:
        start = (0, top_left[0], top_left[1], 0)
        y = function(jax.lax.dynamic_slice(extended, start, (b, *window, c)))
        return y[:, : tile[0], : tile[1]]

    starts = [(i * tile[0], j * tile[1]) for i in range(count[0]) for j in range(count[1])]
    tiles = jax.lax.map(compute_tile, jnp.asarray(starts, jnp.int32))
    tiles = tiles.reshape(*count, b, *tile, *tiles.shape[4:])
    tiles = jnp.moveaxis(tiles, 2, 0).swapaxes(2, 3)  # [b, count, tile, count, tile, ...]
    whole = tiles.reshape(b, count[0] * tile[0], count[1] * tile[1], *tiles.shape[5:])
    return whole[:, : size[0], : size[1]]


def _mirror(sizes: Int[Array, " b"], *, before: int, total: int) -> Int[Array, "b total"]:
    """The index in 0..size-1 of each of `total` pixels from -before on, mirrored at the border.

    The border pixel is not repeated, and what is mirrored is mirrored again as often as needed:
    numpy.pad's "reflect".
    """
    period = jnp.maximum(2 * (sizes - 1), 1)[:, None]
    position = (jnp.arange(total, dtype=jnp.int32) - before)[None] % period
    return jnp.minimum(position, period - position)
