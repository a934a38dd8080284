"""Oxford-IIIT Pet: trimaps of cats and dogs."""

from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Int32

from jaxseg.data.builder import SegmentationBuilder
from jaxseg.data.finding import keep_there, listed, need_folder
from jaxseg.data.layout import Layout, Pair
from jaxseg.data.mask_files import read_mask
from jaxseg.data.palettes import OKABE_ITO
from jaxseg.data.relabelling import relabel
from jaxseg.data.source import Classes
from jaxseg.errors import UserError


class OxfordPets(SegmentationBuilder):
    """The trimaps of Parkhi et al., "Cats and dogs" (CVPR 2012): 3,680 images to train, 3,669 test.

    https://www.robots.ox.ac.uk/~vgg/data/pets/; CC BY-SA 4.0. Source: images.tar.gz and
    annotations.tar.gz, or a folder with images and annotations. The lists are trainval.txt (split
    train) and test.txt. A trimap holds 1 for the pet, 2 for the background and 3 for "not
    classified", its border: classes 0, 1 and 2 here, as tutorials have them.
    """

    OFFICIAL: ClassVar = {"train": 3680, "test": 3669}
    CLASSES = Classes(("pet", "background", "border"), (OKABE_ITO[5], OKABE_ITO[6], OKABE_ITO[1]))

    @classmethod
    def find_pairs(cls, source: Path) -> Layout:
        fix = "give images.tar.gz and annotations.tar.gz, or what they hold"
        images = need_folder(source, "images", ".jpg", fix)
        trimaps = need_folder(source, "annotations/trimaps", ".png", fix)
        layout = Layout()
        for split, name in (("train", "trainval.txt"), ("test", "test.txt")):
            path = trimaps.parent / name
            if not path.is_file():
                raise UserError(f"{path}: no such list; {fix}")
            pairs = (Pair(s, images / f"{s}.jpg", trimaps / f"{s}.png") for s in listed(path))
            layout.pairs[split] = keep_there(pairs, split, layout)
        return layout

    def label(self, data: bytes, name: str) -> Int32[np.ndarray, "h w"]:
        values = read_mask(data, name)
        return relabel(values, {1: 0, 2: 1, 3: 2}, name, "1, 2 or 3; take the trimaps as they are")


Builder = OxfordPets
