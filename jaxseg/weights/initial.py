"""The state that training begins with: fresh, or with the weights of `config.init_from`."""

import contextlib
import dataclasses
import itertools
import sys
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from jaxseg import hosts, steps, weights
from jaxseg.data import pipeline
from jaxseg.data.source import Source
from jaxseg.errors import UserError
from jaxseg.ops.norm import GLOBAL
from jaxseg.program import Program
from jaxseg.state import TrainState
from jaxseg.weights import requirements
from jaxseg.weights.imported import Imported
from jaxseg.weights.merge import Report, merge
from jaxseg.weights.unfold import unfold

# What stands for the training set where batch norms need statistics (see `unfold`).
_CALIBRATION_BATCHES, _CALIBRATION_SIZE = 8, 8


def create(program: Program, config: ConfigDict, train_source: Source) -> TrainState:
    """The state at step 0; says what was imported.

    Raises:
      UserError: the source of weights is wrong, or does not fit the config or the model.
    """
    if not config.init_from:
        if config.init_fresh or config.init_unused:
            raise UserError("config.init_fresh and init_unused need a config.init_from")
        return _fresh(program, config)
    imported = weights.load(config.init_from)
    state, report = with_weights(program, config, imported)
    _say(f"weights from {config.init_from}: {report}")
    if imported.folded:
        norms = {p.split("/", 1)[1].rpartition("/")[0] for p in imported.variables}
        state = measure_norms(program, config, state, train_source, norms)
    return state


def with_weights(
    program: Program, config: ConfigDict, imported: Imported
) -> tuple[TrainState, Report]:
    """A fresh state whose parameters, statistics and averages are the imported ones."""
    notes = requirements.check(imported, config)
    state = _fresh(program, config)
    variables, report = merge(
        {"params": state.params, "batch_stats": state.batch_stats},
        imported,
        model=config.model.name,
        fresh=config.init_fresh,
        unused=config.init_unused,
        hint=requirements.hint(imported, config),
    )
    report = dataclasses.replace(report, notes=(*notes, *report.notes))
    return _replace(state, variables), report


def _fresh(program: Program, config: ConfigDict) -> TrainState:
    _say(f"initialising {config.model.name} ...")
    return program.init_state()


def _say(text: str) -> None:
    if hosts.is_first():
        print(text, file=sys.stderr, flush=True)


def measure_norms(
    program: Program,
    config: ConfigDict,
    state: TrainState,
    train_source: Source,
    norms: set[str] | None = None,
) -> TrainState:
    """Give folded batch norms the statistics of some of the batches that training begins with."""
    images = _CALIBRATION_BATCHES * _CALIBRATION_SIZE
    _say(f"batch norms are folded into the weights: measuring {images} images ...")
    model = program.model.clone(statistics=GLOBAL)
    return _replace(
        state, unfold(model, state.eval_variables, _images(config, train_source), norms)
    )


def _images(config: ConfigDict, source: Source) -> Iterator[jax.Array]:
    """Augmented and normalised images, the same for a seed: the first that training sees."""
    batches = pipeline.train_batches(
        source,
        start=0,
        batch_size=_CALIBRATION_SIZE,
        seed=config.seed,
        augment=config.augment,
        mean=config.dataset.mean,
        workers=config.pipeline.workers,
        prefetch=config.pipeline.prefetch,
    )
    mean, std = tuple(config.dataset.mean), tuple(config.dataset.std)
    with contextlib.closing(batches):
        for batch in itertools.islice(batches, _CALIBRATION_BATCHES):
            yield steps.normalize(jnp.asarray(batch.image), mean=mean, std=std)


def _replace(state: TrainState, variables: dict) -> TrainState:
    def copies() -> dict[str, Any]:
        # a step gives the memory of its state away: no two parts of it may be the same arrays
        parts = ("params", "batch_stats")
        return {name: jax.tree.map(jnp.array, variables.get(name, {})) for name in parts}

    ema = copies() if state.ema else None
    return state.replace(**copies(), ema=ema)  # pyright: ignore[reportAttributeAccessIssue]
