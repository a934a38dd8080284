"""Cells of the Cell Tracking Challenge that U-Net was measured on: PhC-U373 and DIC-HeLa."""

from pathlib import Path

import numpy as np
from jaxtyping import Int32

from jaxseg.data.builder import SegmentationBuilder
from jaxseg.data.faults import Fault
from jaxseg.data.finding import by_name, find_folder
from jaxseg.data.layout import Layout, Pair
from jaxseg.data.mask_files import read_mask
from jaxseg.data.palettes import default_palette
from jaxseg.data.source import Classes
from jaxseg.errors import UserError

FOLDERS = {"phc_u373": "PhC-C2DH-U373", "dic_hela": "DIC-C2DH-HeLa"}
TRUTHS = {"": "GT", "_silver": "ST"}


class CellTracking(SegmentationBuilder):
    """Cell or background (Ulman et al., Nature Methods 2017); a source holds one set or both.

    https://celltrackingchallenge.net/2d-datasets/; research, see the conditions there. Source: the
    training archives PhC-C2DH-U373.zip and DIC-C2DH-HeLa.zip, or what they hold: 01/t000.tif and
    01_GT/SEG/man_seg000.tif. U-Net (Ronneberger et al. 2015, section 4) trained on 35 and 20
    "partially annotated" images of them.

    Each sequence is a split: phc_u373_01, phc_u373_02, dic_hela_01 and dic_hela_02, of the frames
    with a gold segmentation; frames without are left out. The challenge says that gold truth covers
    few cells of some sets: those it leaves out are background here. Splits with _silver at the end
    are the machine-made silver truth (01_ST), where that is there.
    """

    NAMES = ("background", "cell")
    CLASSES = Classes(NAMES, default_palette(NAMES))

    @classmethod
    def find_pairs(cls, source: Path) -> Layout:
        layout = Layout()
        for name, folder in FOLDERS.items():
            for sequence in ("01", "02"):
                images = find_folder(source, f"{folder}/{sequence}", ".tif")
                for ending, truth in TRUTHS.items():
                    masks = find_folder(source, f"{folder}/{sequence}_{truth}/SEG", ".tif")
                    if images is not None and masks is not None:
                        split = f"{name}_{sequence}{ending}"
                        layout.pairs[split] = _pairs(images, masks, split, layout)
        if not layout.pairs:
            raise UserError(
                f"{source}: found neither PhC-C2DH-U373 nor DIC-C2DH-HeLa with 01/t000.tif and "
                "01_GT/SEG/man_seg000.tif; give the training archives, or what they hold"
            )
        return layout

    def label(self, data: bytes, name: str) -> Int32[np.ndarray, "h w"]:
        return (read_mask(data, name) > 0).astype(np.int32)


def _pairs(images: Path, masks: Path, split: str, layout: Layout) -> list[Pair]:
    """Those of one frame: masks are of few frames."""
    frames = {name.removeprefix("t"): path for name, path in by_name(images, ".tif").items()}
    pairs = []
    for name, mask in by_name(masks, ".tif").items():
        number = name.removeprefix("man_seg")
        if number in frames:
            pairs.append(Pair(f"{split}_{number}", frames[number], mask))
        else:
            text = f"{mask}: no frame t{number}.tif in {images}; add it or remove this one"
            layout.faults.append(Fault("unpaired", text))
    if left_out := len(frames) - len(pairs):
        layout.notes.append(f"{split}: {left_out} frames without a mask, left out")
    return pairs


Builder = CellTracking
