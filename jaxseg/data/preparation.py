"""Data sets by name: preparing their files as records, and finding these again."""

import dataclasses
import importlib
import importlib.util
import os
import pkgutil
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from jaxseg.data import digests
from jaxseg.data.origin import Origin
from jaxseg.data.source import Classes
from jaxseg.errors import UserError, suggest

if TYPE_CHECKING:  # TFDS takes most of a second to import: only what needs it does
    from jaxseg.data.builder import SegmentationBuilder


@dataclasses.dataclass(frozen=True)
class Prepared:
    """What a preparation made."""

    name: str
    directory: Path
    splits: dict[str, int]
    classes: Classes
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        splits = ", ".join(f"{split} {count}" for split, count in self.splits.items())
        lines = [
            f"{self.name}: {splits} examples in {self.directory}",
            f"{len(self.classes)} classes: {', '.join(self.classes.names)}; "
            f"void {self.classes.void}",
        ]
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])


def module(name: str) -> ModuleType:
    """The file jaxseg/data/sets/`name`.py of a data set.

    A data set is a file there that defines `Builder` (prepared by TFDS, read from disk) or
    `load(dataset, split)` (made on the fly).
    """
    if name.isidentifier() and importlib.util.find_spec(f"jaxseg.data.sets.{name}"):
        return importlib.import_module(f"jaxseg.data.sets.{name}")
    raise UserError(f"unknown data set {name!r}; {suggest(name, names())}")


def names() -> list[str]:
    """Every data set there is."""
    from jaxseg.data import sets

    return [module.name for module in pkgutil.iter_modules(sets.__path__)]


def resolve_data_dir(flag: str | None, config_value: str | None) -> Path:
    """The folder of all prepared data: --data_dir, dataset.data_dir, TFDS_DATA_DIR, TFDS's own."""
    chosen = flag or config_value or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return Path(chosen).expanduser()


def prepare(
    name: str,
    source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    data_dir: Path,
) -> Prepared:
    """Checks the files of a data set and writes them as records under `data_dir`.

    A published data set has one directory there, a user's own folder one per content. All or
    nothing: records are written to a temporary directory, renamed when complete. Records that were
    made of the same files stay as they are.

    Args:
      name: a file of `sets`.
      source: its folder, or the archives (and folders) that were downloaded, see `Origin`.
      data_dir: where prepared data sets live.

    Raises:
      UserError: an unknown name, anything wrong with the files, with the file's name, or records
        that were made of other files.
    """
    from jaxseg.data.builder import read_classes, split_sizes

    builder_class, origin = _builder_class(name), Origin.from_paths(source)
    origin.check()
    if origin.folder is not None:
        _check_pairs(builder_class, origin.folder, data_dir)
    key = digests.source_key(origin.files(builder_class), _place(origin), _memory(name, data_dir))
    target = _directory(name, data_dir, key or "" if builder_class.ANY_FOLDER else "")
    if is_prepared(target):
        notes = (_before(target, key, origin),)
    else:
        config = target.parent.name if builder_class.ANY_FOLDER else ""
        notes = _write(builder_class, origin, data_dir, config, target, key)
    sizes = split_sizes(target)
    notes = (*notes, *builder_class.official_notes(target, sizes))
    return Prepared(name, target, sizes, read_classes(target), notes)


def _place(origin: Origin) -> str:
    return ", ".join(os.path.abspath(path) for path in origin.given)


def _before(target: Path, key: str | None, origin: Origin) -> str:
    """What to say of records that are there; raises UserError if they are of other files."""
    stored = digests.stored_source(target)
    if stored not in (None, key):
        raise UserError(
            f"{target} was prepared from other files than {origin} holds now: remove it to prepare "
            "these, or train on them with --config.dataset.source, which keeps both"
        )
    same = "from these files, nothing to do" if stored else f"remove {target} to prepare it again"
    return f"it was prepared before; {same}"


def resolve(dataset: Any) -> Path | None:
    """The folder of a data set's records, written on first use; None if it is made on the fly.

    Args:
      dataset: a config's `dataset` part. With a `source`, the records of the files that are in
        this folder now or, if it is gone, were when it was last used; otherwise those that
        `jaxseg data prepare` wrote.

    Raises:
      UserError: neither records nor files are there, or a file is wrong.
    """
    if not hasattr(module(dataset.name), "Builder"):
        return None
    data_dir = resolve_data_dir(None, dataset.data_dir)
    if not dataset.source:
        any_folder = _builder_class(dataset.name).ANY_FOLDER
        target = _directory(dataset.name, data_dir, "")
        if any_folder or not is_prepared(target):
            raise UserError(_not_prepared(dataset, data_dir, any_folder))
        return target
    return _from_source(dataset.name, dataset.source, data_dir)


