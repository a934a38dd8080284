"""The default colours can be told apart, by colour-blind readers too."""

import cv2
import numpy as np
import pytest

from jaxseg.data.palettes import default_palette, voc_palette
from jaxseg.data.source import Classes

NORMAL = np.eye(3)
# Vienot, Brettel, Mollon, "Digital video colourmaps for checking the legibility of displays by
# dichromats" (1999), for linear RGB: another model than the one that the colours were chosen with
PROTANOPIA = np.array([[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]])
DEUTERANOPIA = np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]])


def lab(colours, vision=NORMAL):
    encoded = np.array(colours, np.float32).reshape(-1, 3) / 255
    linear = np.where(encoded > 0.04045, ((encoded + 0.055) / 1.055) ** 2.4, encoded / 12.92)
    seen = np.clip(linear @ vision.T, 0, 1)
    again = np.where(seen > 0.0031308, 1.055 * seen ** (1 / 2.4) - 0.055, 12.92 * seen)
    return cv2.cvtColor(again.astype(np.float32)[None], cv2.COLOR_RGB2LAB)[0]


def nearest(colours, vision=NORMAL):
    """The smallest distance between two of the colours, in CIELAB: about 2 is just noticeable."""
    seen = lab(colours, vision)
    distance = np.linalg.norm(seen[:, None] - seen, axis=-1)
    return distance[~np.eye(len(seen), dtype=bool)].min()


def things(count):
    return tuple(f"thing {i}" for i in range(count))


@pytest.mark.parametrize("vision", [NORMAL, PROTANOPIA, DEUTERANOPIA])
def test_default_colours_can_be_told_apart_with_any_vision(vision):
    assert nearest(default_palette(things(12)), vision) > 15
    assert nearest(default_palette(things(20)), vision) > 12


def test_default_colours_begin_with_okabe_and_ito():
    published = ["56b4e9", "f0e442", "d55e00", "009e73", "cc79a7", "e69f00", "0072b2"]
    assert [bytes(c).hex() for c in default_palette(things(7))] == published


def test_there_are_1000_default_colours_and_none_is_black_white_or_grey():
    palette = default_palette(things(1000))
    assert len(set(palette)) == 1000
    lightness, a, b = lab(palette).T
    assert lightness.min() > 35
    assert lightness.max() < 95
    assert np.hypot(a, b).min() > 15
    assert default_palette(things(2345))[2000:] == palette[:345]


@pytest.mark.parametrize("count", [1, 3, 8, 30])
def test_a_class_more_leaves_the_colours_of_the_others(count):
    assert default_palette(things(31))[:count] == default_palette(things(count))


@pytest.mark.parametrize(
    ("name", "is_background"),
    [
        ("background", True), ("Background", True), ("_background_", True), ("BG", True),
        ("none", True), ("class_0", True), ("unlabeled", True), (" other ", True),
        ("ground", False), ("Sky", False), ("class_1", False), ("bgr", False), ("membrane", False),
    ],
)  # fmt: skip
def test_class_0_is_black_if_its_name_says_background(name, is_background):
    classes = Classes((name, "x", "other"), default_palette((name, "x", "other")))
    assert classes.background == (0 if is_background else None)
    first = things(3) if not is_background else ("background", *things(2))
    assert classes.palette == default_palette(first)


def test_voc_palette_is_vocs():
    # the first colours of VOC's own table, and its last class
    assert voc_palette(21)[:6] == (
        (0, 0, 0),
        (128, 0, 0),
        (0, 128, 0),
        (128, 128, 0),
        (0, 0, 128),
        (128, 0, 128),
    )
    assert voc_palette(21)[20] == (0, 64, 128)
