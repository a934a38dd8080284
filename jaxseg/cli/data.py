"""`jaxseg data`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxseg.cli import flags
from jaxseg.errors import UserError


def data(argv: Sequence[str]) -> None:
    """Prepare a data set, and look at it before training.

    jaxseg data prepare NAME --source DIR [--data_dir DIR]
    jaxseg data show --config FILE[:ARG] --out grid.png [--config.KEY=VALUE ...]
    jaxseg data stats --config FILE[:ARG] [--split train] [--config.KEY=VALUE ...]

      prepare   check local files and store them for TFDS; NAME is a file of jaxseg/data/sets
      show      draw augmented examples with their labels, as training sees them
      stats     count the pixels of each class, and print median-frequency weights
      --data_dir DIR           where prepared data sets live; else config.dataset.data_dir, then
                               TFDS_DATA_DIR, then ~/tensorflow_datasets

    Example:
      jaxseg data prepare camvid --source downloads/camvid
    """
    actions = {"prepare": _prepare, "show": _show, "stats": _stats}
    if not argv or argv[0] not in actions:
        given = repr(argv[0]) if argv else "nothing"
        raise UserError(f"jaxseg data: expected prepare, show or stats, got {given}")
    actions[argv[0]](argv[1:])


def _prepare(argv: Sequence[str]) -> None:
    values = flags.define()
    flags.string(values, "source", "data_dir")
    names = flags.parse(values, "data prepare", argv)
    if len(names) != 1:
        raise UserError(f"jaxseg data prepare: expected one NAME, got {' '.join(names) or 'none'}")
    source = flags.required(values, "data prepare", "source")
    flags.quiet()
    from jaxseg.data import prepare, resolve_data_dir

    print(prepare(names[0], source, resolve_data_dir(values["data_dir"].value, None)))


def _show(argv: Sequence[str]) -> None:
    values = flags.define(config=True)
    flags.string(values, "data_dir", "out")
    config = flags.parse_config(values, "data show", argv)
    out = Path(flags.required(values, "data show", "out"))
    config, source = open_source(config, values["data_dir"].value, "train")
    from jaxseg.data.borders import weigher
    from jaxseg.data.stats import training_grid
    from jaxseg.program import build_program

    program = build_program(config, source.classes, announce=print)
    picture = training_grid(
        source,
        augment=config.augment,
        mean=config.dataset.mean,
        seed=config.seed,
        weigh=weigher(config.loss, source.classes),
        context=program.model.context,
        skipped=_skipped(config),
    )
    try:
        picture.save(out)
    except (OSError, ValueError) as error:
        raise UserError(f"can't write the picture to --out {out}: {error}") from None
    print(f"written: {out}")


def _stats(argv: Sequence[str]) -> None:
    values = flags.define(config=True)
    flags.string(values, "data_dir", split="train")
    config = flags.parse_config(values, "data stats", argv)
    _, source = open_source(config, values["data_dir"].value, values["split"].value)
    from jaxseg.data.stats import measure

    print(measure(source, _skipped(config)).table())


def _skipped(config: Any) -> Any:
    """Gets the examples that can't be read, where the config leaves them out."""
    from jaxseg.data import pipeline

    return pipeline.Skipped(print) if config.pipeline.on_unreadable == "skip" else None


def open_source(config: Any, data_dir: str | None, split: str) -> Any:
    """The checked config, and a split of its data set."""
    flags.quiet()
    from jaxseg import data
    from jaxseg.config import check_config

    if data_dir:
        config.dataset.data_dir = data_dir
    checked = check_config(config)
    if note := data.splits(checked.dataset).note:
        print(note, file=sys.stderr)
    return checked, data.load(checked.dataset, data.split_of(checked.dataset, split))
