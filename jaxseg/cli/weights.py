"""`jaxseg weights`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxseg.cli import flags
from jaxseg.errors import UserError


def weights(argv: Sequence[str]) -> None:
    """Inspect other people's weights, and convert them into a run.

    jaxseg weights inspect SOURCE
    jaxseg weights convert SOURCE --workdir DIR [--config FILE[:ARG]] [--config.KEY=VALUE ...]

      inspect   print what network SOURCE is, the model and flags it needs, and a table of entries
      convert   write a run to DIR at step 0, for `jaxseg predict`: of the network and the classes
                that SOURCE is of, such as ImageNet's; or, for `evaluate` too, of the model and the
                data set of --config.
                To train from SOURCE, use jaxseg train --config.init_from=SOURCE instead
      SOURCE    a file (safetensors, .npz, Keras .h5 or .keras, PyTorch .pth), the folder of a run
                (DIR, DIR@STEP, DIR@latest), or hf://ORG/NAME[@REVISION][/FILE] on the hub
      --data_dir DIR           folder of the prepared data sets; the run takes its class names there

    Example:
      jaxseg weights inspect hf://timm/resnet50.tv_in1k
    """
    actions = {"inspect": _inspect, "convert": _convert}
    if not argv or argv[0] not in actions:
        given = repr(argv[0]) if argv else "nothing"
        raise UserError(f"jaxseg weights: expected inspect or convert, got {given}")
    actions[argv[0]](argv[1:])


def _source(command: str, words: Sequence[str]) -> str:
    if len(words) != 1:
        raise UserError(f"{command}: expected one SOURCE, got {' '.join(words) or 'none'}")
    return words[0]


def _inspect(argv: Sequence[str]) -> None:
    source = _source("weights inspect", flags.parse(flags.define(), "weights inspect", argv))
    flags.quiet()
    from jaxseg import pretrained
    from jaxseg.weights import inspect

    if pretrained.is_run(source):
        lines = inspect.describe_run(pretrained.load(source))
    else:
        lines = inspect.describe(source)
    for line in lines:
        print(line)


def _convert(argv: Sequence[str]) -> None:
    values = flags.define(config=True)
    flags.string(values, "workdir", "data_dir")
    changes: list[str] = []
    if not any(word.split("=")[0] in ("--config", "-config") for word in argv):
        argv, changes = flags.split_overrides(argv)
    source = _source("weights convert", flags.parse(values, "weights convert", argv))
    config = values["config"].value
    workdir = Path(flags.required(values, "weights convert", "workdir"))
    flags.quiet()
    from jaxseg import checkpoint, initial, runs
    from jaxseg.config import store_config
    from jaxseg.defaults import to_dict
    from jaxseg.lock import locked
    from jaxseg.program import build_program

    if checkpoint.steps(workdir / "checkpoints"):
        raise UserError(f"--workdir {workdir} holds a run already: choose another folder")
    if config is None:
        config, classes, imported = _as_itself(source, changes)
    else:
        config.dataset.data_dir = values["data_dir"].value or config.dataset.data_dir
        config, classes, imported = _as_config_says(source, config)
    program = build_program(config, classes, announce=print)
    state, report = initial.with_weights(program, config, imported)
    print(report)
    more = ", ..." if len(classes) > 5 else ""
    print(f"{len(classes)} classes: {', '.join(classes.names[:5])}{more}")
    if heads := sorted(set(imported.heads) & set(report.fresh)):
        print(
            f"warning: {', '.join(heads)} begins at random, for {config.dataset.name} has other "
            "classes: predictions mean nothing before training. Without --config, the run takes "
            "the classes of the weights"
        )
    with locked(workdir):
        store_config(config, workdir)
        checkpoints = checkpoint.Checkpoints(
            workdir / runs.CHECKPOINTS, keep=config.checkpoint.keep, announce=print
        )
        meta = {"step": 0, "config": to_dict(config), "classes": classes.to_dict()}
        checkpoints.save(state, {**meta, "folded": imported.folded})
        checkpoints.close()
    print(f"written: {workdir}")
    print(f"next:    jaxseg predict --workdir {workdir} --out masks IMAGE_OR_FOLDER ...")


def _as_itself(source: str, changes: Sequence[str]) -> tuple[Any, Any, Any]:
    """The config and the classes that the weights are of, and the weights."""
    from jaxseg import pretrained
    from jaxseg.config import check_config
    from jaxseg.overrides import override_config

    imported = pretrained.load(source)
    classes = pretrained.own_classes(imported)
    config = override_config(pretrained.own_config(imported), "weights convert", changes)
    config.init_from = source
    return check_config(config), classes, imported


def _as_config_says(source: str, values: Any) -> tuple[Any, Any, Any]:
    """The config, the classes of its data set, and the weights, which are of the same classes."""
    from jaxseg import initial, pretrained
    from jaxseg.config import check_config

    values.init_from = source
    config = check_config(values)
    classes = _classes(config)
    imported = pretrained.load(source)
    initial.check_class_names(imported, config, classes)
    return config, classes, imported


def _classes(config: Any) -> Any:
    """The classes of the config's data set, whether or not it is prepared on this machine."""
    from jaxseg import data
    from jaxseg.data import label_map, preparation

    try:
        return data.load(config.dataset, data.split_of(config.dataset, "train")).classes
    except UserError:
        builder = getattr(preparation.module(config.dataset.name), "Builder", None)
        classes = getattr(builder, "CLASSES", None)
        if classes is None:
            raise
        return label_map.mapped_classes(classes, config.dataset.label_map)
