"""Images and masks that are listed in CSV or JSON files, wherever they lie."""

import csv
import json
import os
from collections import Counter
from pathlib import Path

from jaxseg.data.finding import keep_there
from jaxseg.data.layout import Layout, Pair
from jaxseg.data.sets.folder import CLASSES_FILE, Folder
from jaxseg.errors import UserError

COLUMNS = ("image", "mask", "split")
EXPECTED = "expected columns image and mask, and perhaps split"


class FileList(Folder):
    """The files that the lists of a folder name; masks are read as those of a `folder` are.

    A list is a CSV file whose first line has the columns image, mask and perhaps split, or a JSON
    file that holds a list of objects with these keys. Paths are relative to the list's folder, or
    absolute. Without splits, a list that is alone is split train, and of several each is the split
    that its file is named after (train.csv, val.csv). A classes.json may lie beside them.
    """

    @classmethod
    def find_pairs(cls, source: Path) -> Layout:
        if not source.is_dir():
            raise UserError(f"{source}: no such folder; give the folder that holds the lists")
        paths = sorted(
            path
            for path in source.iterdir()
            if path.suffix.lower() in (".csv", ".json") and path.name != CLASSES_FILE
        )
        if not paths:
            raise UserError(f"{source}: found no list, *.csv or *.json; {EXPECTED}")
        rows = []
        for path in paths:
            split = "train" if len(paths) == 1 else path.stem
            rows += [(*row[:2], row[2] or split, path) for row in _rows(path)]
        layout = Layout()
        for split in dict.fromkeys(row[2] for row in rows):
            listed = [row for row in rows if row[2] == split]
            layout.pairs[split] = keep_there(_pairs(listed), split, layout)
        return layout


def _pairs(rows: list[tuple[str, str, str, Path]]) -> list[Pair]:
    """Named by the image's stem or, where several images share one, by its path in the list."""
    stems = Counter(Path(image).stem for image, *_ in rows)
    pairs = []
    for image, mask, _, path in rows:
        stem = Path(image).stem
        if stems[stem] > 1:
            stem = str(Path(image).with_suffix("")).strip(os.sep).replace(os.sep, "_")
        pairs.append(Pair(stem, path.parent / image, path.parent / mask))
    return pairs


def _rows(path: Path) -> list[tuple[str, str, str]]:
    """Image, mask and split, "" for none, of every line."""
    try:
        if path.suffix.lower() == ".json":
            rows = json.loads(path.read_text())
        else:
            with path.open(newline="", encoding="utf-8-sig") as file:  # as spreadsheets write it
                rows = list(csv.DictReader(file))
        found = [(str(r["image"]), str(r["mask"]), str(r.get("split") or "")) for r in rows]
    except (ValueError, KeyError, TypeError, AttributeError, csv.Error) as error:
        raise UserError(f"{path}: {EXPECTED}; reading it: {error!r}") from error
    if not found:
        raise UserError(f"{path}: lists nothing; {EXPECTED}")
    return found


Builder = FileList
