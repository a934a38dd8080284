"""Where a data set's files come from: a folder, or archives and folders as they are downloaded."""

import contextlib
import dataclasses
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

from jaxseg.data.archives import Unpacker, is_archive, stem
from jaxseg.data.layout import IMAGES, MASKS, SPLITS
from jaxseg.errors import UserError

if TYPE_CHECKING:
    from jaxseg.data.builder import SegmentationBuilder

PREFIX, LOCK = "unpacked-", ".lock"
_KNOWN = {name.lower() for name in (*IMAGES, *MASKS, *SPLITS, *sum(SPLITS.values(), ()))}


@dataclasses.dataclass(frozen=True)
class Origin:
    """The paths that a person gave as a data set's source.

    One folder is read as it is, unless it holds nothing but archives: then these are the source.
    Archives are unpacked to a temporary folder while records are written, each into a folder of its
    own name (train.zip into train/), where other folders that were given are linked. One archive
    alone is the source itself, or the only folder in it.
    """

    given: tuple[Path, ...]

    @classmethod
    def from_paths(
        cls, source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
    ) -> "Origin":
        several = [source] if isinstance(source, str | os.PathLike) else source
        return cls(tuple(Path(path).expanduser() for path in several))

    def __str__(self) -> str:
        return ", ".join(map(str, self.given))

    @property
    def is_there(self) -> bool:
        return all(path.is_dir() or is_archive(path) for path in self.given)

    @property
    def parts(self) -> tuple[Path, ...]:
        """The folders and archives that hold the files."""
        if len(self.given) == 1 and self.given[0].is_dir():
            inside = [p for p in sorted(self.given[0].iterdir()) if not p.name.startswith(".")]
            archives = tuple(path for path in inside if is_archive(path))
            if archives and not any(path.is_dir() for path in inside):
                return archives
        return self.given

    @property
    def folder(self) -> Path | None:
        """The folder, if nothing has to be unpacked."""
        parts = self.parts
        return parts[0] if len(parts) == 1 and parts[0].is_dir() else None

    def check(self) -> None:
        """Raises UserError if a path is neither a folder nor an archive."""
        for path in self.given:
            if not path.exists():
                raise UserError(
                    f"{path}: no such folder or file; give the data set's own folder, or the "
                    "archives that were downloaded, as --source"
                )
            if not path.is_dir() and not is_archive(path):
                raise UserError(f"{path}: expected a folder, a zip or a tar file as --source")

    def files(self, builder: "type[SegmentationBuilder]") -> dict[str, Path]:
        """Every file that the records depend on, by a name that does not depend on the place."""
        if self.folder is not None:
            return builder.files(self.folder)
        files = {}
        for part in self.parts:
            inner = sorted(p for p in part.rglob("*") if p.is_file()) if part.is_dir() else [part]
            files |= {f"{part.name}/{path.relative_to(part)}": path for path in inner}
        return files

    @contextlib.contextmanager
    def opened(self, scratch: Path) -> Iterator[Path]:
        """The folder to read; what is unpacked for it, in `scratch`, is removed afterwards.

        Raises:
          UserError: an archive can't be unpacked, or what is done with the folder raised one: it
            names the archives instead of the temporary folder.
        """
        if self.folder is not None:
            yield self.folder
            return
        scratch.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(scratch)
        place = Path(tempfile.mkdtemp(prefix=PREFIX, dir=scratch))
        try:
            with (place / LOCK).open("w") as file:
                _lock(file, fcntl.LOCK_EX)
                yield _unpacked(self.parts, place)
        except UserError as error:
            text = str(error).replace(f"{place}{os.sep}", "").replace(str(place), str(self))
            error.args = (text,)
            raise
        finally:
            shutil.rmtree(place, ignore_errors=True)


def _lock(file: IO[str], kind: int) -> bool:
    """Whether it could be locked, which some file systems can't; a lock ends with its process."""
    try:
        fcntl.flock(file, kind)
    except OSError:
        return False
    return True


def _remove_leftovers(scratch: Path) -> None:
    """Of processes that were killed while they held what they had unpacked."""
    for lock in scratch.glob(f"{PREFIX}*/{LOCK}"):
        with contextlib.suppress(OSError), lock.open() as file:
            if _lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB):
                shutil.rmtree(lock.parent, ignore_errors=True)


def _without_wrapper(folder: Path) -> None:
    """Moves what train.zip holds in a folder train/ one folder up, as it is where it has none."""
    inside = list(folder.iterdir())
    if len(inside) == 1 and inside[0].is_dir() and inside[0].name == folder.name:
        outer = folder.rename(folder.with_name(f"{PREFIX}{folder.name}"))
        (outer / folder.name).rename(folder)
        outer.rmdir()


def _unpacked(parts: Sequence[Path], place: Path) -> Path:
    unpacker = Unpacker()
    for part in parts:
        if part.is_dir():
            (place / part.name).symlink_to(part.resolve(), target_is_directory=True)
        else:
            unpacker.unpack(part, place / stem(part))
            _without_wrapper(place / stem(part))
    folder = place / stem(parts[0]) if len(parts) == 1 else place
    while len(parts) == 1:
        inside = list(folder.iterdir())
        if len(inside) != 1 or not inside[0].is_dir() or inside[0].name.lower() in _KNOWN:
            break
        folder = inside[0]
    return folder
