"""COCO's instances as labels of VOC's 20 classes: what torchvision trains its models on."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Int32

from jaxseg.data import coco
from jaxseg.data.builder import SegmentationBuilder
from jaxseg.data.finding import find_folder, keep_there
from jaxseg.data.layout import Layout, Pair
from jaxseg.data.sets.voc import Voc
from jaxseg.errors import UserError

# COCO's category id of each class of VOC, from aeroplane on
CATEGORY_IDS = (5, 2, 16, 9, 44, 6, 3, 17, 62, 21, 67, 18, 19, 4, 1, 64, 20, 63, 7, 72)
LEAST_AREA = 1000  # pixels of the 20 classes that an image to train on has more than


class CocoVoc(SegmentationBuilder):
    """COCO 2017 (Lin et al., ECCV 2014) as torchvision prepares it for its segmentation models.

    https://cocodataset.org; annotations CC BY 4.0, images under Flickr's terms. Source:
    train2017.zip, val2017.zip and annotations_trainval2017.zip, or a folder that holds them
    unpacked.

    By the rules of torchvision's references/segmentation/coco_utils.py: objects of other classes
    than VOC's are background; crowds are painted as their class; pixels of more than one object are
    void; and from the training split images are left out whose objects of the 20 classes have an
    area of 1,000 pixels or less in all, as the annotations give it, so those without any, too. The
    validation split keeps all 5,000. Outlines are filled by `polygons.filled`.
    """

    OFFICIAL: ClassVar = {"val": coco.OFFICIAL["val"]}
    CLASSES = Voc.CLASSES

    @classmethod
    def find_pairs(cls, source: Path) -> Layout:
        layout = Layout()
        for split in coco.OFFICIAL:
            images = find_folder(source, f"{split}2017", ".jpg")
            tables = sorted(source.rglob(f"instances_{split}2017.json"))
            if images is None or not tables:
                layout.notes.append(
                    f"{split}: {split}2017/ and instances_{split}2017.json are not both there, "
                    "left out"
                )
                continue
            table = coco.read_annotations(tables[0])
            names = sorted(n for n in table.sizes if split == "val" or _is_large(table.objects[n]))
            pairs = (Pair(Path(name).stem, images / name, tables[0]) for name in names)
            layout.pairs[split] = keep_there(pairs, split, layout)
            if few := len(table.sizes) - len(names):
                layout.notes.append(f"{split}: {few:,} images of small or no objects, left out")
        if not layout.pairs:
            raise UserError(f"{source}: no split to prepare; {coco.FIX}")
        return layout

    def read_label(self, pair: Pair) -> Int32[np.ndarray, "h w"]:
        table, name = coco.read_annotations(pair.mask), pair.image.name
        return painted(table.objects[name], table.sizes[name], f"{pair.mask}, {name}")


def painted(
    objects: Sequence[dict[str, Any]], size: tuple[int, int], name: str
) -> Int32[np.ndarray, "h w"]:
    """The objects of VOC's classes; void where two of them overlap."""
    label, covered = np.zeros(size, np.int32), np.zeros(size, np.int32)
    for each in objects:
        if each["category_id"] in CATEGORY_IDS:
            mask = coco.mask_of(each["segmentation"], size, name)
            covered += mask
            label[mask] = CATEGORY_IDS.index(each["category_id"]) + 1
    label[covered > 1] = CocoVoc.CLASSES.void
    return label


def _is_large(objects: Sequence[dict[str, Any]]) -> bool:
    return sum(o["area"] for o in objects if o["category_id"] in CATEGORY_IDS) > LEAST_AREA


Builder = CocoVoc
