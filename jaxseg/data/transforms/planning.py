"""From random numbers and an image's size to a plan: where its crop lies, and how it is turned."""

import numpy as np
from jaxtyping import Float, Int32, Int64

from jaxseg.data.transforms.drawing import Draw
from jaxseg.data.transforms.geometry import Plan


def make_plan(
    label: Int32[np.ndarray, "h w"], drawn: Draw, *, crop_size: tuple[int, int], context: int = 0
) -> Plan:
    """What to do to one example.

    A scaled image larger than the crop is cropped at a random position, a smaller one placed at
    one. For a model that gives no logits for a border of `context` pixels, it is the position of
    the crop without this border, so that all of the image is trained on; outside the image is its
    mirror image, as such a model sees it in prediction (`jaxseg/inference`).

    Args:
      label: of the example; only its size counts.
      drawn: its random numbers.
      crop_size: height and width of what comes out.
      context: pixels on every side of the crop that the model gives no logits for.
    """
    matrix, covered = _place(label.shape, drawn, crop_size, context)
    return Plan(
        crop_size=crop_size,
        matrix=matrix,
        covered=covered if drawn.elastic is None else None,
        displacements=drawn.elastic,
        mirrored=context > 0,
        brightness=drawn.brightness,
        contrast=drawn.contrast,
        saturation=drawn.saturation,
    )


def position(
    room: Int64[np.ndarray, " n"], offset: Float[np.ndarray, " n"]
) -> Int64[np.ndarray, " n"]:
    """One of the whole numbers from 0 to `room`, both included, all of them equally likely.

    `room` may be negative: pixels that a crop lacks. `offset` is uniform in 0..1.
    """
    count = np.abs(room) + 1
    return np.sign(room) * np.minimum(np.floor(offset * count), count - 1).astype(np.int64)


def _place(
    size: tuple[int, ...], drawn: Draw, crop_size: tuple[int, int], context: int
) -> tuple[Float[np.ndarray, "2 3"], tuple[int, int, int, int]]:
    """The map from image to crop, and the part (top, left, bottom, right) that the image covers.

    About the centres of image and scaled image, the map is flip, then rotate, then scale; points
    are (x, y) with pixel centres at halves, which OpenCV has at integers.
    """
    rotation = np.linalg.matrix_power(np.array([[0, 1], [-1, 0]]), drawn.quarter_turns)
    flip = np.diag([-1 if drawn.flip else 1, -1 if drawn.vertical_flip else 1])
    rotated = np.abs(rotation) @ np.array([size[1], size[0]])  # (width, height) after rotation
    # whole pixels, as a resize would give: where the image ends is then exact
    scaled = np.maximum(1, np.round(drawn.scale * rotated)).astype(int)
    linear = np.diag(scaled / rotated) @ rotation @ flip
    room = np.array([crop_size[1], crop_size[0]]) - 2 * context - scaled  # negative: it is cut
    # whole pixels again: a crop at scale 1 copies pixels
    shift = context + position(room, np.array([drawn.offset[1], drawn.offset[0]]))
    centre = np.array([size[1], size[0]]) / 2
    translation = shift + scaled / 2 - 0.5 - linear @ (centre - 0.5)
    left, top = np.maximum(shift, 0).tolist()
    right, bottom = np.minimum(shift + scaled, [crop_size[1], crop_size[0]]).tolist()
    return np.column_stack([linear, translation]), (top, left, bottom, right)
