"""The command `jaxseg`. Each part imports what it needs when it runs: help is instant."""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jaxseg.errors import UserError, suggest

HELP = """\
jaxseg: train, evaluate and look at segmentation networks in JAX

  jaxseg train     train a model from a config, or continue a run
  jaxseg evaluate  score a run on a split: per-class IoU
  jaxseg predict   masks and overlays for your own images
  jaxseg data      prepare a data set, show what training sees, count its classes

Example:
  jaxseg train --config configs/quickstart.py --workdir runs/quickstart

`jaxseg COMMAND --help` says more.
"""


def train(argv: Sequence[str]) -> None:
    """Train a model, evaluating when due, and continue by itself from the last checkpoint.

    jaxseg train --config FILE[:MODEL[,KEY=VALUE...]] --workdir DIR [--config.KEY=VALUE ...]

      --config FILE[:ARG]      a file of configs/; ARG is a model of jaxseg/models and its options
      --config.KEY=VALUE       change one value, for example --config.schedule.learning_rate=0.02
      --workdir DIR            where everything goes: config.json, metrics.jsonl, tensorboard/,
                               checkpoints/, eval/, predictions/
      --data_dir DIR           where prepared data sets live, before TFDS_DATA_DIR
      --allow_config_change    continue a run although its config differs
      --print_config           print every key and value, and stop

    Example:
      jaxseg train --config configs/camvid.py:deeplabv3plus,backbone=resnet50 --workdir runs/camvid
    """
    values = _flags(config=True)
    _string(values, "workdir", "data_dir")
    _boolean(values, "allow_config_change", "print_config")
    config = _parse_config(values, "train", argv)
    if values["print_config"].value:
        print(config)
        return
    workdir = _required(values, "train", "workdir")
    if values["data_dir"].value:
        config.dataset.data_dir = values["data_dir"].value
    _quiet()
    from jaxseg.train import train_and_evaluate

    train_and_evaluate(
        config, Path(workdir), allow_config_change=values["allow_config_change"].value
    )


def evaluate(argv: Sequence[str]) -> None:
    """Score a run on a split and write eval/SPLIT.json.

    jaxseg evaluate --workdir DIR [--split val] [--step best|latest|N] [--data_dir DIR]

      --workdir DIR            a folder that `jaxseg train` made
      --split SPLIT            val (default), train, or any TFDS split such as test
      --step STEP              best (by validation mIoU, the default), latest or a number
      --data_dir DIR           where prepared data sets live, before TFDS_DATA_DIR

    Example:
      jaxseg evaluate --workdir runs/quickstart --split val --step best
    """
    values = _flags()
    _string(values, "workdir", "data_dir", split="val", step="best")
    _no_rest("evaluate", _parse(values, "evaluate", argv))
    workdir = Path(_required(values, "evaluate", "workdir"))
    run, config, state, _ = _open_run(workdir, values["step"].value)
    if values["data_dir"].value:
        config.dataset.data_dir = values["data_dir"].value
    from jaxseg import data
    from jaxseg.evaluators import miou
    from jaxseg.metrics import table

    split = values["split"].value
    data.resolve(config.dataset)
    source = data.load(config.dataset, _split_of(config, split))
    result = miou.evaluate(run, config, state, source)
    step = int(state.step)
    path = miou.write_scores(result, split, step, workdir)
    print(f"{workdir}, step {step}, {split}: {result['examples']} images")
    print(table(result))
    print(f"written: {path}")


def predict(argv: Sequence[str]) -> None:
    """Label every pixel of your own images, of any size and kind.

    jaxseg predict --workdir DIR --out OUT [--step best|latest|N] PATH...

      --workdir DIR            a folder that `jaxseg train` made
      --out OUT                gets NAME.png (class indices, with a palette) and NAME_overlay.png
      --step STEP              best (by validation mIoU, the default), latest or a number
      PATH...                  images, or folders of images

    Example:
      jaxseg predict --workdir runs/quickstart --out out photo.jpg folder/
    """
    values = _flags()
    _string(values, "workdir", "out", step="best")
    paths = _parse(values, "predict", argv)
    workdir = Path(_required(values, "predict", "workdir"))
    out = Path(_required(values, "predict", "out"))
    from jaxseg import predict as prediction

    files = prediction.find_images(paths, out)
    run, config, state, classes = _open_run(workdir, values["step"].value)
    prediction.predict_files(run, config, state, classes, files, out)
    print(f"{len(files)} images: masks and overlays in {out}")


