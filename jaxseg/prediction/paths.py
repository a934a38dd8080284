"""The images that a command line names, and the names of what is written for each of them."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from jaxseg.data.layout import SUFFIXES
from jaxseg.errors import UserError

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv")


@dataclass(frozen=True)
class Found:
    """An image file, and its path inside the folder that was named (or its own name)."""

    path: Path
    inside: Path


@dataclass(frozen=True)
class Images:
    """The images of a command line, and how much of the folders was passed over."""

    found: tuple[Found, ...]
    hidden: int = 0  # files and folders
    others: int = 0  # files that are no images, by their suffix

    def passed_over(self) -> str:
        """In words; empty if there is nothing."""
        parts = [f"{self.others} that are no images"] * (self.others > 0)
        parts += [f"{self.hidden} hidden"] * (self.hidden > 0)
        return " and ".join(parts)


def find(paths: Sequence[str], out: Path) -> Images:
    """The files that `paths` name, and the images in the folders that they name and below them.

    A file that is reached twice counts once. What lies under `out` is left out: it is the results.

    Raises:
      UserError: no paths, one that does not exist, a folder without images, or `out` among them.
    """
    if not paths:
        raise UserError("no images given: name files or folders after the flags")
    found: dict[Path, Found] = {}
    counts: Counter[str] = Counter()
    for path in map(Path, paths):
        if path.is_file():
            found.setdefault(path.resolve(), Found(path, Path(path.name)))
        elif not path.is_dir():
            raise UserError(f"no file or folder {str(path)!r}")
        elif path.resolve() == out.resolve():
            raise UserError(f"--out {out} is a folder of images itself: choose another")
        else:
            images = list(_walk(path, out, counts))
            if not images:
                raise UserError(
                    f"no images in {path} or its subfolders: expected files such as .jpg, .png "
                    "or .tif"
                )
            for image in images:
                found.setdefault(image.resolve(), Found(image, image.relative_to(path)))
    return Images(tuple(found.values()), hidden=counts["hidden"], others=counts["others"])


def _walk(folder: Path, out: Path, counts: Counter[str]) -> Iterator[Path]:
    """The images in `folder` and below, sorted; links to folders are followed, but in no circle."""
    seen, results = set(), os.path.realpath(out)
    for root, subfolders, names in os.walk(folder, onerror=_refuse, followlinks=True):
        real = os.path.realpath(root)
        if real in seen or real == results:
            subfolders.clear()
            continue
        seen.add(real)
        counts["hidden"] += sum(name.startswith(".") for name in [*subfolders, *names])
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in sorted(name for name in names if not name.startswith(".")):
            if Path(name).suffix.lower() in (*SUFFIXES, *VIDEO_SUFFIXES):
                yield Path(root, name)
            else:
                counts["others"] += 1


def _refuse(error: OSError) -> NoReturn:
    raise error  # os.walk would leave out a folder that can't be read, without a word


def targets(images: Sequence[Found], out: Path, endings: Sequence[str]) -> list[Path]:
    """For each image the path to which each of `endings` is added: `out`/INSIDE without suffix.

    Where files of two images would be one, or a file one of the images, all of these images keep
    their suffix (a.jpg and a.png: a.jpg.png and a.png.png); if that does not help, as for two
    folders with equal names in them, as many parent folders as tell them apart.

    Args:
      images: different files.
      out: where results go.
      endings: of all files that are written for an image, such as ".png" and "_overlay.png".

    Raises:
      UserError: a file can't but be one of the images.
    """
    parts = [Path(os.path.abspath(image.path)).parts[1:] for image in images]
    inputs = {os.path.realpath(image.path) for image in images}
    levels = [0] * len(images)  # 0: no suffix; 1: with it; n: with n - 1 parent folders too
    root = out.resolve()
    while True:
        names = [_named(*each) for each in zip(images, parts, levels, strict=True)]
        clashing = _clashing([str(root / name) for name in names], endings, inputs)
        if not clashing:
            return [out / name for name in names]
        for index in clashing:
            levels[index] += 1
            if len(images[index].inside.parts) + levels[index] - 1 > len(parts[index]):
                raise UserError(
                    f"the results of {images[index].path} would take the place of an image: "
                    f"choose another --out than {out}"
                )


def _named(image: Found, parts: tuple[str, ...], level: int) -> Path:
    if level == 0:
        return image.inside.with_suffix("")
    return Path(*parts[-(len(image.inside.parts) + level - 1) :])


def _clashing(targets: Sequence[str], endings: Sequence[str], inputs: set[str]) -> set[int]:
    """Indices of the images of which a file is another's too, or one of `inputs`."""
    owners: dict[str, list[int]] = defaultdict(list)
    for index, target in enumerate(targets):
        for ending in endings:
            owners[target + ending].append(index)
    return {
        index
        for path, indices in owners.items()
        if len(indices) > 1 or path in inputs
        for index in indices
    }
