"""Two augmented examples in one: a rectangle of the other (CutMix), or its classes (copy-paste).

Every pixel of the result has the colour and the label of one of the two, void included.
"""

import math

import numpy as np
from jaxtyping import Bool, Int32, UInt

from jaxseg.data.mask_files import present
from jaxseg.data.transforms.drawing import Draw


def mix(
    pair: tuple[UInt[np.ndarray, "h w c"], Int32[np.ndarray, "h w"]],
    partner: tuple[UInt[np.ndarray, "h w c"], Int32[np.ndarray, "h w"]],
    drawn: Draw,
    void: int,
) -> tuple[UInt[np.ndarray, "h w c"], Int32[np.ndarray, "h w"]]:
    """The image and label of `pair` with parts of `partner`, both of one size.

    Where both kinds are drawn, the rectangle comes last.
    """
    taken = np.zeros(pair[1].shape, bool)
    if drawn.copy_paste is not None:
        taken |= _classes(partner[1], drawn.copy_paste, void)
    if drawn.cutmix is not None:
        taken[_rectangle(taken.shape, drawn.cutmix)] = True
    return np.where(taken[..., None], partner[0], pair[0]), np.where(taken, partner[1], pair[1])


def _rectangle(size: tuple[int, ...], drawn: tuple[float, float, float]) -> tuple[slice, ...]:
    """CutMix's box (Yun et al. 2019, section 3.1), for segmentation as French et al. (2020) use it.

    It has the crop's aspect ratio, a uniform share of its area and a uniform centre; what is beyond
    the crop is cut off.
    """
    area, *centre = drawn
    side = math.sqrt(area)
    return tuple(
        slice(max(0, round(length * (middle - side / 2))), round(length * (middle + side / 2)))
        for length, middle in zip(size, centre, strict=True)
    )


def _classes(label: Int32[np.ndarray, "h w"], seed: int, void: int) -> Bool[np.ndarray, "h w"]:
    """The pixels of half of the classes, rounded up; never void.

    Copy-paste (Ghiasi et al. 2021) pastes a random subset of objects. Labels of classes have none:
    half of the classes are taken, a background too, as in ClassMix (Olsson et al. 2021).
    """
    classes = [index for index in present(label) if index != void]
    chosen = np.random.default_rng(seed).permutation(classes)[: (len(classes) + 1) // 2]
    return np.isin(label, chosen)
