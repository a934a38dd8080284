"""Data sets: `prepare` one, `load` a split of it, and batch it with `jaxseg.data.pipeline`."""

import re
from pathlib import Path
from typing import Any

from jaxseg.data import digests, pipeline, preparation
from jaxseg.data.label_map import Mapped, mapped_classes
from jaxseg.data.pixels import RGB, PixelFormat
from jaxseg.data.preparation import prepare, resolve, resolve_data_dir
from jaxseg.data.source import Cached, Classes, Converted, Example, Source
from jaxseg.data.splits import Splits, choose

__all__ = [
    "Classes",
    "Example",
    "Source",
    "Splits",
    "identity",
    "leak",
    "load",
    "others",
    "prepare",
    "resolve",
    "resolve_data_dir",
    "split_of",
    "splits",
]


def load(dataset: Any, split: str) -> Source:
    """One split of the data set that a config's `dataset` part describes.

    Args:
      dataset: name, data_dir, source, label_map, cache, channels, bits, and what the data set's own
        file reads.
      split: a split's name, or a TFDS slice of one such as "train[:80%]".

    Raises:
      UserError: an unknown name or split, a data set that is not prepared and can't be, a label
        map of other classes, an image of other channels than `dataset` says (the first one is
        looked at), or a label that is neither a class nor void among a few of data made on the
        fly. All others are checked when they are read by `pipeline`.
    """
    pixels = PixelFormat.from_config(dataset)
    if directory := resolve(dataset):
        from jaxseg.data.builder import PreparedSource

        source = PreparedSource(directory, split, pixels)
    else:
        source = preparation.module(dataset.name).load(dataset, split)
        if pixels != RGB:
            source = Converted(source, pixels)
    if dataset.label_map:
        source = Mapped(source, dataset.label_map)
    if dataset.cache:
        source = Cached(source)
    # preparing checks every label
    pipeline.check_first(source, count=1 if directory else 8)
    return source


def splits(dataset: Any) -> Splits:
    """The splits that a run trains and validates on, see `splits.choose`.

    Raises UserError as `load` does.
    """
    return _splits(dataset, resolve(dataset))


def _splits(dataset: Any, directory: Path | None) -> Splits:
    if directory is None:
        return Splits(dataset.train_split, dataset.val_split)
    from jaxseg.data.builder import split_sizes

    return choose(dataset.train_split, dataset.val_split, split_sizes(directory))


def leak(dataset: Any) -> str:
    """A warning about image files that a run trains and validates on, "" if there are none.

    Of whole splits, as they were prepared; `jaxseg data check` also finds images that are alike.
    """
    if not (directory := resolve(dataset)):
        return ""
    found = _splits(dataset, directory)
    if not (names := digests.shared(directory, found.train, found.val)):
        return ""
    some = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    return (
        f"{len(names)} of the images to validate on ({found.val}) are in {found.train} too: "
        f"{some}; scores will flatter: take them out of one of the two"
    )


def others(dataset: Any) -> list[str]:
    """The splits of prepared data of which a run uses no part."""
    if not (directory := resolve(dataset)):
        return []
    from jaxseg.data.builder import split_sizes

    found = _splits(dataset, directory)
    used = set(re.findall(r"\w+", f"{found.train} {found.val}"))
    return [split for split in split_sizes(directory) if split not in used]


def split_of(dataset: Any, name: str) -> str:
    """What `train` and `val` are for a run with this data; other splits by the name they have."""
    found = splits(dataset)
    return {"train": found.train, "val": found.val}.get(name) or name


def identity(dataset: Any) -> str:
    """The data that a run trains and validates on, by its content.

    A digest of the names, order and void id of the run's classes and one per split of the examples
    as they were prepared: where the files are and which colours classes are drawn in does not
    matter. "" for data made on the fly, which the config describes. Raises UserError as `load`
    does.
    """
    if not (directory := resolve(dataset)):
        return ""
    from jaxseg.data.builder import read_classes

    classes = mapped_classes(read_classes(directory), dataset.label_map)
    contents = digests.contents(directory)
    found = _splits(dataset, directory)
    named = re.findall(r"\w+", f"{found.train} {found.val}")
    used = sorted(contents.keys() & set(named)) or sorted(contents)
    parts = [f"{split} {contents[split]}" for split in used]
    if found.note:  # a later version may choose another share
        parts.append(f"val is {found.val}")
    return ", ".join((f"classes {digests.classes_digest(classes)}", *parts))