def data(argv: Sequence[str]) -> None:
    """Prepare a data set, and look at it before training.

    jaxseg data prepare NAME --source DIR [--data_dir DIR]
    jaxseg data show --config FILE[:ARG] --out grid.png [--config.KEY=VALUE ...]
    jaxseg data stats --config FILE[:ARG] [--split train] [--config.KEY=VALUE ...]

      prepare   check local files and store them for TFDS; NAME is a file of jaxseg/data
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
    values = _flags()
    _string(values, "source", "data_dir")
    names = _parse(values, "data prepare", argv)
    if len(names) != 1:
        raise UserError(f"jaxseg data prepare: expected one NAME, got {' '.join(names) or 'none'}")
    source = _required(values, "data prepare", "source")
    _quiet()
    from jaxseg.data import prepare, resolve_data_dir

    print(prepare(names[0], source, resolve_data_dir(values["data_dir"].value, None)))


def _show(argv: Sequence[str]) -> None:
    values = _flags(config=True)
    _string(values, "data_dir", "out")
    config = _parse_config(values, "data show", argv)
    out = Path(_required(values, "data show", "out"))
    source = _source(config, values["data_dir"].value, "train")
    from jaxseg.data.stats import training_grid

    picture = training_grid(
        source, augment=config.augment, mean=config.dataset.mean, seed=config.seed
    )
    try:
        picture.save(out)
    except (OSError, ValueError) as error:
        raise UserError(f"can't write the picture to --out {out}: {error}") from None
    print(f"written: {out}")


def _stats(argv: Sequence[str]) -> None:
    values = _flags(config=True)
    _string(values, "data_dir", split="train")
    config = _parse_config(values, "data stats", argv)
    source = _source(config, values["data_dir"].value, values["split"].value)
    from jaxseg.data.stats import measure

    print(measure(source).table())


COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {
    "train": train,
    "evaluate": evaluate,
    "predict": predict,
    "data": data,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 2 for wrong input, 1 for a run that failed."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("--help", "-h", "help"):
        print(HELP, end="")
        return 0
    name, rest = argv[0], argv[1:]
    try:
        if name not in COMMANDS:
            raise UserError(f"no command {name!r}; {suggest(name, COMMANDS)}")
        if {"--help", "-help", "-h"} & set(rest):
            print(_help(COMMANDS[name]), end="")
            return 0
        COMMANDS[name](rest)
    except UserError as error:
        print(f"jaxseg: error: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:  # a full disk, a folder without permission: it names itself
        print(f"jaxseg: error: {error.strerror}: {error.filename}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("jaxseg: interrupted", file=sys.stderr)
        return 130
    return 0


def _help(command: Callable) -> str:
    import inspect

    return inspect.getdoc(command) + "\n"  # pyright: ignore[reportOptionalOperand]


def _flags(*, config: bool = False) -> Any:
    from absl import flags

    values = flags.FlagValues()
    if config:
        from jaxseg.config import define_flag

        define_flag(values)
    return values


def _string(values: Any, *names: str, **defaults: str) -> None:
    from absl import flags

    for name in (*names, *defaults):
        flags.DEFINE_string(name, defaults.get(name), "", flag_values=values)


def _boolean(values: Any, *names: str) -> None:
    from absl import flags

    for name in names:
        flags.DEFINE_boolean(name, False, "", flag_values=values)


def _parse(values: Any, command: str, argv: Sequence[str]) -> list[str]:
    from jaxseg.config import parse_flags

    return parse_flags(values, command, argv)


def _parse_config(values: Any, command: str, argv: Sequence[str]) -> Any:
    """The locked config of `--config`, with its overrides."""
    _no_rest(command, _parse(values, command, argv))
    return _required(values, command, "config")


def _required(values: Any, command: str, name: str) -> Any:
    value = values[name].value
    if not value:
        raise UserError(f"{command} needs --{name}; `jaxseg {command} --help` shows an example")
    return value


def _no_rest(command: str, rest: Sequence[str]) -> None:
    if rest:
        raise UserError(f"{command} takes flags only, got {' '.join(rest)}: did you forget `--`?")


def _source(config: Any, data_dir: str | None, split: str) -> Any:
    _quiet()
    from jaxseg import data

    if data_dir:
        config.dataset.data_dir = data_dir
    data.resolve(config.dataset)
    return data.load(config.dataset, _split_of(config, split))


def _split_of(config: Any, split: str) -> str:
    """`train` and `val` mean what the config trains and validates on."""
    return {"train": config.dataset.train_split, "val": config.dataset.val_split}.get(split, split)


def _open_run(workdir: Path, step: str) -> Any:
    """What evaluation and prediction need of a run: its steps, config, state and classes."""
    from jaxseg import config as configs

    config = configs.load(workdir)
    _quiet()
    import jax

    from jaxseg import checkpoint, experiment
    from jaxseg.data.source import Classes

    folder = workdir / "checkpoints"
    number = checkpoint.find(folder, step)
    classes = Classes.from_dict(checkpoint.load_meta(folder, number)["classes"])
    run = experiment.build(config, classes, announce=print)
    state, _ = checkpoint.load(folder, number, like=jax.eval_shape(run.init_state))
    return run, config, run.parallel.replicate(state), classes


def _quiet() -> None:
    """Libraries' chatter off; what matters to a person, jaxseg says itself."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from absl import logging

    logging.set_verbosity(logging.ERROR)


if __name__ == "__main__":
    sys.exit(main())
