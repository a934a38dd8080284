"""Unpacks zip and tar files, within limits and never outside of the folder they are given."""

import contextlib
import lzma
import re
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

from tqdm import tqdm

from jaxseg.errors import UserError

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
MOST_BYTES = 500 * 2**30  # in all; the largest of the official downloads are tens of gigabytes
MOST_TIMES = 1000  # the size of the archive itself, from MANY_BYTES on
MANY_BYTES = 2**30
MOST_FILES = 5_000_000
NESTED = 2  # archives in archives, as Kaggle has them
_CHUNK = 2**20
_JUNK = ("__MACOSX", ".DS_Store", "Thumbs.db")
_DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError)


def is_archive(path: Path) -> bool:
    """Whether a file's name says that it is one."""
    return path.name.lower().endswith(SUFFIXES) and path.is_file()


def stem(path: Path) -> str:
    """An archive's name without what says its kind: train.tar.gz is train."""
    return re.sub(r"(\.tar)?\.\w+$", "", path.name, flags=re.IGNORECASE)


class Unpacker:
    """Unpacks archives that together stay within the limits.

    An archive is refused, with the name of the entry, that would write outside of its folder or
    that holds links; and one that grows beyond MOST_BYTES, the free disk space, MOST_FILES, or
    MOST_TIMES its own size. What macOS adds (__MACOSX, ._name) is left out.
    """

    def __init__(self) -> None:
        self._bytes = self._files = 0

    def unpack(self, archive: Path, target: Path, nested: int = NESTED) -> None:
        """All files of `archive` below `target`, and those of archives in it, each in its folder.

        Raises:
          UserError: the archive is damaged, encrypted or refused.
        """
        target.mkdir(parents=True, exist_ok=True)
        size, free = archive.stat().st_size, shutil.disk_usage(target).free
        most = min(MOST_BYTES - self._bytes, max(MOST_TIMES * size, MANY_BYTES), free)
        before = self._bytes
        with _saying_damage(archive), _progress(archive, most) as progress:
            for name, file in _entries(archive):
                path = target / _safe(name, archive)
                path.parent.mkdir(parents=True, exist_ok=True)
                self._files += 1
                with path.open("wb") as out:
                    while chunk := file.read(_CHUNK):
                        self._bytes += len(chunk)
                        if self._bytes - before > most:
                            raise UserError(_too_much(archive, most))
                        out.write(chunk)
                        progress.update(len(chunk))
                if self._files > MOST_FILES:
                    raise UserError(_too_much(archive, most))
        if nested:
            for inner in sorted(path for path in target.rglob("*") if is_archive(path)):
                self.unpack(inner, inner.parent / stem(inner), nested - 1)
                inner.unlink()


def _entries(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Name and content of every regular file."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as packed:
            for entry in packed.infolist():
                kind = entry.external_attr >> 28  # of a Unix mode; 0 where none was stored
                _refuse_link(archive, entry.filename, is_link=kind == 0o12)
                if entry.flag_bits & 1:
                    raise UserError(f"{archive}: it is encrypted; unpack it and give the folder")
                if not entry.is_dir() and not _is_junk(entry.filename):
                    with packed.open(entry) as file:
                        yield entry.filename, file
        return
    with tarfile.open(archive, "r|*") as packed:  # a stream: read once, from begin to end
        for entry in packed:
            _refuse_link(archive, entry.name, is_link=not (entry.isreg() or entry.isdir()))
            file = packed.extractfile(entry) if entry.isreg() else None
            if file is not None and not _is_junk(entry.name):
                yield entry.name, file


def _is_junk(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return any(part in _JUNK for part in parts) or parts[-1].startswith("._")


def _safe(name: str, archive: Path) -> PurePosixPath:
    """An entry's path, which stays below the folder that it is unpacked to."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", name) or "\0" in name:
        raise UserError(
            f"{archive}: its entry {name!r} would be written outside of the folder that it is "
            "unpacked to; don't use this file, take the official one"
        )
    return path


def _refuse_link(archive: Path, name: str, *, is_link: bool) -> None:
    if is_link:
        raise UserError(
            f"{archive}: its entry {name!r} is a link or a device rather than a file; unpack it "
            "and give the folder"
        )


def _progress(archive: Path, most: int) -> Any:
    """A bar of bytes; raises UserError if a zip says itself that it holds more than `most`."""
    total = None  # of a tar, which has no directory
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as packed:
            total = sum(entry.file_size for entry in packed.infolist())
        if total > most:
            raise UserError(_too_much(archive, most))
    text = f"unpacking {archive.name}"
    return tqdm(None, text, total, unit="B", unit_scale=True, disable=None, leave=False)


def _too_much(archive: Path, most: int) -> str:
    return (
        f"{archive}: {archive.stat().st_size / 2**20:.3g} MiB that hold more than "
        f"{most / 2**20:,.0f} MiB or {MOST_FILES:,} files; free some disk space or, if all of that "
        "is meant, unpack it yourself and give the folder"
    )


@contextlib.contextmanager
def _saying_damage(archive: Path) -> Iterator[None]:
    try:
        yield
    except (*_DAMAGED, NotImplementedError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of the disk, not of the data
        raise UserError(
            f"{archive}: not an archive that can be read to its end ({error}); download it again, "
            "or unpack it and give the folder"
        ) from error