def _from_source(name: str, source: str, data_dir: Path) -> Path:
    """The folder of the records made of the files in `source`, written on first use."""
    from jaxseg.data.builder import split_sizes

    builder_class, origin = _builder_class(name), Origin.from_paths(source)
    if origin.is_there and origin.folder is not None:
        _check_pairs(builder_class, origin.folder, data_dir)
    files = origin.files(builder_class) if origin.is_there else None
    key = digests.source_key(files, _place(origin), _memory(name, data_dir))
    target = _directory(name, data_dir, key or "")
    if key and is_prepared(target):
        return target
    if key is None or not origin.is_there:
        raise UserError(
            f"data set {name}: {origin} is no folder, and nothing prepared from it is in "
            f"{data_dir}; say where it is now with --config.dataset.source=DIR, or where prepared "
            "data is with --data_dir=DIR"
        )
    notes = _write(builder_class, origin, data_dir, key, target, key)
    for note in (*notes, *builder_class.official_notes(target, split_sizes(target))):
        print(f"note: {note}")
    return target


def _check_pairs(builder_class: "type[SegmentationBuilder]", source: Path, data_dir: Path) -> None:
    """Refuses a folder whose files don't pair, naming what else is wrong with them.

    Nothing is written for it, and records of the files that do pair are not taken for it.
    """
    layout = builder_class.find_pairs(source)
    if layout.faults:
        from jaxseg.data.checking import Check

        raise Check(_make_builder(builder_class, data_dir, ""), source, layout).error()


def _not_prepared(dataset: Any, data_dir: Path, any_folder: bool) -> str:
    name, source = dataset.name, "--config.dataset.source=DIR"
    if any_folder:
        return f"data set {name} is your own folder of images and masks; name it: {source}"
    place = f" --data_dir {data_dir}" if dataset.data_dir else ""
    return (
        f"data set {name} is not prepared in {data_dir}; run: jaxseg data prepare {name} "
        f"--source DIR{place}, or have it prepared on first use: {source}"
    )


def _directory(name: str, data_dir: Path, key: str) -> Path:
    """Where TFDS puts the records of a data set; `key` is its builder config, "" for none."""
    version = str(_builder_class(name).VERSION)
    return data_dir / name / key / version  # Path drops an empty part


def _memory(name: str, data_dir: Path) -> Path:
    """Where the keys of the folders that a data set was prepared from are stored."""
    return data_dir / name / "sources"


def _write(
    builder_class: "type[SegmentationBuilder]",
    origin: Origin,
    data_dir: Path,
    config: str,
    target: Path,
    key: str | None,
) -> tuple[str, ...]:
    """Writes the records; returns notes on what was left out."""
    import tensorflow_datasets as tfds

    builder = _make_builder(builder_class, data_dir, config)
    with origin.opened(data_dir) as folder:
        if origin.folder is None:
            _check_pairs(builder_class, folder, data_dir)
        download = tfds.download.DownloadConfig(manual_dir=folder.resolve())
        try:
            builder.download_and_prepare(download_config=download)
        except OSError:
            # several runs that start together on a new folder all prepare it: the first one's stays
            if not is_prepared(target):
                raise
        else:
            digests.store_contents(target, builder.contents)
            digests.store_source(target, key or "")
            digests.store_shared(target, builder.images)
    return tuple(builder.notes)


def _make_builder(
    builder_class: "type[SegmentationBuilder]", data_dir: Path, key: str
) -> "SegmentationBuilder":
    import tensorflow_datasets as tfds
    from absl import logging

    tfds.disable_progress_bar()  # ours counts images
    options = {"config": tfds.core.BuilderConfig(name=key, version="1.0.0")} if key else {}
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)  # TFDS warns of a config that it did not know before
    try:
        return builder_class(data_dir=data_dir, file_format="array_record", **options)
    finally:
        logging.set_verbosity(verbosity)


def is_prepared(directory: Path) -> bool:
    return (directory / "dataset_info.json").exists()


def _builder_class(name: str) -> "type[SegmentationBuilder]":
    builder = getattr(module(name), "Builder", None)
    if builder is None:
        raise UserError(
            f"data set {name!r} is made on the fly: it needs no source and no preparing"
        )
    return builder
