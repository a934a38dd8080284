"""Cell nuclei of the Data Science Bowl 2018."""

import numpy as np
from jaxtyping import Int32

from jaxseg.data.builder import SegmentationBuilder
from jaxseg.data.mask_files import read_mask
from jaxseg.data.palettes import default_palette
from jaxseg.data.source import Classes


class Nuclei(SegmentationBuilder):
    """Fluorescence images of cell nuclei (BBBC038; Caicedo et al., Nature Methods 2019).

    Masks number the nuclei 1..N of an image; all of them are class 1 here. There is one split,
    train: take slices of it, such as train[:80%] and train[80%:].
    """

    NAMES = ("background", "nucleus")
    CLASSES = Classes(NAMES, default_palette(NAMES))

    def label(self, data: bytes, name: str) -> Int32[np.ndarray, "h w"]:
        return (read_mask(data, name) > 0).astype(np.int32)


Builder = Nuclei
