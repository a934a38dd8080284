"""`jaxseg evaluate`."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jaxseg.cli import flags
from jaxseg.errors import UserError

MODES = ("predictions", "rank", "fit_temperature")


def evaluate(argv: Sequence[str]) -> None:
    """Score a run on a split and write eval/SPLIT/STEP.json.

    jaxseg evaluate --workdir DIR [--split val] [--step best|latest|N] [--evals NAME,NAME...]
        [--predictions MASKS | --rank | --fit_temperature] [--config.KEY=VALUE ...]

      --workdir DIR            a folder that `jaxseg train` made
      --split SPLIT            val (default), train, or any TFDS split such as test
      --step STEP              best (by config.best_metric, the default), latest or a number
      --evals NAME,NAME...     what to measure, instead of config.evals:
                               miou         of all images together; always among them
                               per_image    mean over images, their worst 5 %, 95 % intervals
                               boundary     near contours: trimap, boundary F-score and IoU
                               medical      Dice and Hausdorff 95 of images
                               membranes    pixel error, Rand and information scores of cells
                               calibration  whether probabilities are shares of right pixels
                               checkerboard what upsampling leaves in the probabilities
      --predictions MASKS      score a folder of NAME.png masks that any program made, with the
                               run's data and rules; writes eval/SPLIT/masks-FOLDER.json
      --rank                   instead of scores, list where model and label disagree most
                               confidently (label errors?) and write eval/SPLIT/STEP-rank.json,
                               which `jaxseg report` shows first
      --fit_temperature        instead of scores, find the temperature that calibrates
                               probabilities on the split and write DIR/temperature.json
      --data_dir DIR           where prepared data sets live, before TFDS_DATA_DIR
      --allow_other_classes    go on although the split's classes have other names than the run's
      --distributed            several processes share the work, as in `jaxseg train`
      --config.KEY=VALUE       evaluate with another value than the run's; the file's name says so

    Example:
      jaxseg evaluate --workdir runs/voc --split val --evals miou,per_image,boundary
    """
    values = flags.define()
    flags.string(values, "workdir", "data_dir", "evals", "predictions", split="val", step="best")
    flags.boolean(values, "allow_other_classes", "rank", "fit_temperature")
    flags.processes(values)
    argv, changes = flags.split_overrides(argv)
    flags.no_rest("evaluate", flags.parse(values, "evaluate", argv))
    workdir = Path(flags.required(values, "evaluate", "workdir"))
    if evals := values["evals"].value:
        names = [name.strip() for name in evals.split(",")]
        names = tuple(dict.fromkeys(["miou", *names]))  # tables and curves show mIoU
        changes = [*changes, f"--config.evals={names}"]
    modes = [mode for mode in MODES if values[mode].value]
    if len(modes) > 1:
        raise UserError(f"evaluate does one thing at a time: --{modes[0]} or --{modes[1]}")
    flags.set_up()
    flags.connect(values, "evaluate")
    from jaxseg import hosts, signals

    # connecting gave SIGTERM to JAX, which would have all processes save something first
    with signals.end_command(), hosts.failing_together():
        hosts.wait("the evaluation begins")
        run = {"predictions": _masks, "rank": _rank, "fit_temperature": _fit_temperature}
        run.get(modes[0] if modes else "", _scores)(values, workdir, changes)


def _scores(values: Any, workdir: Path, changes: Sequence[str]) -> None:
    from jaxseg import evaluation, hosts

    run, source, which = _open(values, workdir, changes)
    scores = evaluation.evaluate(
        run.program, run.config, run.state, source, announce=hosts.tell, watch=_bar(len(source))
    )
    if not hosts.is_first():
        return
    split = values["split"].value
    path = evaluation.write_scores(scores, split, run.step, workdir, changes)
    print(f"{workdir}, step {run.step}, {which}: {scores['examples']} images")
    _print_tables(run.program.evaluators, scores)
    print(f"written: {path}")


def _fit_temperature(values: Any, workdir: Path, changes: Sequence[str]) -> None:
    from jaxseg import hosts, temperature

    run, source, which = _open(values, workdir, changes)
    fitted = temperature.fit(
        run.program, run.config, run.state, source, announce=hosts.tell, watch=_bar(len(source))
    )
    if not hosts.is_first():
        return
    path = temperature.store(workdir, fitted, run.step, values["split"].value)
    print(
        f"{workdir}, step {run.step}, {which}: {fitted['examples']} images\n"
        f"temperature {fitted['temperature']:.4f}: negative log-likelihood "
        f"{fitted['nll_before']:.4f} -> {fitted['nll']:.4f} nats per pixel\nwritten: {path}"
    )


def _rank(values: Any, workdir: Path, changes: Sequence[str]) -> None:
    from jaxseg import hosts, ranking

    if changes:
        raise UserError(f"--rank ranks with the run's own config, but got {changes[0]}")
    run, source, which = _open(values, workdir, changes, on_all_devices=False)
    ranked = ranking.rank(
        run.program, run.config, run.state, source, announce=hosts.tell, watch=_bar(len(source))
    )
    if not hosts.is_first():
        return
    path = ranking.write(ranked, workdir, values["split"].value, run.step)
    print(f"{workdir}, step {run.step}, {which}: {ranked['examples']} images")
    print(ranking.table(ranked))
    print(f"written: {path}")


def _masks(values: Any, workdir: Path, changes: Sequence[str]) -> None:
    from jaxseg import evaluation, hosts, masks
    from jaxseg.config import check_config, load_config
    from jaxseg.overrides import override_config

    config = check_config(override_config(load_config(workdir), "evaluate", changes))
    folder, split = Path(values["predictions"].value), values["split"].value
    source, which = _data(_dataset(values, config), split)
    scores, evaluators = masks.evaluate(
        folder, config, source, announce=hosts.tell, watch=_bar(len(source))
    )
    if not hosts.is_first():
        return
    path = evaluation.write_scores(
        scores, split, f"masks-{folder.resolve().name}", workdir, changes
    )
    print(f"{folder}, {which}: {scores['examples']} images")
    _print_tables(evaluators, scores)
    print(f"written: {path}")


def _open(
    values: Any, workdir: Path, changes: Sequence[str], *, on_all_devices: bool = True
) -> tuple[Any, Any, str]:
    """The run, the split, and what that is called."""
    from jaxseg import hosts, runs

    run = runs.open_run(
        workdir,
        values["step"].value,
        changes=changes,
        command="evaluate",
        on_all_devices=on_all_devices,
        announce=hosts.announce,
    )
    dataset, split = _dataset(values, run.config), values["split"].value
    source, which = _data(dataset, split)
    runs.check_classes(
        run.classes,
        source.classes,
        what=f"{dataset.name}, split {split}",
        allow=values["allow_other_classes"].value,
    )
    runs.check_same_share(dataset, split, workdir)
    return run, source, which


def _dataset(values: Any, config: Any) -> Any:
    data_dir = values["data_dir"].value
    return dataclasses.replace(config.dataset, data_dir=data_dir) if data_dir else config.dataset


def _data(dataset: Any, split: str) -> tuple[Any, str]:
    """A split, and what it is called."""
    from jaxseg import data

    named = data.split_of(dataset, split)
    return data.load(dataset, named), split if named == split else f"{split} ({named})"


def _bar(total: int) -> Callable[[Any], Any]:
    """Shows on the first process's stderr how many of `total` images have gone by.

    What it watches are the first process's examples, or batches of them; the others' go by as fast.
    """
    import jax
    from tqdm import tqdm

    from jaxseg import hosts

    def watch(passing: Any) -> Any:
        shown = None if hosts.is_first() else True
        with tqdm(total=total, unit="image", disable=shown, leave=False) as bar:
            for each in passing:
                yield each
                own = int(each.mask.sum()) if hasattr(each, "mask") else 1
                bar.update(min(own * jax.process_count(), total - bar.n))

    return watch


def _print_tables(evaluators: Any, scores: Any) -> None:
    for number, evaluator in enumerate(evaluators.values()):
        print("\n" * (number > 0) + evaluator.table(scores))
