"""Digests that identify data by its content: not by its location, nor by its colours.

`source_key` is a digest of the files in a source folder; the records prepared from them are stored
under it. `contents` and `classes_digest` are digests of prepared records: `data.identity` combines
them so that a run can check that it continues on the data it began with.
"""

import contextlib
import hashlib
import itertools
import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32
from tqdm import tqdm

from jaxseg.data.source import Classes

CONTENTS, SOURCE, SHARED = "contents.json", "source.json", "shared.json"
STATS = "stats"  # a folder
LENGTH = 16  # hexadecimal digits: 64 bits tell a researcher's data sets apart


def source_key(files: Mapping[str, Path] | None, place: str, memory: Path) -> str | None:
    """A digest of the names and contents of all files that a data set is prepared from.

    Every file is read once. Later calls compare sizes and times of change with those kept in the
    folder `memory`, and take the key stored there.

    Args:
      files: by a name that does not depend on where they are. None for files that are gone: their
        key is the stored one, None if none is.
      place: where they are or were.
      memory: a folder.
    """
    memo = memory / f"{_digest(place)}.json"
    known = _read(memo)
    if files is None:
        return known.get("key")
    states = {path: _state(path) for path in {*files.values()}}
    state = _digest(*(f"{name}\0{states[path]}" for name, path in sorted(files.items())))
    if known.get("state") == state:
        return known["key"]
    paths = tqdm(sorted(states), desc=f"reading {place}", unit="file", disable=None, leave=False)
    read = {path: _file_digest(path) for path in paths}
    key = _digest(*(f"{name}\0{read[path]}" for name, path in sorted(files.items())))
    _write(memo, {"source": place, "state": state, "key": key})
    return key


def store_shared(directory: Path, images: Mapping[str, Mapping[bytes, str]]) -> None:
    """Keeps with a folder of records which image files two splits have in common.

    Args:
      directory: of the records.
      images: the names of each split's examples by their `image_digest`.
    """
    found = {
        f"{first} {second}": [images[second][digest] for digest in sorted(common)]
        for first, second in itertools.permutations(images, 2)
        if (common := images[first].keys() & images[second].keys())
    }
    _write(directory / SHARED, found)


def shared(directory: Path, first: str, second: str) -> list[str]:
    """The names of the examples of split `second` whose image file `first` has, too."""
    return sorted(_read(directory / SHARED).get(f"{first} {second}", []))


def store_source(directory: Path, key: str) -> None:
    """Keeps with a folder of records the `source_key` of the files that they were made of."""
    _write(directory / SOURCE, {"key": key})


def stored_source(directory: Path) -> str | None:
    """What `store_source` kept there."""
    return _read(directory / SOURCE).get("key")


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


def store_stats(
    directory: Path, split: str, classes: Classes, reading: str, row: Sequence[float]
) -> None:
    """Keeps with a folder of records what was counted of a split with these classes.

    `reading` tells how images and labels were read from the records.
    """
    path = _stats_path(directory, split, classes, reading)
    _write(path, {"split": split, "classes": classes.names, "row": row})


def stored_stats(directory: Path, split: str, classes: Classes, reading: str) -> list[float] | None:
    """What `store_stats` kept there of the same records; None if it did not."""
    return _read(_stats_path(directory, split, classes, reading)).get("row")


def _stats_path(directory: Path, split: str, classes: Classes, reading: str) -> Path:
    record_digests = (f"{name} {digest}" for name, digest in sorted(contents(directory).items()))
    key = _digest(*record_digests, split, classes_digest(classes), reading)
    return directory / STATS / f"{key}.json"


def image_digest(image: bytes) -> bytes:
    """A digest of an image file."""
    return hashlib.sha256(image).digest()


def example_digest(name: bytes, image: bytes, label: Int32[np.ndarray, "h w"]) -> bytes:
    """A digest of an example's name, label and `image_digest`."""
    digest = hashlib.sha256(name + b"\0" + str(label.shape).encode())
    # the label's values, not its PNG: encoders differ
    digest.update(image + label.astype("<i4").tobytes())
    return digest.digest()


def split_digest(digests: Iterable[bytes]) -> str:
    """A digest of all examples of a split, in any order."""
    return hashlib.sha256(b"".join(sorted(digests))).hexdigest()[:LENGTH]


def classes_digest(classes: Classes) -> str:
    """A digest of the classes' names, order and void id."""
    return _digest(*classes.names, str(classes.void))


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:LENGTH]


def _state(path: Path) -> str:
    """What changes when the file does; ctime shows what a copy that keeps mtime hides."""
    stat = path.stat()
    return f"{stat.st_size}\0{stat.st_mtime_ns}\0{stat.st_ctime_ns}"


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
