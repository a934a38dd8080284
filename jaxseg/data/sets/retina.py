"""Vessels in photographs of the retina: DRIVE, STARE, CHASE_DB1 and HRF."""

import dataclasses
import gzip
import re
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Int32

from jaxseg.data.builder import SegmentationBuilder
from jaxseg.data.faults import Fault
from jaxseg.data.layout import Layout, Pair
from jaxseg.data.mask_files import read_mask
from jaxseg.data.palettes import default_palette
from jaxseg.data.source import Classes
from jaxseg.errors import UserError

MOST_BYTES = 2**26  # of a file that was compressed: STARE's have 1.3 million


@dataclasses.dataclass(frozen=True)
class Part:
    """A data set: whole file names of images and of the first observer's masks, by their group 1.

    `train` matches the names of the images of the first split; others are in `test`.
    """

    name: str
    images: str
    masks: str
    train: str


PARTS = (
    Part("drive", r"(\d\d)_(?:training|test)\.tif", r"(\d\d)_manual1\.gif", r"2[1-9]|3\d|40"),
    Part("stare", r"(im\d{4})\.ppm(?:\.gz)?", r"(im\d{4})\.ah\.ppm(?:\.gz)?", ""),
    Part("chase_db1", r"(Image_\d\d[LR])\.jpg", r"(Image_\d\d[LR])_1stHO\.png", r".*_(0\d|10)[LR]"),
    Part("hrf", r"(\d\d_(?:h|g|dr))\.jpg", r"(\d\d_(?:h|g|dr))\.tif", r"0[1-5]_.*"),
)


class Retina(SegmentationBuilder):
    """Four data sets of retinal vessels; a source holds one or several of them.

    DRIVE (Staal et al., 2004; https://drive.grand-challenge.org): splits drive_train, drive_test
    of 20 images each, whose masks may not be there. Source: DRIVE's training.zip and test.zip.
    STARE (Hoover et al., 2000; https://cecas.clemson.edu/~ahoover/stare/): 20 images with the masks
    of "ah", stare-images.tar and labels-ah.tar, in stare_train and stare_test of 10 each.
    CHASE_DB1 (Fraz et al., 2012; https://blogs.kingston.ac.uk/retinal/chasedb1/): 28 images,
    CHASEDB1.zip, the first 10 people's 20 in chase_db1_train and 8 in chase_db1_test.
    HRF (Budai et al., 2013; https://www5.cs.fau.de/research/data/fundus-images/): 45 images,
    images/ and manual1/, the first 5 of each group of patients in hrf_train, 30 in hrf_test.

    The divisions of STARE, CHASE_DB1 and HRF are in use (mmsegmentation has them), not published
    with the data. Licences differ: research, see each page. A mask's values from 128 on are
    vessels, or 1 where it holds no more. What is outside the round field of view is background.
    """

    OFFICIAL_SIZES: ClassVar = {
        **{"drive_train": 20, "drive_test": 20, "stare_train": 10, "stare_test": 10},
        **{"chase_db1_train": 20, "chase_db1_test": 8, "hrf_train": 15, "hrf_test": 30},
    }
    NAMES = ("background", "vessel")
    CLASSES = Classes(NAMES, default_palette(NAMES))

    @classmethod
    def find_pairs(cls, source: Path) -> Layout:
        if not source.is_dir():
            raise UserError(f"{source}: no such folder")
        files = sorted(path for path in source.rglob("*") if path.is_file())
        layout = Layout()
        for part in PARTS:
            _add(part, files, layout)
        for split, listed in layout.pairs.items():
            if len(listed) != (count := cls.OFFICIAL_SIZES[split]):
                layout.notes.append(f"{split}: {len(listed)} images, {count} as published")
        if not layout.pairs and not layout.faults:
            raise UserError(
                f"{source}: found no images with masks of DRIVE, STARE, CHASE_DB1 or HRF, named as "
                "they are published; give their archives, or what they hold"
            )
        return layout

    def image(self, pair: Pair) -> bytes:
        return _content(pair.image)

    def read_label(self, pair: Pair) -> Int32[np.ndarray, "h w"]:
        values = read_mask(_content(pair.mask), str(pair.mask))
        return (values >= (128 if values.max(initial=0) > 1 else 1)).astype(np.int32)


def _add(part: Part, files: list[Path], layout: Layout) -> None:
    images, masks = (
        {m[1]: path for path in files if (m := re.fullmatch(pattern, path.name, re.IGNORECASE))}
        for pattern in (part.images, part.masks)
    )
    pairs: dict[str, list[Pair]] = {f"{part.name}_train": [], f"{part.name}_test": []}
    unlabelled: dict[str, list[Path]] = {split: [] for split in pairs}
    first_half = sorted(images)[: len(images) // 2]
    for name, image in sorted(images.items()):
        is_train = re.fullmatch(part.train, name) if part.train else name in first_half
        split = f"{part.name}_{'train' if is_train else 'test'}"
        if name in masks:
            pairs[split].append(Pair(f"{part.name}_{name}", image, masks[name]))
        else:
            unlabelled[split].append(image)
    for split, listed in pairs.items():
        if listed:
            layout.pairs[split] = listed
        elif unlabelled[split]:
            layout.notes.append(f"{split}: {len(unlabelled[split])} images without masks, left out")
        for image in unlabelled[split] if listed else ():
            text = f"{image}: no mask of split {split}; add it or remove this one"
            layout.faults.append(Fault("unpaired", text))


def _content(path: Path) -> bytes:
    if path.suffix != ".gz":
        return path.read_bytes()
    with gzip.open(path) as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise UserError(f"{path}: more than {MOST_BYTES} bytes unpacked; take the official file")
    return content


Builder = Retina
