"""Nuclei of the Data Science Bowl 2018 as Kaggle has them: one mask for each nucleus."""

from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Int32

from jaxseg.data.builder import SegmentationBuilder
from jaxseg.data.faults import Fault
from jaxseg.data.finding import by_name
from jaxseg.data.layout import Layout, Pair
from jaxseg.data.mask_files import read_mask
from jaxseg.data.palettes import default_palette
from jaxseg.data.source import Classes, LabelError
from jaxseg.errors import UserError


class Dsb2018(SegmentationBuilder):
    """stage1_train of the Data Science Bowl 2018 (Caicedo et al., Nature Methods 2019): 670 images.

    https://bbbc.broadinstitute.org/BBBC038; CC0. Source: stage1_train.zip or its folder, with
    ID/images/ID.png and ID/masks/*.png for each image; folders without masks, as in stage1_test,
    are left out. All masks of an image together are class 1. There is one split, train: take slices
    of it. `nuclei` is a corrected form, of one mask for each image.
    """

    OFFICIAL: ClassVar = {"train": 670}
    NAMES = ("background", "nucleus")
    CLASSES = Classes(NAMES, default_palette(NAMES))

    @classmethod
    def find_pairs(cls, source: Path) -> Layout:
        layout, pairs = Layout(), []
        for folder in sorted(path for path in source.rglob("masks") if path.is_dir()):
            masks = tuple(by_name(folder, ".png").values())
            name = folder.parent.name
            image = folder.parent / "images" / f"{name}.png"
            if image.is_file() and masks:
                pairs.append(Pair(name, image, masks[0], masks[1:]))
            else:
                missing = image if masks else folder / "*.png"
                layout.faults.append(Fault("unpaired", f"{missing}: no such file; add it"))
        if not pairs and not layout.faults:
            raise UserError(
                f"{source}: found no folder ID with images/ and masks/ in it; give "
                "stage1_train.zip or what it holds"
            )
        layout.pairs["train"] = pairs
        return layout

    def read_label(self, pair: Pair) -> Int32[np.ndarray, "h w"]:
        label = np.zeros(read_mask(pair.mask, str(pair.mask)).shape, np.int32)
        for path in (pair.mask, *pair.parts):
            mask = read_mask(path, str(path))
            if mask.shape != label.shape:
                raise LabelError(
                    f"{path}: shape {mask.shape}, other masks of the image have {label.shape}; "
                    "make all one size"
                )
            label[mask > 0] = 1
        return label


Builder = Dsb2018
