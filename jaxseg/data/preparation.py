"""Where prepared data lives, how it gets there, and what is known by name."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import os
import pkgutil
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from jaxseg.errors import UserError, suggest

if TYPE_CHECKING:  # TFDS takes most of a second to import: only what needs it does
    from jaxseg.data.builder import SegmentationBuilder
    from jaxseg.data.source import Classes


@dataclasses.dataclass(frozen=True)
class Prepared:
    """What a preparation made. `builder_config` is "" for a data set that has none."""

    name: str
    builder_config: str
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

    A data set is a file here that defines `Builder` (prepared by TFDS, read from disk) or
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


def directory(name: str, data_dir: Path, builder_config: str) -> Path:
    """Where TFDS puts the records of a data set."""
    version = str(_builder_class(name).VERSION)
    return data_dir / name / builder_config / version  # Path drops an empty builder_config


def prepare(name: str, source_dir: str | os.PathLike[str], data_dir: Path) -> Prepared:
    """Checks the files in `source_dir` and writes them as records under `data_dir`.

    All or nothing: records are written to a temporary folder, renamed when complete. What is
    prepared already is left as it is.

    Raises:
        UserError: an unknown name, or anything wrong with the files, with the file's name.
    """
    import tensorflow_datasets as tfds

    builder_class = _builder_class(name)
    source = Path(source_dir).expanduser().resolve()
    builder_class.find_pairs(source)  # a wrong folder is refused before anything is made
    config = builder_class.config_name(source)
    target = directory(name, data_dir, config)
    if is_prepared(target):
        note = f"it was prepared before; remove {target} to prepare it again"
        return _summary(name, config, target, (note,))
    builder = _make_builder(builder_class, data_dir, config)
    download = tfds.download.DownloadConfig(manual_dir=source)
    try:
        builder.download_and_prepare(download_config=download)
    except OSError:
        # several runs that start together on a new folder all prepare it: the first one's stays
        if not is_prepared(target):
            raise
    return _summary(name, config, target, tuple(builder.notes))


def _make_builder(
    builder_class: type[SegmentationBuilder], data_dir: Path, config: str
) -> SegmentationBuilder:
    import tensorflow_datasets as tfds
    from absl import logging

    tfds.disable_progress_bar()  # ours counts images
    options = {"config": tfds.core.BuilderConfig(name=config, version="1.0.0")} if config else {}
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)  # TFDS warns of a config that it did not know before
    try:
        return builder_class(data_dir=data_dir, file_format="array_record", **options)
    finally:
        logging.set_verbosity(verbosity)


def is_prepared(directory: Path) -> bool:
    return (directory / "dataset_info.json").exists()


def resolve(dataset: Any) -> None:
    """Makes `dataset.source` usable: prepares it on first use, and fills `builder_config`.

    Does nothing when the config names no source. `dataset` is the config's own `dataset` part
    (name, source, data_dir, builder_config), changed in place, so that a saved config says exactly
    which preparation was used.
    """
    if not dataset.get("source", ""):
        return
    name, source = dataset.name, Path(dataset.source).expanduser()
    config = dataset.get("builder_config", "") or _builder_class(name).config_name(source)
    data_dir = resolve_data_dir(None, dataset.data_dir)
    if not is_prepared(directory(name, data_dir, config)):
        prepare(name, source, data_dir)
    if config:
        dataset.builder_config = config


def takes_any_folder(name: str) -> bool:
    """Whether a data set is the user's own folder, prepared anew for each, and not a known one."""
    return "config_name" in vars(_builder_class(name))


def _builder_class(name: str) -> type[SegmentationBuilder]:
    builder = getattr(module(name), "Builder", None)
    if builder is None:
        raise UserError(
            f"data set {name!r} is made on the fly: it needs no source and no preparing"
        )
    return builder


def _summary(name: str, config: str, target: Path, notes: tuple[str, ...]) -> Prepared:
    import tensorflow_datasets as tfds

    from jaxseg.data.source import Classes

    info = tfds.builder_from_directory(target).info
    splits = {split: int(info.splits[split].num_examples) for split in sorted(info.splits)}
    assert info.metadata is not None  # SegmentationBuilder writes it
    classes = Classes.from_dict(info.metadata["classes"])
    return Prepared(name, config, target, splits, classes, notes)
