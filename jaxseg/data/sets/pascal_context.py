"""PASCAL-Context, 60 classes: the 59 most frequent ones and a background of all others."""

import io
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Int32

from jaxseg.data.builder import SegmentationBuilder
from jaxseg.data.finding import keep_there, listed, need_folder
from jaxseg.data.layout import Layout, Pair
from jaxseg.data.palettes import default_palette
from jaxseg.data.relabelling import relabel
from jaxseg.data.source import Classes
from jaxseg.errors import UserError

# the number of each class in the 459 of labels.txt, in the order of 59_labels.txt
NUMBERS = {
    **{"aeroplane": 2, "bicycle": 23, "bird": 25, "boat": 31, "bottle": 34, "bus": 45, "car": 59},
    **{"cat": 65, "chair": 72, "cow": 98, "table": 397, "dog": 113, "horse": 207},
    **{"motorbike": 258, "person": 284, "pottedplant": 308, "sheep": 347, "sofa": 368},
    **{"train": 416, "tvmonitor": 427, "bag": 9, "bed": 18, "bench": 22, "book": 33},
    **{"building": 44, "cabinet": 46, "ceiling": 68, "cloth": 80, "computer": 85, "cup": 104},
    **{"door": 115, "fence": 144, "floor": 158, "flower": 159, "food": 162, "grass": 187},
    **{"ground": 189, "keyboard": 220, "light": 232, "mountain": 259, "mouse": 260},
    **{"curtain": 105, "platform": 296, "sign": 355, "plate": 295, "road": 324, "rock": 326},
    **{"shelves": 349, "sidewalk": 354, "sky": 360, "snow": 366, "bedclothes": 19, "track": 415},
    **{"tree": 420, "truck": 424, "wall": 440, "water": 445, "window": 454, "wood": 458},
}
MOST = 459


class PascalContext(SegmentationBuilder):
    """PASCAL-Context (Mottaghi et al., CVPR 2014) on VOC 2010: 4,998 images to train, 5,105 val.

    https://cs.stanford.edu/~roozbeh/pascal-context/; no licence is stated, images under Flickr's
    terms. Source: VOCtrainval_03-May-2010.tar and trainval.tar.gz, or a folder that holds
    JPEGImages and ImageSets/Main of VOC 2010 and the label maps trainval/*.mat. `pascal_context59`
    is the same with void for the background.
    """

    OFFICIAL: ClassVar = {"train": 4998, "val": 5105}
    CLASSES = Classes(("background", *NUMBERS), default_palette(("background", *NUMBERS)))
    REST = 0  # the label of all other classes

    @classmethod
    def find_pairs(cls, source: Path) -> Layout:
        fix = "give VOCtrainval_03-May-2010.tar and trainval.tar.gz, or what they hold"
        images = need_folder(source, "JPEGImages", ".jpg", fix)
        maps = need_folder(source, "trainval", ".mat", fix)
        layout = Layout()
        for split in cls.OFFICIAL:
            path = images.parent / "ImageSets/Main" / f"{split}.txt"
            if not path.is_file():
                raise UserError(f"{path}: no such list; {fix}")
            pairs = (Pair(s, images / f"{s}.jpg", maps / f"{s}.mat") for s in listed(path))
            layout.pairs[split] = keep_there(pairs, split, layout)
        return layout

    def label(self, data: bytes, name: str) -> Int32[np.ndarray, "h w"]:
        first = self.CLASSES.names.index(next(iter(NUMBERS)))
        labels = dict.fromkeys(range(MOST + 1), self.REST)
        labels |= {number: first + i for i, number in enumerate(NUMBERS.values())}
        expected = f"0..{MOST}; take the label maps as they are"
        return relabel(_label_map(data, name), labels, name, expected)


def _label_map(data: bytes, name: str) -> Int32[np.ndarray, "h w"]:
    from scipy.io import loadmat

    try:
        content: Any = loadmat(io.BytesIO(data), variable_names=["LabelMap"])
        return np.ascontiguousarray(content["LabelMap"], np.int32)
    except Exception as error:  # of many types, for a damaged file
        text = f"{name}: no MATLAB file with a LabelMap ({error}); unpack it again"
        raise UserError(text) from None


Builder = PascalContext
