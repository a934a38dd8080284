"""The ISBI 2012 challenge: neuron membranes in electron microscopy, the data of U-Net."""

from typing import ClassVar

import numpy as np
from jaxtyping import Int32

from jaxseg.data.builder import SegmentationBuilder
from jaxseg.data.mask_files import read_mask
from jaxseg.data.palettes import default_palette
from jaxseg.data.source import Classes, LabelError


class IsbiEm(SegmentationBuilder):
    """30 labelled 512x512 slices of Drosophila nerve cord (Arganda-Carreras et al., 2015).

    Masks hold 0 on membranes and 255 inside cells. The test slices have no public labels.
    """

    OFFICIAL: ClassVar = {"train": 30}
    NAMES = ("membrane", "cell")
    CLASSES = Classes(NAMES, default_palette(NAMES))

    def label(self, data: bytes, name: str) -> Int32[np.ndarray, "h w"]:
        mask = read_mask(data, name)
        unexpected = np.setdiff1d(mask, (0, 255))
        if unexpected.size:
            raise LabelError(
                f"{name}: mask value {unexpected[0]}, expected 0 (membrane) or 255 (cell); "
                "take the challenge's own masks, unscaled"
            )
        return (mask == 255).astype(np.int32)


Builder = IsbiEm
