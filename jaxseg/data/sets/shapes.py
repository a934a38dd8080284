"""A synthetic data set, drawn on the fly: textured shapes on a textured ground, with void rims.

Nothing to download, so it is what the quick start trains on. Colour alone does not tell the
classes: their hues overlap widely, and the ground takes any. Outline and texture do.
"""

import dataclasses

import cv2
import numpy as np
from jaxtyping import Float32, Int32, UInt8

from jaxseg.data.palettes import default_palette
from jaxseg.data.source import Classes, Example
from jaxseg.defaults import Dataset
from jaxseg.errors import UserError, suggest

NAMES = ("background", "circle", "square", "triangle", "star")
CLASSES = Classes(NAMES, default_palette(NAMES))
SPLITS = ("train", "val")
HUES = {"circle": 15, "square": 195, "triangle": 285, "star": 105}  # degrees, give or take 30
CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))

# the corners of each shape on unit circles, scaled so that all are about as large as a disc of 0.85
OUTLINES = {
    "circle": (48, (0.85,)),
    "square": (4, (1.1,)),
    "triangle": (3, (1.25,)),
    "star": (10, (1.25, 0.55)),  # radii of its points and its notches, alternating
}


@dataclasses.dataclass(frozen=True)
class Options:
    """The keys of `config.dataset` that are this set's own."""

    image_size: tuple[int, int] = (64, 64)  # height, width
    train_examples: int = 2000
    val_examples: int = 100
    seed: int = 0


def load(dataset: Dataset, split: str) -> "Shapes":
    """A split, as `dataset.options` describe it.

    Raises:
      UserError: no such split, or an unknown option.
    """
    try:
        options = Options(**dataset.options)
    except TypeError:
        known = [field.name for field in dataclasses.fields(Options)]
        unknown = min(dataset.options.keys() - set(known))
        raise UserError(
            f"data set shapes has no option {unknown!r}; {suggest(unknown, known)}"
        ) from None
    if split not in SPLITS:
        raise UserError(f"data set shapes has no split {split!r}; it has {', '.join(SPLITS)}")
    count = options.train_examples if split == "train" else options.val_examples
    height, width = options.image_size
    return Shapes((int(height), int(width)), count, options.seed, split)


class Shapes:
    """Example i of a split depends only on (seed, split, i)."""

    classes = CLASSES

    def __init__(self, image_size: tuple[int, int], count: int, seed: int, split: str) -> None:
        if min(image_size) < 16:
            raise UserError(f"dataset.image_size {image_size}: expected at least 16 by 16 pixels")
        self._size, self._count = image_size, count
        self._seed, self._split = seed, split

    def __len__(self) -> int:
        return self._count

    def size(self, index: int, /) -> tuple[int, int]:
        return self._size

    def __getitem__(self, index: int, /) -> Example:
        if not 0 <= index < self._count:
            raise IndexError(f"example {index} of {self._count}")
        rng = np.random.default_rng((self._seed, SPLITS.index(self._split), index))
        image, label = draw_scene(rng, self._size)
        return {"image": image, "label": label, "name": f"{self._split}_{index:05d}"}


def draw_scene(
    rng: np.random.Generator, size: tuple[int, int]
) -> tuple[UInt8[np.ndarray, "h w 3"], Int32[np.ndarray, "h w"]]:
    """Two to four shapes, later ones in front, each with a rim of void 2 pixels wide."""
    image = _texture(rng, "background", size)
    label = np.zeros(size, np.int32)
    for _ in range(rng.integers(2, 5)):
        kind = int(rng.integers(1, len(CLASSES)))
        name = CLASSES.names[kind]
        cover = _cover(rng, name, size)
        shadow = cv2.blur(np.pad(cover, ((2, 0), (2, 0)))[:-2, :-2], (5, 5))  # down and right
        image = image * (1 - 0.35 * shadow[..., None])
        image += cover[..., None] * (_texture(rng, name, size) - image)
        # the pixels on either side of an edge are void: their colour is a mixture
        inside = (cover > 0.5).astype(np.uint8)
        label[inside > 0] = kind
        label[cv2.morphologyEx(inside, cv2.MORPH_GRADIENT, CROSS) > 0] = CLASSES.void
    light = 1 + 0.2 * _smooth_noise(rng, size, cells=2)
    grain = rng.normal(0, 0.02, size).astype(np.float32)
    image = image * light[..., None] + grain[..., None]
    return np.round(255 * np.clip(image, 0, 1)).astype(np.uint8), label


