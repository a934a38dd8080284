"""PASCAL VOC 2012 segmentation, 21 classes; the additional masks of SBD where they are there."""

from pathlib import Path
from typing import ClassVar

from jaxseg.data.builder import SegmentationBuilder
from jaxseg.data.faults import Fault
from jaxseg.data.finding import keep_there, listed
from jaxseg.data.layout import Layout, Pair
from jaxseg.data.palettes import voc_palette
from jaxseg.data.source import Classes
from jaxseg.errors import UserError

# split: its lists by the names in use, and the folder of its masks
SPLITS = {
    "train": (("train.txt",), "SegmentationClass"),
    "val": (("val.txt",), "SegmentationClass"),
    "train_aug": (("train_aug.txt", "trainaug.txt"), "SegmentationClassAug"),
}


class Voc(SegmentationBuilder):
    """PASCAL VOC 2012 (Everingham et al., IJCV 2015): 1,464 images to train, 1,449 to validate.

    Source: the development kit as it is, VOCdevkit or VOCdevkit/VOC2012. The lists in
    ImageSets/Segmentation say what is in a split; trainval is "train+val", never stored twice.

    `train_aug`, the 10,582 images that the DeepLab papers train on, is there when the kit has been
    extended by the masks of Hariharan et al. (ICCV 2011) as SegmentationClassAug and by their list,
    train_aug.txt or trainaug.txt, one stem a line or the paths of image and mask.
    """

    OFFICIAL: ClassVar = {"train": 1464, "val": 1449}
    CLASSES = Classes(
        names=(
            "background",
            "aeroplane",
            "bicycle",
            "bird",
            "boat",
            "bottle",
            "bus",
            "car",
            "cat",
            "chair",
            "cow",
            "diningtable",
            "dog",
            "horse",
            "motorbike",
            "person",
            "pottedplant",
            "sheep",
            "sofa",
            "train",
            "tvmonitor",
        ),
        palette=voc_palette(21),
        void=255,
    )

    @classmethod
    def find_pairs(cls, source: Path) -> Layout:
        root = _root(source)
        layout = Layout()
        for split, (lists, masks) in SPLITS.items():
            paths = [root / "ImageSets/Segmentation" / name for name in lists]
            path = next((p for p in paths if p.is_file()), None)
            stems = listed(path) if path else []
            if stems and not (root / masks).is_dir():
                layout.notes.append(f"{split}: {path} lists it, but there is no {masks}/, left out")
            elif stems:
                layout.pairs[split] = _pairs(root, masks, stems, split, layout)
            elif split != "train_aug":
                layout.notes.append(f"{split}: {paths[0].name} is empty or not there, left out")
        if not layout.pairs:
            raise UserError(f"{root}: no split to prepare; {'; '.join(layout.notes)}")
        _check_apart(layout)
        return layout


def _root(source: Path) -> Path:
    """The folder that holds ImageSets/Segmentation: `source` or VOC2012 in it."""
    if not source.is_dir():
        raise UserError(f"{source}: no such folder")
    for root in (source, source / "VOC2012", source / "VOCdevkit" / "VOC2012"):
        if (root / "ImageSets/Segmentation").is_dir():
            return root
    raise UserError(
        f"{source}: found no ImageSets/Segmentation there, nor in VOC2012/; give the folder "
        "VOCdevkit that VOCtrainval_11-May-2012.tar unpacks to"
    )


def _pairs(root: Path, masks: str, stems: list[str], split: str, layout: Layout) -> list[Pair]:
    images, masks_of = root / "JPEGImages", root / masks
    pairs = (Pair(stem, images / f"{stem}.jpg", masks_of / f"{stem}.png") for stem in stems)
    return keep_there(pairs, split, layout)


def _check_apart(layout: Layout) -> None:
    """No image to train on is validated on."""
    names = {split: {pair.name for pair in listed} for split, listed in layout.pairs.items()}
    for split in names:
        shared = names[split] & names.get("val", set())
        if split != "val" and shared:
            text = (
                f"{split}: {len(shared)} of its images are in val too, such as {min(shared)}: "
                "validation would be flattered; take the official lists"
            )
            layout.faults.append(Fault("twice", text, len(shared)))


Builder = Voc
