"""`jaxseg data`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxseg.cli import flags
from jaxseg.errors import IncompleteError, UserError


def data(argv: Sequence[str]) -> None:
    """Prepare a data set, and look at it before training.

    jaxseg data prepare NAME --source PATH [--source PATH ...] [--data_dir DIR]
    jaxseg data prepare tfds --builder NAME [--source DIR] [--data_dir DIR]
    jaxseg data check --config FILE[:ARG] [--out suspects.png] [--config.KEY=VALUE ...]
    jaxseg data show --config FILE[:ARG] --out grid.png [--count N] [--config.KEY=VALUE ...]
    jaxseg data stats --config FILE[:ARG] [--split train] [--config.KEY=VALUE ...]

      prepare   check local files and store them for TFDS; NAME is a file of jaxseg/data/sets,
                PATH its folder, or a zip or tar file; name each if there are several, or the
                folder that holds them
                tfds: download and prepare a set of TFDS's catalogue, by TensorFlow
      check     read all splits once: unreadable files, wrong labels, images that are in two splits,
                classes that never occur, statistics; exit code 1 if anything is wrong. --out draws
                what is suspect
      show      draw examples of every class, rare classes first: image and labels, as they are
                and as training augments them. --count says how many, else as many as it takes
      stats     count the pixels of each class, and print the class weights that follow
      --data_dir DIR           where prepared data sets live; else config.dataset.data_dir, then
                               TFDS_DATA_DIR, then ~/tensorflow_datasets

    Example:
      jaxseg data prepare camvid --source downloads/camvid
    """
    actions = {"prepare": _prepare, "check": _check, "show": _show, "stats": _stats}
    if not argv or argv[0] not in actions:
        given = repr(argv[0]) if argv else "nothing"
        raise UserError(f"jaxseg data: expected prepare, check, show or stats, got {given}")
    actions[argv[0]](argv[1:])


def _prepare(argv: Sequence[str]) -> None:
    values = flags.define()
    flags.strings(values, "source")
    flags.string(values, "data_dir", "builder")
    names = flags.parse(values, "data prepare", argv)
    if len(names) != 1:
        raise UserError(f"jaxseg data prepare: expected one NAME, got {' '.join(names) or 'none'}")
    flags.quiet()
    from jaxseg.data import catalogue, prepare, resolve_data_dir

    data_dir = resolve_data_dir(values["data_dir"].value, None)
    if names[0] == "tfds":
        builder = flags.required(values, "data prepare", "builder")
        given = values["source"].value or []
        if len(given) > 1:
            raise UserError(
                f"data prepare tfds: --source is given {len(given)} times, expected once: the "
                "folder of what TFDS can't download itself"
            )
        print(catalogue.prepare(builder, given[0] if given else None, data_dir))
        return
    source = flags.required(values, "data prepare", "source")
    print(prepare(names[0], source, data_dir))


def _check(argv: Sequence[str]) -> None:
    values = flags.define(config=True)
    flags.string(values, "data_dir", "out")
    config = flags.parse_config(values, "data check", argv)
    flags.quiet()
    from jaxseg.data import audit, suspects, verdict
    from jaxseg.data.faults import FaultsError

    out = values["out"].value
    try:
        checked, splits = _all_splits(config, values["data_dir"].value)
    except FaultsError as error:
        _draw(suspects.draw_faults(error.faults), out)
        raise IncompleteError(str(error)) from error
    read = [audit.read_split(name, source) for name, source in splits.items()]
    found = verdict.findings(read, checked.dataset, from_weights=bool(checked.init_from))
    print(verdict.table(read))
    for finding in found:
        print(f"{'wrong' if finding.is_wrong else 'note'}: {finding.text}")
    _draw(suspects.draw_findings(found), out)
    if count := sum(finding.is_wrong for finding in found):
        raise IncompleteError(f"{count} thing{'s' * (count > 1)} to repair, see above")
    print("nothing is wrong")


def _all_splits(config: Any, data_dir: str | None) -> tuple[Any, dict[str, Any]]:
    """The checked config, and the splits to train and validate on and others beside them."""
    from jaxseg import data

    checked, train = open_source(config, data_dir, "train")
    names = data.splits(checked.dataset)
    splits = {names.train: train, names.val: data.load(checked.dataset, names.val)}
    for other in data.others(checked.dataset):
        splits[other] = data.load(checked.dataset, other)
    return checked, splits


def _draw(picture: Any, out: str | None) -> None:
    if picture is not None and out:
        _save(picture, out)


def _show(argv: Sequence[str]) -> None:
    values = flags.define(config=True)
    flags.string(values, "data_dir", "out", "count")
    config = flags.parse_config(values, "data show", argv)
    out = Path(flags.required(values, "data show", "out"))
    count = flags.count(values, "data show", "count") if values["count"].value else None
    if count == 0:
        raise UserError("data show: --count is 0, expected 1 or more")
    config, source = open_source(config, values["data_dir"].value, "train")
    from jaxseg.data.borders import weigher
    from jaxseg.data.contact_sheet import contact_sheet
    from jaxseg.data.selection import select
    from jaxseg.ops.norm import GLOBAL
    from jaxseg.program import build_model, check_parts

    check_parts(config)
    model = build_model(config, len(source.classes), GLOBAL)
    skipped = _skipped(config)
    selection = select(source, count, skipped)
    picture = contact_sheet(
        source,
        selection,
        augment=config.augment,
        mean=config.dataset.mean,
        bits=config.dataset.bits,
        seed=config.seed,
        weigh=weigher(config.loss, source.classes),
        context=model.context,
        skipped=skipped,
    )
    print(selection.about(source.classes.names, len(source)))
    _save(picture, out)


def _save(picture: Any, out: str | Path) -> None:
    try:
        picture.save(out)
    except (OSError, ValueError) as error:
        raise UserError(f"can't write the picture to --out {out}: {error}") from None
    print(f"written: {out}")


def _stats(argv: Sequence[str]) -> None:
    values = flags.define(config=True)
    flags.string(values, "data_dir", split="train")
    config = flags.parse_config(values, "data stats", argv)
    split = values["split"].value
    config, source = open_source(config, values["data_dir"].value, split)
    from jaxseg.data import split_of, stats

    split = split_of(config.dataset, split)
    if (counted := stats.stored(config.dataset, split, source.classes)) is None:
        skipped = _skipped(config)
        counted = stats.measure(source, skipped)
        if not skipped:
            stats.store(config.dataset, split, counted)
    print(counted.table())


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
