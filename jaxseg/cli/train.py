"""`jaxseg train`."""

from collections.abc import Sequence
from pathlib import Path

from jaxseg.cli import flags


def train(argv: Sequence[str]) -> None:
    """Train a model, evaluating when due, and continue by itself from the last checkpoint.

    jaxseg train --config FILE[:MODEL[,KEY=VALUE...]] --workdir DIR [--config.KEY=VALUE ...]

      --config FILE[:ARG]      a file of configs/; ARG is a model of jaxseg/models and its options
      --config.KEY=VALUE       change one value, for example --config.schedule.learning_rate=0.02
      --workdir DIR            where everything goes: config.json, run.json, metrics.jsonl,
                               tensorboard/, checkpoints/, eval/, predictions/
      --data_dir DIR           where prepared data sets live, before TFDS_DATA_DIR
      --distributed            several processes make one run: Slurm, Open MPI or Kubernetes says
                               which; or each gets --coordinator_address=HOST:PORT (of the first),
                               --num_processes=N and --process_id=0..N-1
      --allow_config_change    continue a run although its config differs
      --allow_other_classes    continue a run although its data's classes have other names
      --profile                write a trace of a few steps to DIR/profile, for TensorBoard or
                               Perfetto; config.profile says which
      --print_config           print every key and value, and stop

    Example:
      jaxseg train --config configs/camvid.py:deeplabv3plus,backbone=resnet50 --workdir runs/camvid
    """
    values = flags.define(config=True)
    flags.string(values, "workdir", "data_dir")
    flags.boolean(values, "allow_config_change", "allow_other_classes", "print_config", "profile")
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
    from jaxseg.training import train_and_evaluate

    train_and_evaluate(
        config,
        Path(workdir),
        allow_config_change=values["allow_config_change"].value,
        allow_other_classes=values["allow_other_classes"].value,
        profile=values["profile"].value,
    )
