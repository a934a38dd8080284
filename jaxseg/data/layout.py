"""Finds the image and mask files of a folder, and pairs them."""

import dataclasses
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from jaxseg.data.faults import Fault
from jaxseg.errors import UserError

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm")
SUFFIXES = (*PICTURES, ".npy")

# names of folders, in any case; the first of each is taken where it is there
IMAGES = ("images", "image", "imgs", "img", "JPEGImages")
MASKS = ("masks", "mask", "labels", "label", "annotations", "annotation", "SegmentationClass")
SPLITS = {"train": ("training",), "val": ("valid", "validation"), "test": ("testing",)}

Folders = tuple[Path | None, Path | None]  # of images and of masks

EXPECTED = "lay it out as train/images, train/masks, val/images, val/masks, or images, masks"


@dataclasses.dataclass(frozen=True)
class Pair:
    """An image file and its mask file; the name is the image's stem, or another unique one.

    `parts` are further files that the label is made of.
    """

    name: str
    image: Path
    mask: Path
    parts: tuple[Path, ...] = ()


@dataclasses.dataclass
class Layout:
    """What a folder holds: pairs by split, notes on what was read how, and what is wrong."""

    pairs: dict[str, list[Pair]] = dataclasses.field(default_factory=dict)
    notes: list[str] = dataclasses.field(default_factory=list)
    faults: list[Fault] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class _Files:
    """The files of one split, by stem."""

    image_folder: Path
    mask_folder: Path
    images: dict[str, Path]
    masks: dict[str, Path]


def find_pairs(source: Path) -> Layout:
    """The images and masks of `source`, paired by name within each split.

    `source` holds images/ and masks/ (all of it split "train"), or one folder per split, each with
    images/ and masks/, or both with one folder per split. A split other than train and val without
    masks is left out with a note. Where no mask is named as an image is, they pair if all masks of
    the folder end alike after an image's name, as in img_1.jpg and img_1_mask.png.

    Raises:
      UserError: no such folder, or no such layout in it.
    """
    if not source.is_dir():
        raise UserError(f"{source}: no such folder")
    layout = Layout()
    files = {}
    for split, (images, masks) in _splits(source, layout).items():
        if images and masks:
            by_stem = (_by_stem(folder, layout) for folder in (images, masks))
            files[split] = _Files(images, masks, *by_stem)
    ending = _shared_ending(files.values())
    if ending:
        layout.notes.append(f"each mask is named like its image with {ending} at the end")
    for split, found in files.items():
        layout.pairs[split] = _pair(found, ending, layout)
    return layout


def _splits(source: Path, layout: Layout) -> dict[str, Folders]:
    """The folders of images and of masks of each split."""
    images, masks = _named(source, IMAGES), _named(source, MASKS)
    inner = [p for p in sorted(source.iterdir()) if p.is_dir() and p not in (*images, *masks)]
    splits = {p: (_named(p, IMAGES), _named(p, MASKS)) for p in inner}
    splits = {path: folders for path, folders in splits.items() if any(folders)}
    if images and masks:
        layout.notes += [f"{path.name}/ beside {images[0].name}/, left out" for path in splits]
        both = _one(images, IMAGES, layout), _one(masks, MASKS, layout)
        found = _by_kind(*filter(None, both))
    elif images and not splits:
        raise UserError(f"{images[0].parent}: has images/ but no masks/; put the masks there")
    else:
        found = {
            path.name: (_one(images, IMAGES, layout), _one(masks, MASKS, layout))
            for path, (images, masks) in splits.items()
        }
    if not any(images for images, _ in found.values()):
        raise UserError(
            f"{source}: found neither images/ nor a split such as train/images/, "
            f"{_contents(source)}; {EXPECTED}"
        )
    if not any(masks for _, masks in found.values()):
        where = source / next(split for split, (images, _) in found.items() if images)
        raise UserError(f"{where}: has images/ but no masks/; put the masks there, named alike")
    for split, folders in found.items():
        _check_split(source, split, folders, layout)
    return found


def _named(folder: Path, names: tuple[str, ...]) -> list[Path]:
    """The folders in `folder` of these names, in any case."""
    lower = {name.lower() for name in names}
    return [p for p in sorted(folder.iterdir()) if p.name.lower() in lower and p.is_dir()]


def _one(folders: list[Path], names: tuple[str, ...], layout: Layout) -> Path | None:
    """The folder to read of those that have one of these names, if there are any."""
    chosen = next((path for path in folders if path.name == names[0]), None)
    if chosen is None and folders:
        chosen = folders[0]
        layout.notes.append(f"{chosen} is read as {names[0]}/")
        if len(folders) > 1:
            several = " and ".join(path.name for path in folders)
            text = f"{chosen.parent}: holds {several}; call the one to read {names[0]}"
            layout.faults.append(Fault("folder", text))
    return chosen


