"""The state at step 0: freshly initialised, or with the weights of `config.init_from`."""

import contextlib
import dataclasses
import fnmatch
import itertools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg import hosts, pretrained, steps
from jaxseg.data import pipeline
from jaxseg.data.source import Classes, Source
from jaxseg.defaults import Config
from jaxseg.errors import UserError
from jaxseg.ops.norm import GLOBAL
from jaxseg.program import Program
from jaxseg.state import TrainState
from jaxseg.weights import requirements
from jaxseg.weights.imported import Imported
from jaxseg.weights.merge import Report, merge
from jaxseg.weights.unfold import unfold

# Folded batch norms get their statistics from this many augmented training images (see `unfold`).
_CALIBRATION_BATCHES, _CALIBRATION_SIZE = 8, 8


def create(program: Program, config: Config, train_source: Source) -> TrainState:
    """The state at step 0; prints what was imported.

    Raises:
      UserError: the weights can't be read, or do not fit the config or the model.
    """
    if not config.init_from:
        if config.init_fresh or config.init_unused:
            raise UserError("config.init_fresh and init_unused need a config.init_from")
        return _fresh(program, config)
    imported = pretrained.load(config.init_from)
    check_class_names(imported, config, train_source.classes)
    state, report = with_weights(program, config, imported)
    hosts.announce(f"weights from {config.init_from}: {report}")
    if imported.folded:
        norms = {p.split("/", 1)[1].rpartition("/")[0] for p in imported.variables}
        state = measure_norms(program, config, state, train_source, norms)
    return state


def check_class_names(imported: Imported, config: Config, classes: Classes) -> None:
    """Refuse heads whose channels mean other classes than the data's, unless they stay fresh.

    Heads with another number of channels are left out anyway, see `merge`.
    """
    taken = [
        head
        for head in imported.heads
        if not any(fnmatch.fnmatchcase(head, pattern) for pattern in config.init_fresh)
    ]
    names = imported.class_names
    if not taken or len(names) != len(classes) or names == classes.names:
        return
    index = next(i for i, name in enumerate(names) if name != classes.names[i])
    heads = ", ".join(f'"{head}"' for head in taken)
    raise UserError(
        f"{imported.family} was trained on other classes: label {index} is {names[index]!r} there "
        f"and {classes.names[index]!r} here; start its heads anew with "
        f"--config.init_fresh='({heads},)', or rename the data's classes"
    )


def with_weights(program: Program, config: Config, imported: Imported) -> tuple[TrainState, Report]:
    """A fresh state whose parameters, statistics and averages are the imported ones."""
    settings = _settings(config)
    notes = requirements.check(imported, settings)
    state = _fresh(program, config)
    variables, report = merge(
        {"params": state.params, "batch_stats": state.batch_stats},
        imported,
        model=config.model.name,
        fresh=config.init_fresh,
        unused=config.init_unused,
        hint=requirements.hint(imported, settings),
    )
    report = dataclasses.replace(report, notes=(*notes, *report.notes))
    return _replace(state, variables), report


def _settings(config: Config) -> requirements.Settings:
    model, dataset = config.model, config.dataset
    return requirements.Settings(model.name, model.options, dataset.mean, dataset.std, dataset.bits)


def _fresh(program: Program, config: Config) -> TrainState:
    hosts.announce(f"initialising {config.model.name} ...")
    return program.init_state()


def measure_norms(
    program: Program,
    config: Config,
    state: TrainState,
    train_source: Source,
    norms: set[str] | None = None,
) -> TrainState:
    """Give folded batch norms the statistics of the first batches that training will see."""
    images = _CALIBRATION_BATCHES * _CALIBRATION_SIZE
    hosts.announce(f"batch norms are folded into the weights: measuring {images} images ...")
    model = program.model.clone(statistics=GLOBAL)
    return _replace(
        state, unfold(model, state.eval_variables, _images(config, train_source), norms)
    )


def _images(config: Config, source: Source) -> Iterator[jax.Array]:
    """Augmented and normalised images, the same for the same seed."""
    batches = pipeline.train_batches(
        source,
        start=0,
        batch_size=_CALIBRATION_SIZE,
        seed=config.seed,
        augment=config.augment,
        mean=config.dataset.mean,
        bits=config.dataset.bits,
        workers=config.pipeline.workers,
        prefetch=config.pipeline.prefetch,
        skipped=pipeline.Skipped(print) if config.pipeline.on_unreadable == "skip" else None,
    )
    mean, std = tuple(config.dataset.mean), tuple(config.dataset.std)
    with contextlib.closing(batches):
        for batch in itertools.islice(batches, _CALIBRATION_BATCHES):
            yield steps.normalize(jnp.asarray(batch.image), mean=mean, std=std)


def _replace(state: TrainState, variables: dict) -> TrainState:
    def copies() -> dict[str, Any]:
        # A step donates its state's memory: no array may be in two parts of it. NumPy copies them,
        # where JAX would compile, and keep, a program for each shape.
        parts = ("params", "batch_stats")
        return {name: jax.tree.map(_copy, variables.get(name, {})) for name in parts}

    ema = copies() if state.ema else None
    return state.replace(**copies(), ema=ema)  # pyright: ignore[reportAttributeAccessIssue]


def _copy(array: Any) -> jax.Array:
    return jax.device_put(np.array(array))
