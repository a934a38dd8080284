"""`jaxseg train` and `evaluate`."""

import contextlib
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from jaxseg.cli import flags
from jaxseg.cli.data import split_of


@contextlib.contextmanager
def _stopped_before_training() -> Iterator[None]:
    """SIGTERM ends the program as it does during training, which listens to it itself."""

    def stop(number: int, frame: Any) -> None:
        print("stopped; the same command continues")
        raise SystemExit(0)

    old = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, old)


@_stopped_before_training()
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
    program, state, _ = _open_run(workdir, values["step"].value, config, on_all_devices=True)
    if values["data_dir"].value:
        config.dataset.data_dir = values["data_dir"].value
    from jaxseg import data, hosts
    from jaxseg.evaluators import miou
    from jaxseg.metrics import table

    split = values["split"].value
    data.resolve(config.dataset)
    source = data.load(config.dataset, split_of(config, split))
    result = miou.evaluate(program, config, state, source)
    step = int(state.step)
    if not hosts.is_first():
        return
    path = miou.write_scores({**result, "changes": changes}, split, step, workdir)
    print(f"{workdir}, step {step}, {split}: {result['examples']} images")
    print(table(result))
    print(f"written: {path}")


def _config(workdir: Path, command: str, changes: Sequence[str]) -> Any:
    """The run's config with `changes`; the libraries that compute are set up."""
    from jaxseg.config import check_config, load_config, override_config

    config = override_config(load_config(workdir), command, changes)
    check_config(config)
    flags.set_up()
    return config


def _open_run(workdir: Path, step: str, config: Any, *, on_all_devices: bool = False) -> Any:
    """What evaluation and prediction need of a run: its steps, state and classes."""
    import jax

    from jaxseg import checkpoint
    from jaxseg.data.source import Classes
    from jaxseg.program import build_program

    folder = workdir / "checkpoints"
    number = checkpoint.find(folder, step)
    classes = Classes.from_dict(checkpoint.load_meta(folder, number)["classes"])
    program = build_program(config, classes, announce=print)
    sharding = program.parallel.sharding if on_all_devices else None
    like = jax.eval_shape(program.init_state)
    state, _ = checkpoint.load(folder, number, like, sharding=sharding)
    return program, state, classes
