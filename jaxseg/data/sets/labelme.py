"""Images annotated with labelme, one JSON file each."""

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int32

from jaxseg.data.builder import SegmentationBuilder
from jaxseg.data.finding import keep_there
from jaxseg.data.layout import Layout, Pair, standard_name
from jaxseg.data.palettes import default_palette
from jaxseg.data.polygons import disc, filled
from jaxseg.data.source import Classes, LabelError
from jaxseg.errors import UserError

BACKGROUND, IGNORE = "_background_", "__ignore__"
LABELS_FILE = "labels.txt"


class Labelme(SegmentationBuilder):
    """labelme's own files (https://github.com/wkentaro/labelme), as it saves them.

    Source: a folder of JSON files, all split train, or with a folder of them for each split. Each
    names its image, relative to itself. labels.txt in the source lists the classes in the order of
    their labels, as labelme's --labels does: __ignore__ is void, _background_ what no shape covers.
    Without it the background is class 0, and the labels follow in alphabetical order.

    Shapes are painted in the order of the file, later ones over earlier ones. Polygons are filled
    by `polygons.filled`, rectangles are polygons of four corners, and circles hold the pixels whose
    centre is nearer than their second point. Points and lines have no area: they are refused.
    """

    ANY_FOLDER = True

    @classmethod
    def find_pairs(cls, source: Path) -> Layout:
        if not source.is_dir():
            raise UserError(f"{source}: no such folder")
        folders = {"train": source} if list(source.glob("*.json")) else {}
        folders |= {standard_name(p.name): p for p in sorted(source.iterdir()) if p.is_dir()}
        layout = Layout()
        for split, folder in folders.items():
            if paths := sorted(folder.glob("*.json")):
                pairs = (Pair(p.stem, p.parent / read(p)["imagePath"], p) for p in paths)
                layout.pairs[split] = keep_there(pairs, split, layout)
        if not layout.pairs:
            raise UserError(f"{source}: found no *.json there, nor in a folder such as train/")
        return layout

    @classmethod
    def files(cls, source: Path) -> dict[str, Path]:
        path = source / LABELS_FILE
        return super().files(source) | ({path.name: path} if path.exists() else {})

    def begin(self, source: Path) -> None:
        path = source / LABELS_FILE
        if path.exists():
            listed = [line.strip() for line in path.read_text().splitlines() if line.strip()]
        else:
            pairs = [pair for listed in self.find_pairs(source).pairs.values() for pair in listed]
            listed = sorted({s["label"] for pair in pairs for s in read(pair.mask)["shapes"]})
            listed = [BACKGROUND, *(name for name in listed if name != BACKGROUND)]
        names = tuple(name for name in listed if name != IGNORE)
        if names[:1] != (BACKGROUND,):
            names = (BACKGROUND, *(name for name in names if name != BACKGROUND))
        shown = ("background", *names[1:])
        self._classes = Classes(shown, default_palette(shown), max(255, len(names)))
        self._labels = {name: i for i, name in enumerate(names)} | {IGNORE: self._classes.void}

    def read_label(self, pair: Pair) -> Int32[np.ndarray, "h w"]:
        content = read(pair.mask)
        label = np.zeros((content["imageHeight"], content["imageWidth"]), np.int32)
        for shape in content["shapes"]:
            if shape["label"] not in self._labels:
                raise LabelError(
                    f"{pair.mask}: label {shape['label']!r} is not in {LABELS_FILE}; add it there, "
                    "or rename the shape"
                )
            label[covered(shape, label.shape, str(pair.mask))] = self._labels[shape["label"]]
        return label

    def classes(self) -> Classes:
        return self._classes


def covered(shape: dict[str, Any], size: tuple[int, ...], name: str) -> Bool[np.ndarray, "h w"]:
    """The pixels of a shape.

    Raises:
      LabelError: it has no area.
    """
    points, height_width = np.array(shape["points"], np.float64), (size[0], size[1])
    match shape.get("shape_type") or "polygon":
        case "polygon" if len(points) > 2:
            return filled(points, height_width)
        case "rectangle" if len(points) == 2:
            (left, top), (right, bottom) = points
            corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
            return filled(np.array(corners), height_width)
        case "circle" if len(points) == 2:
            radius = float(np.hypot(*(points[1] - points[0])))
            return disc((float(points[0, 0]), float(points[0, 1])), radius, height_width)
        case kind:
            raise LabelError(
                f"{name}: a {kind} of {len(points)} points has no area; draw a polygon, rectangle "
                "or circle instead, or remove it"
            )


def read(path: Path) -> dict[str, Any]:
    """A file's image and shapes; raises UserError if it is none of labelme's."""
    return _read(path, path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=100_000)  # shapes alone: kilobytes each
def _read(path: Path, changed: int) -> dict[str, Any]:
    keys = ("imagePath", "imageHeight", "imageWidth", "shapes")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        # paths as Windows writes them, too
        content["imagePath"] = content["imagePath"].replace("\\", "/")
        return {key: content[key] for key in keys}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path}: not a file of labelme with {', '.join(keys)} ({error!r}); save it again with "
            "labelme, or remove it"
        ) from error


Builder = Labelme
