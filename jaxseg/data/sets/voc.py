"""PASCAL VOC 2012 segmentation, 21 classes; the additional masks of SBD where they are there."""

from pathlib import Path

from jaxseg.data.builder import SegmentationBuilder
from jaxseg.data.layout import Pair
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
    def find_pairs(cls, source: Path) -> tuple[dict[str, list[Pair]], list[str]]:
        root = _root(source)
        pairs: dict[str, list[Pair]] = {}
        notes = []
        for split, (lists, masks) in SPLITS.items():
            paths = [root / "ImageSets/Segmentation" / name for name in lists]
            path = next((p for p in paths if p.is_file()), None)
            stems = _stems(path) if path else []
            if stems and not (root / masks).is_dir():
                notes.append(f"{split}: {path} lists it, but there is no {masks}/, left out")
            elif stems:
                pairs[split] = [_pair(root, masks, stem, split) for stem in stems]
            elif split != "train_aug":
                notes.append(f"{split}: {paths[0].name} is empty or not there, left out")
        if not pairs:
            raise UserError(f"{root}: no split to prepare; {'; '.join(notes)}")
        _check_apart(pairs)
        return pairs, notes


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


def _stems(path: Path) -> list[str]:
    """What a list names, one example a line: "2007_000032" or "/JPEGImages/2007_000032.jpg ..."."""
    lines = [line.split() for line in path.read_text().splitlines()]
    return [Path(words[0]).stem for words in lines if words]


def _pair(root: Path, masks: str, stem: str, split: str) -> Pair:
    pair = Pair(stem, root / "JPEGImages" / f"{stem}.jpg", root / masks / f"{stem}.png")
    for path in (pair.image, pair.mask):
        if not path.is_file():
            raise UserError(f"{path}: no such file, but {split} lists it; unpack the whole kit")
    return pair


def _check_apart(pairs: dict[str, list[Pair]]) -> None:
    """No image to train on is validated on; a name comes once in a split."""
    names = {split: {pair.name for pair in listed} for split, listed in pairs.items()}
    for split, listed in pairs.items():
        if len(names[split]) < len(listed):
            raise UserError(f"{split}: its list names {len(listed) - len(names[split])} twice")
        shared = names[split] & names.get("val", set())
        if split != "val" and shared:
            raise UserError(
                f"{split}: {len(shared)} of its images are in val too, such as {min(shared)}: "
                "validation would be flattered; take the official lists"
            )


Builder = Voc
