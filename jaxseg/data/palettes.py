"""Colours for classes: those of PASCAL VOC, and bright ones for data sets without their own."""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float32

Colour = tuple[int, int, int]

BLACK: Colour = (0, 0, 0)
MOST = 1000  # colours of `default_palette` that are all different
# names that mark class 0 as background, beside those that contain "background";
# class_0 is what a folder without classes.json calls its class 0
BACKGROUND_NAMES = ("bg", "none", "nothing", "other", "unlabelled", "unlabeled", "class_0")

# Okabe and Ito, "Color Universal Design" (2002, 2008), without black: distinguishable with any
# colour vision. Blue first, which few photographs of nature, tissue or streets hold.
OKABE_ITO: tuple[Colour, ...] = (
    (86, 180, 233),  # sky blue
    (240, 228, 66),  # yellow
    (213, 94, 0),  # vermilion
    (0, 158, 115),  # bluish green
    (204, 121, 167),  # reddish purple
    (230, 159, 0),  # orange
    (0, 114, 178),  # blue
)

# What protanopes and deuteranopes see of linear RGB: Machado, Oliveira, Fernandes, "A
# physiologically-based model for simulation of color vision deficiency" (2009), severity 1
PROTANOPIA = (
    (0.152286, 1.052583, -0.204868),
    (0.114503, 0.786281, 0.099216),
    (-0.003882, -0.048116, 1.051998),
)
DEUTERANOPIA = (
    (0.367322, 0.860646, -0.227968),
    (0.280085, 0.672501, 0.047413),
    (-0.011820, 0.042940, 0.968881),
)


def default_palette(names: Sequence[str]) -> tuple[Colour, ...]:
    """Colours for classes of these names: bright, and distinguishable with any colour vision.

    Class 0 is black, and so a background to `Classes`, if its name says background. The others
    take `distinct_colours` in turn, from the first again beyond MOST.
    """
    black = (BLACK,) * any(_says_background(name) for name in names[:1])
    count = len(names) - len(black)
    colours = distinct_colours(min(count, MOST))
    return (*black, *(colours[i % MOST] for i in range(count)))


def distinct_colours(count: int) -> tuple[Colour, ...]:
    """The colours of Okabe and Ito; after them each the farthest from all before it.

    This is the method of Glasbey et al., "Colour displays for categorical images" (2007): distances
    are those of CIELAB, here the smallest with normal vision, protanopia and deuteranopia.
    Candidates are neither dark nor white nor grey, and would show on photographs.
    """
    chosen = list(OKABE_ITO[:count])
    if count <= len(chosen):
        return tuple(chosen)
    levels = np.arange(0, 256, 17)
    candidates = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(-1, 3)
    lightness, a, b = _as_seen(candidates)[0].T
    candidates = candidates[(lightness > 40) & (lightness < 92) & (np.hypot(a, b) > 20)]
    seen = _as_seen(candidates)
    nearest = np.full(len(candidates), np.inf, np.float32)
    for colour in _as_seen(np.array(chosen)).swapaxes(0, 1):
        nearest = np.minimum(nearest, _distance(seen, colour))
    while len(chosen) < count:
        farthest = int(nearest.argmax())
        red, green, blue = candidates[farthest].tolist()
        chosen.append((red, green, blue))
        nearest = np.minimum(nearest, _distance(seen, seen[:, farthest]))
    return tuple(chosen)


def _says_background(name: str) -> bool:
    lower = name.strip().lower()
    return "background" in lower or lower in BACKGROUND_NAMES


def _distance(
    seen: Float32[np.ndarray, "vision n 3"], colour: Float32[np.ndarray, "vision 3"]
) -> Float32[np.ndarray, " n"]:
    """From each colour to this one, by the vision that tells them apart least."""
    return np.sqrt(((seen - colour[:, None]) ** 2).sum(-1)).min(0)


def _as_seen(colours: np.ndarray) -> Float32[np.ndarray, "vision n 3"]:
    """CIELAB of RGB [n, 3] in 0..255, with normal vision, protanopia and deuteranopia."""
    encoded = colours / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    visions = np.stack([np.eye(3), PROTANOPIA, DEUTERANOPIA])
    seen = np.clip(np.einsum("vij,nj->vni", visions, linear), 0, 1).astype(np.float32)
    return cv2.cvtColor(seen, cv2.COLOR_LRGB2LAB)


def voc_palette(count: int) -> tuple[Colour, ...]:
    """The colour map of PASCAL VOC's development kit: the index bits distributed over RGB."""
    bits = np.arange(count)[:, None] >> np.arange(24) & 1  # [count, 24], lowest bit first
    # bit 3j + channel of the index becomes bit 7 - j of that channel
    colours = (bits.reshape(count, 8, 3) << (7 - np.arange(8))[:, None]).sum(1)
    return tuple((int(r), int(g), int(b)) for r, g, b in colours)
