"""`jaxseg evaluate`."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxseg.cli import flags


def evaluate(argv: Sequence[str]) -> None:
    """Score a run on a split and write eval/SPLIT/STEP.json.

    jaxseg evaluate --workdir DIR [--split val] [--step best|latest|N] [--config.KEY=VALUE ...]

      --workdir DIR            a folder that `jaxseg train` made
      --split SPLIT            val (default), train, or any TFDS split such as test
      --step STEP              best (by validation mIoU, the default), latest or a number
      --data_dir DIR           where prepared data sets live, before TFDS_DATA_DIR
      --allow_other_classes    go on although the split's classes have other names than the run's
      --distributed            several processes share the work, as in `jaxseg train`
      --config.KEY=VALUE       evaluate with another value than the run's; the file's name says so

    Example:
      jaxseg evaluate --workdir runs/voc --split val --config.model.output_stride=8
    """
    values = flags.define()
    flags.string(values, "workdir", "data_dir", split="val", step="best")
    flags.boolean(values, "allow_other_classes")
    flags.processes(values)
    argv, changes = flags.split_overrides(argv)
    flags.no_rest("evaluate", flags.parse(values, "evaluate", argv))
    workdir = Path(flags.required(values, "evaluate", "workdir"))
    flags.set_up()
    flags.connect(values, "evaluate")
    from jaxseg import hosts, signals

    # connecting gave SIGTERM to JAX, which would have all processes save something first
    with signals.end_command(), hosts.failing_together():
        _evaluate(values, workdir, changes)


def _evaluate(values: Any, workdir: Path, changes: Sequence[str]) -> None:
    from jaxseg import data, evaluation, hosts, runs
    from jaxseg.metrics import table

    run = runs.open_run(
        workdir,
        values["step"].value,
        changes=changes,
        command="evaluate",
        on_all_devices=True,
        announce=hosts.announce,
    )
    dataset = run.config.dataset
    if values["data_dir"].value:
        dataset = dataclasses.replace(dataset, data_dir=values["data_dir"].value)
    split = values["split"].value
    named = data.split_of(dataset, split)
    source = data.load(dataset, named)
    runs.check_classes(
        run.classes,
        source.classes,
        what=f"{dataset.name}, split {split}",
        allow=values["allow_other_classes"].value,
    )
    runs.check_same_share(dataset, split, workdir)
    scores = evaluation.evaluate(run.program, run.config, run.state, source)
    if not hosts.is_first():
        return
    path = evaluation.write_scores(scores, split, run.step, workdir, changes)
    which = split if named == split else f"{split} ({named})"
    print(f"{workdir}, step {run.step}, {which}: {scores['examples']} images")
    print(table(scores))
    print(f"written: {path}")
