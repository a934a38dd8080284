"""Finds the folders of a published data set, wherever below a source they lie, and pairs files."""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from jaxseg.data.faults import Fault
from jaxseg.data.layout import Layout, Pair
from jaxseg.errors import UserError

DEPTH = 4  # folders below the source


def find_folder(source: Path, name: str, suffix: str) -> Path | None:
    """The folder whose path ends in `name`, such as "gtFine/train", and that holds `suffix` files.

    It is `source` itself or lies up to DEPTH folders below it. Files count in any letter case,
    directly in the folder or one folder deeper.

    Raises:
      UserError: no folder `source`, or several such folders.
    """
    if not source.is_dir():
        raise UserError(f"{source}: no such folder")
    parts = Path(name).parts
    found = [
        folder
        for folder in _folders(source)
        if folder.parts[-len(parts) :] == parts and _holds(folder, suffix.lower())
    ]
    if len(found) > 1:
        several = " and ".join(str(folder) for folder in found[:3])
        raise UserError(f"{source}: {several} could each be {name}; leave one of them there")
    return found[0] if found else None


def need_folder(source: Path, name: str, suffix: str, fix: str) -> Path:
    """As `find_folder`; raises UserError, ending in `fix`, if there is none."""
    if (folder := find_folder(source, name, suffix)) is None:
        raise UserError(f"{source}: found no folder {name}/ with {suffix} files; {fix}")
    return folder


def by_name(folder: Path, ending: str, *, deep: bool = False) -> dict[str, Path]:
    """The files in a folder whose names end so, in any letter case, by what precedes it.

    Args:
      folder: where they are.
      ending: such as "_leftImg8bit.png".
      deep: in the folders inside, too.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*") if deep else folder.iterdir()):
        if path.name.lower().endswith(ending.lower()) and not path.name.startswith("."):
            found[path.name[: -len(ending)]] = path
    return found


def pair(
    images: Mapping[str, Path], masks: Mapping[str, Path], split: str, layout: Layout
) -> list[Pair]:
    """Those of one name; what has no partner is a fault."""
    for name in sorted(images.keys() ^ masks.keys()):
        there, missing = ("image", "mask") if name in images else ("mask", "image")
        path = images.get(name) or masks.get(name)
        text = f"{path}: an {there} of split {split} without its {missing}; add it or remove this"
        text = text.replace("an mask", "a mask")
        layout.faults.append(Fault("unpaired", text))
    return [Pair(name, images[name], masks[name]) for name in images if name in masks]


def pair_folders(
    source: Path, folders: Mapping[str, tuple[str, str]], endings: tuple[str, str], fix: str
) -> Layout:
    """The splits of which there are both a folder of images and one of masks; notes on others.

    Args:
      source: where they are, see `find_folder`.
      folders: those of the images and of the masks, by split.
      endings: of the names of images and masks, such as (".jpg", ".png").
      fix: ends the error about a source where nothing is found.
    """
    layout = Layout()
    for split, names in folders.items():
        found = [find_folder(source, *each) for each in zip(names, endings, strict=True)]
        missing = [name for name, folder in zip(names, found, strict=True) if folder is None]
        if missing:
            layout.notes.append(f"{split}: no folder {' nor '.join(missing)}, left out")
            continue
        images, masks = (by_name(f, e, deep=True) for f, e in zip(found, endings, strict=True) if f)
        layout.pairs[split] = pair(images, masks, split, layout)
    if not layout.pairs:
        raise UserError(f"{source}: no split to prepare ({'; '.join(layout.notes)}); {fix}")
    return layout


def listed(path: Path) -> list[str]:
    """The first word of every line of a list, without a folder or suffix."""
    lines = [line.split() for line in path.read_text().splitlines()]
    return [Path(words[0]).stem for words in lines if words and not words[0].startswith("#")]


def keep_there(pairs: Iterable[Pair], split: str, layout: Layout) -> list[Pair]:
    """Each pair once, and only those of which all files are there; the others are faults."""
    kept: dict[str, Pair] = {}
    twice = 0
    for each in pairs:
        missing = [path for path in (each.image, each.mask, *each.parts) if not path.is_file()]
        for path in missing:
            text = f"{path}: no such file, but {split} lists it; unpack all of the data set"
            layout.faults.append(Fault("unpaired", text))
        twice += each.name in kept
        if not missing:
            kept[each.name] = each
    if twice:
        layout.faults.append(Fault("twice", f"{split}: its list names {twice} twice", twice))
    return list(kept.values())


def _folders(source: Path) -> Iterator[Path]:
    for path, inner, _ in os.walk(source, followlinks=True):
        folder = Path(path)
        yield folder
        below = len(folder.relative_to(source).parts)
        inner[:] = sorted(n for n in inner if not n.startswith(".")) if below < DEPTH else []


def _holds(folder: Path, suffix: str) -> bool:
    def there(path: Path) -> bool:
        return path.name.lower().endswith(suffix) and not path.name.startswith(".")

    inner = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                inner.append(Path(entry.path))
            elif there(Path(entry.path)):
                return True
    return any(there(path) for each in inner for path in each.iterdir())
