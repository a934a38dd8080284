"""CamVid as published: 32 classes in colour at 960x720."""

import re
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Int32

from jaxseg.data.builder import SegmentationBuilder
from jaxseg.data.finding import by_name, find_folder, need_folder, pair
from jaxseg.data.layout import Layout, Pair
from jaxseg.data.mask_files import look_up, mask_pixels
from jaxseg.data.source import Classes, LabelError

# label_colors.txt of the data set, in its order, without Void (0, 0, 0)
COLOURS = {
    "Animal": (64, 128, 64),
    "Archway": (192, 0, 128),
    "Bicyclist": (0, 128, 192),
    "Bridge": (0, 128, 64),
    "Building": (128, 0, 0),
    "Car": (64, 0, 128),
    "CartLuggagePram": (64, 0, 192),
    "Child": (192, 128, 64),
    "Column_Pole": (192, 192, 128),
    "Fence": (64, 64, 128),
    "LaneMkgsDriv": (128, 0, 192),
    "LaneMkgsNonDriv": (192, 0, 64),
    "Misc_Text": (128, 128, 64),
    "MotorcycleScooter": (192, 0, 192),
    "OtherMoving": (128, 64, 64),
    "ParkingBlock": (64, 192, 128),
    "Pedestrian": (64, 64, 0),
    "Road": (128, 64, 128),
    "RoadShoulder": (128, 128, 192),
    "Sidewalk": (0, 0, 192),
    "SignSymbol": (192, 128, 128),
    "Sky": (128, 128, 128),
    "SUVPickupTruck": (64, 128, 192),
    "TrafficCone": (0, 0, 64),
    "TrafficLight": (0, 64, 64),
    "Train": (192, 64, 128),
    "Tree": (128, 128, 0),
    "Truck_Bus": (192, 128, 192),
    "Tunnel": (64, 0, 64),
    "VegetationMisc": (192, 192, 0),
    "Wall": (64, 192, 0),
}
VOID = (0, 0, 0)


class Camvid32(SegmentationBuilder):
    """All classes of CamVid (Brostow et al., "Semantic object classes in video", 2009), 701 frames.

    http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid/; the page states no licence.
    Source: the folders of the frames (701_StillsRaw_full) and of the coloured labels
    (LabeledApproved_full), or their archives. Of the 32 classes the black one, Void, is void here.

    The publication has no fixed list of splits; here each sequence is one, named by its frames:
    seq_0001TP, seq_0006R0, seq_0016E5 and seq_Seq05VD. Train on some, validate on others.
    """

    LABELS: ClassVar = {colour: i for i, colour in enumerate(COLOURS.values())} | {VOID: 255}
    CLASSES = Classes(tuple(COLOURS), tuple(COLOURS.values()))

    @classmethod
    def find_pairs(cls, source: Path) -> Layout:
        layout = Layout()
        masks = _masks(source)
        fix = "give the folders of the frames and of the labels, as CamVid's page has them"
        folder = find_folder(source, "701_StillsRaw_full", ".png")
        images = by_name(folder or need_folder(source, "images", ".png", fix), ".png")
        for each in pair(images, masks, "all", layout):
            layout.pairs.setdefault(f"seq_{_sequence(each)}", []).append(each)
        return layout

    def label(self, data: bytes, name: str) -> Int32[np.ndarray, "h w"]:
        pixels = mask_pixels(data, name, drop_alpha=True)
        label = look_up(pixels, self.LABELS) if pixels.ndim == 3 else np.full(pixels.shape, -1)
        if (label < 0).any():
            y, x = np.argwhere(label < 0)[0]
            raise LabelError(
                f"{name}: {pixels[y, x].tolist()} at row {y}, column {x} is no colour of "
                "label_colors.txt; take the coloured labels as they were published"
            )
        return label.astype(np.int32)


def _masks(source: Path) -> dict[str, Path]:
    """The coloured labels, named as their frames with _L at the end."""
    for name in ("LabeledApproved_full", "labels", "masks"):
        if folder := find_folder(source, name, "_L.png"):
            return by_name(folder, "_L.png")
    fix = "give the coloured labels, files named as 0001TP_006690_L.png"
    return by_name(need_folder(source, "LabeledApproved_full", "_L.png", fix), "_L.png")


def _sequence(each: Pair) -> str:
    return re.sub(r"_.*", "", each.name)


Builder = Camvid32
