"""Data identified by its content: neither the place where it lies nor its colours count.

Two digests, of what a data set is prepared from and of what it was prepared to:
`source_key` is of the files in a folder, and names the records that are made of them. `contents`
is of the examples in the records, and tells a run whether it continues on the data it began with.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

if TYPE_CHECKING:  # TFDS takes most of a second to import: only what needs it does
    from jaxseg.data.builder import SegmentationBuilder

LENGTH = 16  # hexadecimal digits: 64 bits tell a researcher's data sets apart


def source_key(builder: type[SegmentationBuilder], source: Path, memory: Path) -> str:
    """The digest of the names and contents of all files that `builder` would prepare.

    Every file is read once. Later calls compare sizes and times of change with those kept in the
    folder `memory`, and take the key that is kept there; that of a folder that is gone, too.

    Raises:
        UserError: the folder does not hold such a data set.
        FileNotFoundError: there is no such folder, and its key is not known.
    """
    memo = memory / f"{_digest(os.path.abspath(source))}.json"
    known = _read(memo)
    if not source.is_dir():
        if not known:
            raise FileNotFoundError(source)
        return known["key"]
    files = builder.files(source)
    stats = ((name, path.stat()) for name, path in sorted(files.items()))
    state = _digest(*(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}" for name, stat in stats))
    if known.get("state") == state:
        return known["key"]
    key = _digest(
        *(
            f"{name}\0{_file_digest(files[name])}"
            for name in tqdm(
                sorted(files),
                desc="looking for changed files",
                unit="file",
                disable=None,
                leave=False,
            )
        )
    )
    _write(memo, {"source": str(source), "state": state, "key": key})
    return key


def contents(directory: Path) -> dict[str, str]:
    """A digest of the examples of each split in a folder of records, computed once."""
    from jaxseg.data.builder import PreparedSource, split_sizes

    memo = directory / "contents.json"
    if not (known := _read(memo)):
        known = {
            split: PreparedSource(directory, split).digest() for split in split_sizes(directory)
        }
        _write(memo, known)
    return known


def of_classes(directory: Path) -> str:
    """A digest of names, order and void id of the classes in a folder of records."""
    from jaxseg.data.builder import read_classes

    classes = read_classes(directory)
    return _digest(*classes.names, str(classes.void))


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:LENGTH]


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return {}


def _write(path: Path, values: dict[str, Any]) -> None:
    """Keep what could be computed again: a folder that can't be written to is no error."""
    # a name of its own: the processes of a run all write this file at once
    partial = path.with_suffix(f".{uuid.uuid4().hex}")
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(values, indent=1) + "\n")
        partial.replace(path)
