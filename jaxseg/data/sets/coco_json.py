"""Your own images with annotations in COCO's JSON form, as many tools export them."""

from pathlib import Path

import numpy as np
from jaxtyping import Int32

from jaxseg.data import coco
from jaxseg.data.builder import SegmentationBuilder
from jaxseg.data.faults import Fault
from jaxseg.data.layout import SPLITS, Layout, Pair, standard_name
from jaxseg.data.palettes import default_palette
from jaxseg.data.source import Classes
from jaxseg.errors import UserError


class CocoJson(SegmentationBuilder):
    """Polygons and run lengths of COCO JSON files (https://cocodataset.org/#format-data) as labels.

    Source: a folder with the images and, anywhere in it, one *.json for each split. A file belongs
    to the split that its name ends in (instances_train.json), else that its folder is named after
    (valid/_annotations.coco.json); one alone may have any name, and is split train. Images are
    where `file_name` says, beside the JSON file or in the source, or the only file of that name
    below the source. Class 0 is the background, and the categories follow in the order of their
    ids; all files must have the same ones.

    Objects are painted in the order of the file, later ones over earlier ones, crowds too. Polygons
    are filled by `polygons.filled`, the parts of one object together.
    """

    ANY_FOLDER = True

    @classmethod
    def find_pairs(cls, source: Path) -> Layout:
        layout, tables = Layout(), _tables(source)
        first = coco.read_annotations(next(iter(tables.values()))).categories
        for split, path in tables.items():
            table = coco.read_annotations(path)
            if table.categories != first:
                text = f"{path}: other categories than the other files have; make them the same"
                layout.faults.append(Fault("classes", text, len(table.sizes)))
            layout.pairs[split] = _pairs(table, path, source, layout)
        return layout

    def begin(self, source: Path) -> None:
        self._tables = {path: coco.read_annotations(path) for path in _tables(source).values()}
        self._files = {
            (path, _name(file)): file
            for path, table in self._tables.items()
            for file in table.sizes
        }
        categories = next(iter(self._tables.values())).categories
        named = [name for _, name in sorted(categories.items())]
        names = ("background", *(name for name in named if name != "background"))
        self._classes = Classes(names, default_palette(names), max(255, len(names)))
        self._index = {number: names.index(name) for number, name in categories.items()}

    def read_label(self, pair: Pair) -> Int32[np.ndarray, "h w"]:
        table, file_name = self._tables[pair.mask], self._files[pair.mask, pair.name]
        size = table.sizes[file_name]
        label = np.zeros(size, np.int32)
        for each in table.objects[file_name]:
            mask = coco.mask_of(each["segmentation"], size, f"{pair.mask}, {file_name}")
            label[mask] = self._index[each["category_id"]]
        return label

    def classes(self) -> Classes:
        return self._classes


def _tables(source: Path) -> dict[str, Path]:
    """The JSON file of each split."""
    paths = sorted(source.rglob("*.json"))
    if not paths:
        raise UserError(f"{source}: found no *.json with COCO annotations")
    if len(paths) == 1:
        return {"train": paths[0]}
    tables: dict[str, Path] = {}
    for path in paths:
        split = _split(path)
        if split is None or split in tables:
            what = f"a second file of split {split}" if split else "its name says no split"
            raise UserError(
                f"{path}: {what}; name it after its split, as in instances_train.json, or take it "
                "out"
            )
        tables[split] = path
    return tables


def _split(path: Path) -> str | None:
    known = {*SPLITS, *(other for others in SPLITS.values() for other in others)}
    endings = [name for name in known if path.stem.lower().endswith(name)]
    if endings:
        return standard_name(max(endings, key=len))
    return standard_name(path.parent.name) if path.parent.name in known else None


def _name(file_name: str) -> str:
    return str(Path(file_name).with_suffix("")).replace("/", "_")


def _pairs(table: coco.Annotations, path: Path, source: Path, layout: Layout) -> list[Pair]:
    below: dict[str, list[Path]] = {}
    for file in source.rglob("*"):
        below.setdefault(file.name, []).append(file)
    pairs = []
    for file_name in sorted(table.sizes):
        places = [path.parent / file_name, source / file_name]
        found = [place for place in places if place.is_file()] or below.get(
            Path(file_name).name, []
        )
        if len(set(found)) == 1 or (found and found[0] in places):
            pairs.append(Pair(_name(file_name), found[0], path))
        else:
            what = "no such image" if not found else f"{len(found)} images of that name"
            text = f"{path}: {file_name}: {what} in {source}; add it, or remove its entry"
            layout.faults.append(Fault("unpaired", text))
    return pairs


Builder = CocoJson
