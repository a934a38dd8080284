"""From random numbers and a label to a plan: where its crop lies, and how it is turned."""

import numpy as np
from jaxtyping import Float, Int32, Int64

from jaxseg.data.mask_files import present
from jaxseg.data.transforms.drawing import Draw
from jaxseg.data.transforms.geometry import Plan, warp_label

Target = tuple[float, float]  # (x, y), in pixels of the image from its top left corner


def make_plan(
    label: Int32[np.ndarray, "h w"],
    drawn: Draw,
    *,
    crop_size: tuple[int, int],
    void: int,
    context: int = 0,
) -> Plan:
    """What to do to one example.

    A scaled image larger than the crop is cropped at a random position, a smaller one placed at
    one. For a model that gives no logits for a border of `context` pixels, it is the position of
    the crop without this border, so that all of the image is trained on; outside the image is its
    mirror image, as such a model sees it in prediction (`jaxseg/inference`).

    With `drawn.target` the positions are those whose crop shows one pixel, of a class drawn among
    those present: every one has the same chance, however small. With `drawn.other_offsets`, another
    position is tried while one class has more than `max_class_share` of a crop's valid pixels, or
    there are none; the last is taken as it is (mmsegmentation's RandomCrop with cat_max_ratio).

    Args:
      label: of the example.
      drawn: its random numbers.
      crop_size: height and width of what comes out.
      void: the label that no class has.
      context: pixels on every side of the crop that the model gives no logits for.
    """
    target = None if drawn.target is None else _target(label, drawn.target, void)
    plan = _plan_at(drawn.offset, label, drawn, crop_size, context, target)
    for offset in drawn.other_offsets:
        crop = warp_label(label, plan, void)
        seen = crop[context : crop_size[0] - context, context : crop_size[1] - context]
        if _largest_share(seen, void) <= drawn.max_class_share:
            break
        plan = _plan_at(offset, label, drawn, crop_size, context, target)
    return plan


def position(
    room: Int64[np.ndarray, " n"], offset: Float[np.ndarray, " n"]
) -> Int64[np.ndarray, " n"]:
    """One of the whole numbers from 0 to `room`, both included, all of them equally likely.

    `room` may be negative: pixels that a crop lacks. `offset` is uniform in 0..1.
    """
    count = np.abs(room) + 1
    return np.sign(room) * np.minimum(np.floor(offset * count), count - 1).astype(np.int64)


def _target(
    label: Int32[np.ndarray, "h w"], drawn: tuple[float, float], void: int
) -> Target | None:
    """The centre of a pixel of a class, both drawn; None if all is void."""
    classes = [index for index in present(label) if index != void]
    if not classes:
        return None
    pixels = np.flatnonzero(label == classes[int(drawn[0] * len(classes))])
    row, column = divmod(int(pixels[int(drawn[1] * len(pixels))]), label.shape[1])
    return column + 0.5, row + 0.5


def _largest_share(label: Int32[np.ndarray, "h w"], void: int) -> float:
    """Of the valid pixels, the share of their commonest class; 1 without any."""
    counts = np.bincount(label.ravel(), minlength=void + 1)
    counts[void] = 0
    return float(counts.max() / counts.sum()) if counts.any() else 1.0


def _plan_at(
    offset: tuple[float, float],
    label: Int32[np.ndarray, "h w"],
    drawn: Draw,
    crop_size: tuple[int, int],
    context: int,
    target: Target | None,
) -> Plan:
    """The plan whose crop lies where `offset` and `target` say.

    About the centres of image and scaled image, the map is flip, quarter turns, scale, and rotation
    by an angle; points are (x, y) with pixel centres at halves, which OpenCV has at integers. The
    crop's positions are those of the image before it is rotated by the angle.
    """
    linear, scaled = _linear(label.shape, drawn)
    centre = np.array([label.shape[1], label.shape[0]]) / 2
    inner = np.array([crop_size[1], crop_size[0]]) - 2 * context
    room = inner - scaled  # negative: it is cut
    first, last = np.zeros(2, int), np.abs(room)
    if target is not None:
        # rotation by an angle may have carried it out of reach: then as near as there is a position
        shown = np.floor(scaled / 2 + linear @ (np.array(target) - centre)).astype(int)
        last = np.where(room < 0, np.clip(shown, 0, last), last)
        first = np.where(room < 0, np.clip(shown - inner + 1, 0, last), first)
    # whole pixels again: a crop at scale 1 copies pixels
    place = first + position(last - first, np.array([offset[1], offset[0]]))
    shift = context + np.sign(room) * place
    translation = shift + scaled / 2 - 0.5 - linear @ (centre - 0.5)
    left, top = np.maximum(shift, 0).tolist()
    right, bottom = np.minimum(shift + scaled, [crop_size[1], crop_size[0]]).tolist()
    rectangular = drawn.elastic is None and drawn.angle == 0
    return Plan(
        crop_size=crop_size,
        matrix=np.column_stack([linear, translation]),
        covered=(top, left, bottom, right) if rectangular else None,
        displacements=drawn.elastic,
        mirrored=context > 0,
        brightness=drawn.brightness,
        contrast=drawn.contrast,
        saturation=0.0 if drawn.grey else drawn.saturation,
        hue=drawn.hue,
        gamma=drawn.gamma,
        blur=drawn.blur,
    )


def _linear(
    size: tuple[int, ...], drawn: Draw
) -> tuple[Float[np.ndarray, "2 2"], Int64[np.ndarray, " 2"]]:
    """The map without its translation, and the image's width and height but for the angle."""
    turns = np.linalg.matrix_power(np.array([[0, 1], [-1, 0]]), drawn.quarter_turns)
    flip = np.diag([-1 if drawn.flip else 1, -1 if drawn.vertical_flip else 1])
    turned = np.abs(turns) @ np.array([size[1], size[0]])  # (width, height) after quarter turns
    # whole pixels, as a resize would give: where the image ends is then exact
    scaled = np.maximum(1, np.round(drawn.scale * turned)).astype(int)
    linear = np.diag(scaled / turned) @ turns @ flip
    if drawn.angle:
        cosine, sine = np.cos(np.radians(drawn.angle)), np.sin(np.radians(drawn.angle))
        linear = np.array([[cosine, sine], [-sine, cosine]]) @ linear
    return linear, scaled
