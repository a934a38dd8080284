"""COCO-Stuff: 171 classes, all 164,000 images of COCO 2017."""

from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Int32

from jaxseg.data import coco
from jaxseg.data.builder import SegmentationBuilder
from jaxseg.data.finding import pair_folders
from jaxseg.data.layout import Layout
from jaxseg.data.mask_files import read_mask
from jaxseg.data.palettes import default_palette
from jaxseg.data.relabelling import relabel
from jaxseg.data.source import Classes


class CocoStuff(SegmentationBuilder):
    """COCO-Stuff (Caesar et al., CVPR 2018): 118,287 images to train, 5,000 to validate.

    https://github.com/nightrome/cocostuff; annotations CC BY 4.0, images under Flickr's terms.
    Source: train2017.zip, val2017.zip and stuffthingmaps_trainval2017.zip, or a folder that holds
    them unpacked, images and maps in different folders train2017 and val2017.

    The maps hold COCO's category id less one (0 to 181) and 255 for unlabelled, void here. Of the
    182 ids 11 are of things that nobody annotated (`coco.UNUSED`): class i is the i-th of the 171
    others in the order of their ids, as mmsegmentation has them. COCO publishes no colours.
    """

    OFFICIAL: ClassVar = coco.OFFICIAL
    NAMES = tuple(coco.CATEGORIES.values())
    CLASSES = Classes(NAMES, default_palette(NAMES))
    LABELS: ClassVar = {number - 1: i for i, number in enumerate(coco.CATEGORIES)} | {255: 255}

    @classmethod
    def find_pairs(cls, source: Path) -> Layout:
        folders = {split: (f"{split}2017", f"{split}2017") for split in cls.OFFICIAL}
        return pair_folders(source, folders, (".jpg", ".png"), coco.FIX)

    def label(self, data: bytes, name: str) -> Int32[np.ndarray, "h w"]:
        expected = "ids 0..181 of annotated things and stuff, or 255; take the stuffthingmaps"
        return relabel(read_mask(data, name), self.LABELS, name, expected)


Builder = CocoStuff
