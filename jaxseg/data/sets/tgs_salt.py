"""TGS salt identification: seismic images of 101x101 pixels in grey."""

import csv
import functools
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Int32

from jaxseg.data.builder import SegmentationBuilder
from jaxseg.data.finding import by_name, find_folder, need_folder, pair
from jaxseg.data.layout import Layout, Pair
from jaxseg.data.mask_files import read_mask
from jaxseg.data.palettes import default_palette
from jaxseg.data.run_lengths import painted_runs
from jaxseg.data.source import Classes
from jaxseg.errors import UserError

SIZE = (101, 101)


class TgsSalt(SegmentationBuilder):
    """Kaggle's TGS Salt Identification Challenge (2018): 4,000 labelled images, split train.

    https://www.kaggle.com/c/tgs-salt-identification-challenge; the competition's own rules. Source:
    train.zip and train.csv, or a folder with images, and masks or train.csv. Masks are taken where
    they are there, else the run lengths of train.csv (columns id and rle_mask: start and length,
    start and length, ..., counted from 1, down the columns). There is one split: take slices of it.
    """

    OFFICIAL: ClassVar = {"train": 4000}
    NAMES = ("background", "salt")
    CLASSES = Classes(NAMES, default_palette(NAMES))

    @classmethod
    def find_pairs(cls, source: Path) -> Layout:
        layout = Layout()
        fix = "give train.zip and train.csv, or what they hold"
        parent = find_folder(source, "train/images", ".png")
        images = by_name(parent or need_folder(source, "images", ".png", fix), ".png")
        if (folder := find_folder(source, "masks", ".png")) is not None:
            layout.pairs["train"] = pair(images, by_name(folder, ".png"), "train", layout)
            return layout
        table = _table(source)
        masks = dict.fromkeys(_runs(table, table.stat().st_mtime_ns), table)
        layout.pairs["train"] = pair(images, masks, "train", layout)
        layout.notes.append(f"no masks/: labels are the run lengths of {table.name}")
        return layout

    def read_label(self, pair: Pair) -> Int32[np.ndarray, "h w"]:
        if pair.mask.suffix != ".csv":
            return (read_mask(pair.mask, str(pair.mask)) > 0).astype(np.int32)
        runs = _runs(pair.mask, pair.mask.stat().st_mtime_ns)[pair.name]
        return painted_runs(runs, SIZE, f"{pair.mask}, {pair.name}")


def _table(source: Path) -> Path:
    found = sorted(source.rglob("train.csv"))
    if len(found) != 1:
        raise UserError(
            f"{source}: found neither masks/ nor {'one' if found else 'a'} train.csv; give "
            "train.zip and train.csv, or what they hold"
        )
    return found[0]


@functools.lru_cache(maxsize=1)
def _runs(table: Path, changed: int) -> dict[str, str]:
    """The run lengths by image, read once for each time that the file was `changed`."""
    with table.open(newline="") as file:
        rows = csv.DictReader(file)
        if not {"id", "rle_mask"} <= set(rows.fieldnames or ()):
            raise UserError(f"{table}: columns {rows.fieldnames}, expected id and rle_mask")
        return {row["id"]: row["rle_mask"] or "" for row in rows}


Builder = TgsSalt
