"""`jaxseg train`, `evaluate` and `predict`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxseg.cli import flags
from jaxseg.cli.data import split_of


def train(argv: Sequence[str]) -> None:
    """Train a model, evaluating when due, and continue by itself from the last checkpoint.

    jaxseg train --config FILE[:MODEL[,KEY=VALUE...]] --workdir DIR [--config.KEY=VALUE ...]

      --config FILE[:ARG]      a file of configs/; ARG is a model of jaxseg/models and its options
      --config.KEY=VALUE       change one value, for example --config.schedule.learning_rate=0.02
      --workdir DIR            where everything goes: config.json, metrics.jsonl, tensorboard/,
                               checkpoints/, eval/, predictions/
      --data_dir DIR           where prepared data sets live, before TFDS_DATA_DIR
      --distributed            several processes make one run: Slurm, Open MPI or Kubernetes says
                               which; or each gets --coordinator_address=HOST:PORT (of the first),
                               --num_processes=N and --process_id=0..N-1
      --allow_config_change    continue a run although its config differs
      --profile                write a trace of a few steps to DIR/profile, for TensorBoard or
                               Perfetto; config.profile says which
      --print_config           print every key and value, and stop

    Example:
      jaxseg train --config configs/camvid.py:deeplabv3plus,backbone=resnet50 --workdir runs/camvid
    """
    values = flags.define(config=True)
    flags.string(values, "workdir", "data_dir")
    flags.boolean(values, "allow_config_change", "print_config", "profile")
    flags.processes(values)
    config = flags.parse_config(values, "train", argv)
    if values["print_config"].value:
        print(config)
        return
    workdir = flags.required(values, "train", "workdir")
    if values["data_dir"].value:
        config.dataset.data_dir = values["data_dir"].value
    flags.set_up()
    flags.connect(values, "train")
    from jaxseg.train import train_and_evaluate

    train_and_evaluate(
        config,
        Path(workdir),
        allow_config_change=values["allow_config_change"].value,
        profile=values["profile"].value,
    )


def evaluate(argv: Sequence[str]) -> None:
    """Score a run on a split and write eval/SPLIT.json.

    jaxseg evaluate --workdir DIR [--split val] [--step best|latest|N] [--config.KEY=VALUE ...]

      --workdir DIR            a folder that `jaxseg train` made
      --split SPLIT            val (default), train, or any TFDS split such as test
      --step STEP              best (by validation mIoU, the default), latest or a number
      --data_dir DIR           where prepared data sets live, before TFDS_DATA_DIR
      --distributed            several processes share the work, as in `jaxseg train`
      --config.KEY=VALUE       evaluate with another value than the run's; eval/SPLIT.json says so

    Example:
      jaxseg evaluate --workdir runs/voc --split val --config.model.output_stride=8
    """
    values = flags.define()
    flags.string(values, "workdir", "data_dir", split="val", step="best")
    flags.processes(values)
    argv, changes = flags.split_overrides(argv)
    flags.no_rest("evaluate", flags.parse(values, "evaluate", argv))
    workdir = Path(flags.required(values, "evaluate", "workdir"))
    config = _config(workdir, "evaluate", changes)
    flags.connect(values, "evaluate")
    if values["data_dir"].value:
        config.dataset.data_dir = values["data_dir"].value
    from jaxseg import hosts, signals

    # connecting gave SIGTERM to JAX, which would have all processes save something first
    with signals.end_command(), hosts.failing_together():
        _evaluate(config, workdir, values["split"].value, values["step"].value, changes)


def _evaluate(config: Any, workdir: Path, split: str, step: str, changes: Sequence[str]) -> None:
    program, state, _ = _open_run(workdir, step, config, on_all_devices=True)
    from jaxseg import data, hosts
    from jaxseg.evaluators import miou
    from jaxseg.metrics import table

    data.resolve(config.dataset)
    source = data.load(config.dataset, split_of(config, split))
    result = miou.evaluate(program, config, state, source, announce=hosts.tell)
    if not hosts.is_first():
        return
    number = int(state.step)
    path = miou.write_scores({**result, "changes": changes}, split, number, workdir)
    print(f"{workdir}, step {number}, {split}: {result['examples']} images")
    print(table(result))
    print(f"written: {path}")


def predict(argv: Sequence[str]) -> None:
    """Label every pixel of your own images, of any size and kind.

    jaxseg predict --workdir DIR --out OUT [--step best|latest|N] [--config.KEY=VALUE ...] PATH...

      --workdir DIR            a folder that `jaxseg train` made
      --out OUT                gets NAME.png (class indices, with a palette) and NAME_overlay.png
      --step STEP              best (by validation mIoU, the default), latest or a number
      --config.KEY=VALUE       predict with another value than the run's
      PATH...                  images, or folders of images

    Example:
      jaxseg predict --workdir runs/quickstart --out out photo.jpg folder/
    """
    values = flags.define()
    flags.string(values, "workdir", "out", step="best")
    argv, changes = flags.split_overrides(argv)
    paths = flags.parse(values, "predict", argv)
    workdir = Path(flags.required(values, "predict", "workdir"))
    out = Path(flags.required(values, "predict", "out"))
    from jaxseg import predict as prediction

    files = prediction.find_images(paths, out)
    config = _config(workdir, "predict", changes)
    program, state, classes = _open_run(workdir, values["step"].value, config)
    prediction.predict_files(program, config, state, classes, files, out)
    print(f"{len(files)} images: masks and overlays in {out}")


def _config(workdir: Path, command: str, changes: Sequence[str]) -> Any:
    """The run's config with `changes`; the libraries that compute are set up."""
    from jaxseg.config import check_config, load_config, override_config

    config = override_config(load_config(workdir), command, changes)
    check_config(config)
    flags.set_up()
    return config


def _announce(text: str) -> None:
    """Progress, on stderr: stdout is for results. The first process speaks for all."""
    from jaxseg import hosts

    if hosts.is_first():
        print(text, file=sys.stderr, flush=True)


def _open_run(workdir: Path, step: str, config: Any, *, on_all_devices: bool = False) -> Any:
    """What evaluation and prediction need of a run: its steps, state and classes."""
    import jax

    from jaxseg import checkpoint
    from jaxseg.data.source import Classes
    from jaxseg.program import build_program

    folder = workdir / "checkpoints"
    number = checkpoint.find(folder, step)
    classes = Classes.from_dict(checkpoint.load_meta(folder, number)["classes"])
    program = build_program(config, classes, announce=_announce)
    sharding = program.parallel.sharding if on_all_devices else None
    like = jax.eval_shape(program.init_state)
    state, _ = checkpoint.load(folder, number, like, sharding=sharding)
    return program, state, classes