def _cover(
    rng: np.random.Generator, name: str, size: tuple[int, int]
) -> Float32[np.ndarray, "h w"]:
    """The share of each pixel that one shape of random position, size and rotation covers."""
    corners, radii = OUTLINES[name]
    angles = rng.uniform(0, 2 * np.pi) + np.arange(corners) * (2 * np.pi / corners)
    radius = rng.uniform(0.16, 0.28) * min(size) * np.resize(radii, corners)
    centre = rng.uniform(0.1, 0.9, 2) * (size[1], size[0])
    points = centre + radius[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    cover = np.zeros(size, np.uint8)
    # coordinates in sixteenths of a pixel, edges smoothed
    cv2.fillPoly(cover, [np.round(points * 16).astype(np.int32)], 255, cv2.LINE_AA, shift=4)
    return cover.astype(np.float32) / 255


def _texture(
    rng: np.random.Generator, name: str, size: tuple[int, int]
) -> Float32[np.ndarray, "h w 3"]:
    """Two colours mixed in the class's pattern: clouds, dots, checks, stripes or speckles."""
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
    angle, period = rng.uniform(0, np.pi), rng.uniform(5, 7)
    u = (np.cos(angle) * x + np.sin(angle) * y) * (2 * np.pi / period)
    v = (np.cos(angle) * y - np.sin(angle) * x) * (2 * np.pi / period)
    if name == "circle":
        wave = np.cos(u) + np.cos(v) - 0.7
    elif name == "square":
        wave = 2 * np.cos(u / 2) * np.cos(v / 2)
    elif name == "triangle":
        wave = 1.5 * np.cos(1.4 * u)
    elif name == "star":
        wave = 1.5 * cv2.blur(rng.normal(0, 1, size).astype(np.float32), (2, 2))
    else:
        wave = 1.5 * _smooth_noise(rng, size, cells=6)
    mix = 1 / (1 + np.exp(-3 * wave))[..., None]
    dark, bright = _colours(rng, name)
    return (dark + mix * (bright - dark)).astype(np.float32)


def _colours(
    rng: np.random.Generator, name: str
) -> tuple[Float32[np.ndarray, " 3"], Float32[np.ndarray, " 3"]]:
    """Two RGB colours of near hues: any for the background, for shapes about their class's own."""
    if name == "background":
        hue, strength = rng.uniform(0, 360), rng.uniform(0.15, 0.45, 2)
    else:
        hue, strength = rng.normal(HUES[name], 30), rng.uniform(0.4, 0.8, 2)
    hue += np.array([0, rng.uniform(-20, 20)])
    value = np.array([rng.uniform(0.3, 0.5), rng.uniform(0.75, 1.0)])
    hsv = np.stack([hue % 360, strength, value], axis=-1).astype(np.float32)
    dark, bright = cv2.cvtColor(hsv[None], cv2.COLOR_HSV2RGB)[0]
    return dark, bright


def _smooth_noise(
    rng: np.random.Generator, size: tuple[int, int], cells: int
) -> Float32[np.ndarray, "h w"]:
    coarse = rng.uniform(-1, 1, (cells + 1, cells + 1)).astype(np.float32)
    return cv2.resize(coarse, (size[1], size[0]), interpolation=cv2.INTER_CUBIC)
