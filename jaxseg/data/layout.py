"""Finds the image and mask files of a folder, and pairs them."""

import dataclasses
from pathlib import Path

from jaxseg.errors import UserError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm")


@dataclasses.dataclass(frozen=True)
class Pair:
    """An image file and its mask file, of the same stem."""

    name: str
    image: Path
    mask: Path


def find_pairs(source: Path) -> tuple[dict[str, list[Pair]], list[str]]:
    """Pairs by split, and notes on what was left out.

    `source` holds images/ and masks/ (all of it split "train"), or one folder per split, each with
    images/ and masks/. A split without masks/ is left out with a note.

    Raises:
      UserError: no such layout, no masks at all, two files of one stem, or a missing partner.
    """
    if not source.is_dir():
        raise UserError(f"{source}: no such folder")
    if (source / "images").is_dir():
        folders = {"train": source}
    else:
        folders = {p.name: p for p in sorted(source.iterdir()) if (p / "images").is_dir()}
    if not folders:
        raise UserError(
            f"{source}: found neither images/ nor a split such as train/images/; "
            "lay it out as train/images, train/masks, val/images, val/masks, or images, masks"
        )
    labelled = {split: path for split, path in folders.items() if (path / "masks").is_dir()}
    if not labelled:
        where = next(iter(folders.values()))
        raise UserError(f"{where}: has images/ but no masks/; put the masks there, named alike")
    pairs = {split: _pair(path) for split, path in labelled.items()}
    notes = [f"{split}: no masks/, left out" for split in folders if split not in labelled]
    return pairs, notes


def _pair(folder: Path) -> list[Pair]:
    images, masks = _by_stem(folder / "images"), _by_stem(folder / "masks")
    for ours, theirs, other in ((images, masks, "masks"), (masks, images, "images")):
        alone = [path for stem, path in ours.items() if stem not in theirs]
        if alone:
            more = f" (and {len(alone) - 1} more)" if len(alone) > 1 else ""
            raise UserError(
                f"{alone[0]}: no file of that stem in {folder / other}{more}; "
                "add it or remove this one"
            )
    return [Pair(stem, images[stem], masks[stem]) for stem in images]


def _by_stem(folder: Path) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in SUFFIXES or path.name.startswith("."):
            continue  # Thumbs.db and the like
        if path.stem in files:
            raise UserError(f"{path}: same stem as {files[path.stem].name}; keep one of the two")
        files[path.stem] = path
    if not files:
        raise UserError(f"{folder}: no image files there; expected {', '.join(SUFFIXES)}")
    return files
