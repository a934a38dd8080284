"""Data sets: `prepare` one, `load` a split of it, and batch it with `jaxseg.data.pipeline`."""

from __future__ import annotations

from typing import Any

from jaxseg.data import preparation
from jaxseg.data.preparation import prepare, resolve, resolve_data_dir
from jaxseg.data.source import Cached, Classes, Example, Source
from jaxseg.errors import UserError

__all__ = ["Classes", "Example", "Source", "load", "prepare", "resolve", "resolve_data_dir"]


def load(dataset: Any, split: str) -> Source:
    """One split of the data set that a config's `dataset` part describes.

    Args:
        dataset: name, data_dir, cache, where it has them source and builder_config (see
            `resolve`), and whatever the data set's own file reads.
        split: a split's name, or a TFDS slice of one such as "train[:80%]".

    Raises:
        UserError: an unknown name or split, or a data set that is not prepared.
    """
    module = preparation.module(dataset.name)
    if hasattr(module, "load"):
        source = module.load(dataset, split)
    else:
        source = _load_prepared(dataset, split)
    return Cached(source) if dataset.cache else source


def _load_prepared(dataset: Any, split: str) -> Source:
    from jaxseg.data.builder import PreparedSource

    data_dir = resolve_data_dir(None, dataset.data_dir)
    directory = preparation.directory(dataset.name, data_dir, dataset.get("builder_config", ""))
    if not preparation.is_prepared(directory):
        source = dataset.get("source", "")
        fix = f"run: jaxseg data prepare {dataset.name} --source {source or 'DIR'}"
        if preparation.takes_any_folder(dataset.name):
            fix = "name yours: --config.dataset.source=DIR"
        raise UserError(f"data set {dataset.name} is not prepared in {data_dir}; {fix}")
    return PreparedSource(directory, split)