def _by_kind(images: Path, masks: Path) -> dict[str, Folders]:
    """The one split of images/ and masks/, or those of images/train, masks/train and so on."""
    in_images, in_masks = ({p.name: p for p in f.iterdir() if p.is_dir()} for f in (images, masks))
    if not in_images or _image_files(images):
        return {"train": (images, masks)}
    names = sorted(in_images.keys() | in_masks.keys())
    return {name: (in_images.get(name), in_masks.get(name)) for name in names}


def standard_name(split: str) -> str:
    """What SPLITS calls a split that goes by another of its names there."""
    return next((name for name, others in SPLITS.items() if split in others), split)


def _check_split(source: Path, split: str, folders: Folders, layout: Layout) -> None:
    images, masks = folders
    if not re.fullmatch(r"\w+", split) or split == "all":
        text = f"{source / split}: can't name a split; use letters and digits, as in val"
        layout.faults.append(Fault("folder", text))
    if masks and not images:
        text = f"{source}: split {split} has masks but no images; add its images"
        layout.faults.append(Fault("folder", text, len(_image_files(masks))))
    elif images and not masks and standard_name(split) in ("train", "val"):
        text = f"{source}: split {split} has images but no masks; add its masks"
        layout.faults.append(Fault("folder", text, len(_image_files(images))))
    elif images and not masks:
        layout.notes.append(f"{split}: no masks/, left out")


def _image_files(folder: Path) -> list[Path]:
    # not Thumbs.db and the like
    return [
        path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    ]


def _contents(folder: Path) -> str:
    """What is there instead of what was looked for."""
    files, inner = len(_image_files(folder)), [p.name for p in folder.iterdir() if p.is_dir()]
    named = f"{', '.join(sorted(inner)[:5])}{', ...' if len(inner) > 5 else ''}"
    found = [f"{files} image files beside each other"] if files else []
    found += [f"the folders {named}"] if inner else []
    return f"but {' and '.join(found) or 'no image files'}"


def _by_stem(folder: Path, layout: Layout) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for path in _image_files(folder):
        if path.stem in files:
            text = f"{path}: same stem as {files[path.stem].name}; keep one of the two"
            layout.faults.append(Fault("twice", text))
        files.setdefault(path.stem, path)
    if not files:
        text = f"{folder}: no image files there; expected {', '.join(SUFFIXES)}"
        layout.faults.append(Fault("folder", text))
    return files


def _shared_ending(splits: Iterable[_Files]) -> str:
    """What every mask's stem has after the stem of an image; "" if they don't all have one.

    Pairing wrongly would be worse than not at all: so two masks at least have it, none is named as
    an image is, and it begins with no letter or digit and holds a letter (img_1 is not of img_10,
    nor img_1 of img_1_2).
    """
    splits = list(splits)
    if any(files.images.keys() & files.masks.keys() for files in splits):
        return ""
    counts = sum((_endings(files) for files in splits), Counter())
    if len(counts) != 1 or counts.total() < 2:
        return ""
    ending = next(iter(counts))
    everywhere = all(stem.endswith(ending) for files in splits for stem in files.masks)
    return ending if everywhere and re.fullmatch(r"[\W_].*[^\W\d_].*", ending) else ""


def _endings(files: _Files) -> Counter[str]:
    """What follows the stem of the image with the longest stem that a mask's stem begins with."""
    counts = Counter()
    for stem in files.masks:
        lengths = range(len(stem) - 1, 0, -1)
        if length := next((n for n in lengths if stem[:n] in files.images), 0):
            counts[stem[length:]] += 1
    return counts


def _pair(files: _Files, ending: str, layout: Layout) -> list[Pair]:
    images, masks = files.images, files.masks
    named = {stem: stem + ending for stem in images}  # image to mask
    pairs = [Pair(s, images[s], masks[m]) for s, m in named.items() if m in masks]
    if images and masks and not pairs:
        layout.faults.append(Fault("unpaired", _none_alike(files), len(masks)))
        return []
    fix = "add it or remove this one"
    for stem, mask in named.items():
        if mask not in masks:
            what = f"no file of the stem {mask}" if ending else "no file of that stem"
            text = f"{images[stem]}: {what} in {files.mask_folder}; {fix}"
            layout.faults.append(Fault("unpaired", text))
    for stem in sorted(masks.keys() - set(named.values())):
        text = f"{masks[stem]}: no file of that stem in {files.image_folder}; {fix}"
        layout.faults.append(Fault("unpaired", text))
    return pairs


def _none_alike(files: _Files) -> str:
    stem, mask = next(iter(files.images)), next(iter(files.masks))
    common = _endings(files).most_common(3)
    found = " and ".join(f"{ending!r} ({count} masks)" for ending, count in common)
    alike = (
        f"; what follows an image's name is {found}: keep the masks of one such ending"
        if len(common) > 1
        else f"; looked for {stem}.png and the like, or one ending of all masks, as in "
        f"{stem}_mask.png: rename them so"
    )
    return (
        f"{files.mask_folder}: none of its {len(files.masks)} masks, such as {mask}, is named as "
        f"an image of {files.image_folder} is{alike}"
    )
