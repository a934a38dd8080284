"""COCO's panoptic annotations as semantic labels: 80 things and 53 kinds of stuff."""

from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Int32

from jaxseg.data import coco
from jaxseg.data.builder import SegmentationBuilder
from jaxseg.data.finding import by_name, find_folder, keep_there
from jaxseg.data.layout import Layout, Pair
from jaxseg.data.mask_files import mask_pixels
from jaxseg.data.palettes import default_palette
from jaxseg.data.source import Classes, LabelError
from jaxseg.errors import UserError

# of stuff that was not merged with other stuff
STUFF = (
    *(92, 93, 95, 100, 107, 109, 112, 118, 119, 122, 125, 128, 130, 133, 138, 141, 144, 145, 147),
    *(148, 149, 151, 154, 155, 156, 159, 161, 166, 168, 171, 175, 176, 177, 178, 180, 181),
)
CATEGORIES = {
    **{i: name for i, name in coco.CATEGORIES.items() if i < 92 or i in STUFF},
    **coco.MERGED,
}


class CocoPanoptic(SegmentationBuilder):
    """COCO panoptic 2017 (Kirillov et al., CVPR 2019): 118,287 images to train, 5,000 to validate.

    https://cocodataset.org; annotations CC BY 4.0, images under Flickr's terms. Source:
    train2017.zip, val2017.zip and panoptic_annotations_trainval2017.zip, or a folder that holds
    them unpacked.

    A mask's colour is a segment's number, red + 256 green + 65536 blue, and the JSON file says the
    category of each segment; number 0 is unlabelled, void here. Class i is the i-th of the 133
    categories in the order of their ids. Crowds are pixels of their category.
    """

    OFFICIAL: ClassVar = coco.OFFICIAL
    NAMES = tuple(CATEGORIES.values())
    CLASSES = Classes(NAMES, default_palette(NAMES))

    @classmethod
    def find_pairs(cls, source: Path) -> Layout:
        layout = Layout()
        for split in cls.OFFICIAL:
            images = find_folder(source, f"{split}2017", ".jpg")
            masks = find_folder(source, f"panoptic_{split}2017", ".png")
            tables = sorted(source.rglob(f"panoptic_{split}2017.json"))
            if images is None or masks is None or not tables:
                layout.notes.append(
                    f"{split}: {split}2017/, panoptic_{split}2017/ and panoptic_{split}2017.json "
                    "are not all there, left out"
                )
                continue
            stems = {Path(name).stem for name in coco.read_annotations(tables[0]).sizes}
            known = by_name(images, ".jpg")
            pairs = [
                Pair(s, known.get(s, images / f"{s}.jpg"), masks / f"{s}.png", (tables[0],))
                for s in sorted(stems)
            ]
            layout.pairs[split] = keep_there(pairs, split, layout)
        if not layout.pairs:
            raise UserError(f"{source}: no split to prepare; {coco.FIX}")
        return layout

    def read_label(self, pair: Pair) -> Int32[np.ndarray, "h w"]:
        name = str(pair.mask)
        pixels = mask_pixels(pair.mask.read_bytes(), name)
        if pixels.ndim != 3:
            raise LabelError(f"{name}: grey mask, expected the colours of the panoptic annotations")
        red, green, blue = np.moveaxis(pixels.astype(np.int64), -1, 0)
        numbers = red + 256 * green + 65536 * blue
        objects = coco.read_annotations(pair.parts[0]).objects
        segments = objects.get(f"{pair.name}.jpg") or objects.get(f"{pair.name}.png") or []
        infos = segments[0]["segments_info"] if segments else []
        return semantic(numbers, {s["id"]: s["category_id"] for s in infos}, name)


def semantic(
    numbers: np.ndarray, categories: dict[int, int], name: str
) -> Int32[np.ndarray, "h w"]:
    """The class of every pixel.

    Args:
      numbers: of segments, [h, w].
      categories: COCO's category id of each segment.
      name: what an error calls the mask.

    Raises:
      LabelError: a segment that is not in `categories`, or a category that is none of the 133.
    """
    index = {number: i for i, number in enumerate(CATEGORIES)}
    unique, inverse = np.unique(numbers, return_inverse=True)
    classes = np.full(len(unique), CocoPanoptic.CLASSES.void, np.int32)
    for i, number in enumerate(unique.tolist()):
        if number and categories.get(number) not in index:
            raise LabelError(
                f"{name}: segment {number} of category {categories.get(number)}, expected one of "
                "the JSON file and of the 133 categories; take both from one download"
            )
        classes[i] = index[categories[number]] if number else classes[i]
    return classes[inverse].reshape(numbers.shape)


Builder = CocoPanoptic
