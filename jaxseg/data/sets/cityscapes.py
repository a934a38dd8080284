"""Cityscapes, 19 classes of streets at 2048x1024."""

from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Int32

from jaxseg.data.builder import SegmentationBuilder
from jaxseg.data.finding import pair_folders
from jaxseg.data.layout import Layout
from jaxseg.data.mask_files import read_mask
from jaxseg.data.relabelling import relabel
from jaxseg.data.source import Classes

# name, the id in *_gtFine_labelIds.png and the colour of each class that is evaluated, in the order
# of its train id; all other ids are void (cityscapesScripts, helpers/labels.py)
LABELS = (
    ("road", 7, (128, 64, 128)),
    ("sidewalk", 8, (244, 35, 232)),
    ("building", 11, (70, 70, 70)),
    ("wall", 12, (102, 102, 156)),
    ("fence", 13, (190, 153, 153)),
    ("pole", 17, (153, 153, 153)),
    ("traffic light", 19, (250, 170, 30)),
    ("traffic sign", 20, (220, 220, 0)),
    ("vegetation", 21, (107, 142, 35)),
    ("terrain", 22, (152, 251, 152)),
    ("sky", 23, (70, 130, 180)),
    ("person", 24, (220, 20, 60)),
    ("rider", 25, (255, 0, 0)),
    ("car", 26, (0, 0, 142)),
    ("truck", 27, (0, 0, 70)),
    ("bus", 28, (0, 60, 100)),
    ("train", 31, (0, 80, 100)),
    ("motorcycle", 32, (0, 0, 230)),
    ("bicycle", 33, (119, 11, 32)),
)
VOID = 255
# ids 0..33 are in use
TRAIN_IDS = dict.fromkeys(range(34), VOID) | {each[1]: i for i, each in enumerate(LABELS)}


class Cityscapes(SegmentationBuilder):
    """Fine annotations of Cityscapes (Cordts et al., CVPR 2016): 2,975 images to train, 500 val.

    https://www.cityscapes-dataset.com; its own licence, non-commercial research after registration.
    Source: leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip, or a folder with leftImg8bit
    and gtFine. The masks are *_gtFine_labelIds.png. The test split has no public labels.
    """

    OFFICIAL: ClassVar = {"train": 2975, "val": 500}
    CLASSES = Classes(
        names=tuple(name for name, _, _ in LABELS),
        palette=tuple(colour for _, _, colour in LABELS),
        void=VOID,
    )

    @classmethod
    def find_pairs(cls, source: Path) -> Layout:
        folders = {split: (f"leftImg8bit/{split}", f"gtFine/{split}") for split in cls.OFFICIAL}
        endings = "_leftImg8bit.png", "_gtFine_labelIds.png"
        fix = "give leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip, or what they hold"
        return pair_folders(source, folders, endings, fix)

    def label(self, data: bytes, name: str) -> Int32[np.ndarray, "h w"]:
        expected = "ids 0..33; take *_gtFine_labelIds.png as they are"
        return relabel(read_mask(data, name), TRAIN_IDS, name, expected)


Builder = Cityscapes
