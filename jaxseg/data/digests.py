"""Digests that identify data by its content: not by its location, nor by its colours.

`source_key` is a digest of the files in a source folder; the records prepared from them are stored
under it. `contents` and `of_classes` are digests of prepared records: `data.identity` combines them
so that a run can check that it continues on the data it began with.
"""

import contextlib
import hashlib
import json
import os
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int32
from tqdm import tqdm

if TYPE_CHECKING:  # TFDS takes most of a second to import: only what needs it does
    from jaxseg.data.builder import SegmentationBuilder

CONTENTS = "contents.json"
LENGTH = 16  # hexadecimal digits: 64 bits tell a researcher's data sets apart


def source_key(builder: "type[SegmentationBuilder]", source: Path, memory: Path) -> str | None:
    """A digest of the names and contents of all files that `builder` would prepare.

    Every file is read once. Later calls compare sizes and times of change with those kept in the
    folder `memory`, and take the key stored there, also of a folder that is gone. None for a folder
    that is gone and whose key is not stored.

    Raises:
      UserError: the folder does not hold such a data set.
    """
    memo = memory / f"{_digest(os.path.abspath(source))}.json"
    known = _read(memo)
    if not source.is_dir():
        return known.get("key")
    files = builder.files(source)
    state = _digest(*(_state(name, path) for name, path in sorted(files.items())))
    if known.get("state") == state:
        return known["key"]
    names = tqdm(sorted(files), desc=f"reading {source}", unit="file", disable=None, leave=False)
    key = _digest(*(f"{name}\0{_file_digest(files[name])}" for name in names))
    _write(memo, {"source": str(source), "state": state, "key": key})
    return key


def contents(directory: Path) -> dict[str, str]:
    """A digest of the examples of each split in a folder of records, computed once."""
    from jaxseg.data.builder import PreparedSource, split_sizes

    if not (known := _read(directory / CONTENTS)):
        known = {
            split: PreparedSource(directory, split).digest() for split in split_sizes(directory)
        }
        store_contents(directory, known)
    return known


def store_contents(directory: Path, known: dict[str, str]) -> None:
    """Keeps what `contents` gives."""
    _write(directory / CONTENTS, known)


def of_example(name: bytes, image: bytes, label: Int32[np.ndarray, "h w"]) -> bytes:
    """A digest of an example's name, image file and label."""
    digest = hashlib.sha256(name + b"\0" + str(label.shape).encode())
    # the label's values, not its PNG: encoders differ
    digest.update(hashlib.sha256(image).digest() + label.astype("<i4").tobytes())
    return digest.digest()


def of_examples(digests: Iterable[bytes]) -> str:
    """A digest of all examples of a split, in any order."""
    return hashlib.sha256(b"".join(sorted(digests))).hexdigest()[:LENGTH]


def of_classes(directory: Path) -> str:
    """A digest of names, order and void id of the classes in a folder of records."""
    from jaxseg.data.builder import read_classes

    classes = read_classes(directory)
    return _digest(*classes.names, str(classes.void))


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:LENGTH]


def _state(name: str, path: Path) -> str:
    """What changes when the file does; ctime shows what a copy that keeps mtime hides."""
    stat = path.stat()
    return f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\0{stat.st_ctime_ns}"


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return {}


def _write(path: Path, values: dict[str, Any]) -> None:
    """Stores what can be computed again: a folder that can't be written to is no error."""
    # a unique name: all processes of a run may write this file at the same time
    partial = path.with_suffix(f".{uuid.uuid4().hex}")
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(values, indent=1) + "\n")
        partial.replace(path)
