"""The evaluation of a split: every example once at full size, on any number of devices."""

import dataclasses
import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxseg import evaluators, files, hosts
from jaxseg.collection import Collection, add
from jaxseg.data import pipeline
from jaxseg.data.source import Source
from jaxseg.defaults import Config
from jaxseg.errors import UserError
from jaxseg.program import Program
from jaxseg.state import TrainState

Outputs = tuple[Any, Any, Any]  # of `steps.eval_step`


def evaluate(
    program: Program,
    config: Config,
    state: TrainState,
    source: Source,
    *,
    announce: Callable[[str], None] = print,
    watch: Callable[[Iterator[pipeline.Batch]], Iterator[pipeline.Batch]] = iter,
) -> dict[str, Any]:
    """The scores of `state` over all of `source`.

    Args:
      program: its evaluators, losses and compiled steps.
      config: its `eval` part says in what batches. Their size changes no number; `size_multiple`
        and `canvas` do a little, where padding is seen: at borders, and by DeepLab's image pooling
        (not by unpadded models, see `inference`).
      state: what to evaluate; its averages if it keeps them.
      source: labelled examples.
      announce: is told of each example that `config.pipeline.on_unreadable` skips.
      watch: sees the batches go by; training ends an evaluation here when it is asked to stop.

    Returns:
      The scores of all evaluators; "loss", training's over the split, but without auxiliary heads
      and the border's weight map. Dice and its kind are of the split as one batch; with a loss
      that does not add up (OHEM, Lovász of a batch; with tiles any of images) it is None;
      "examples", the number that counted; "skipped", of those that could not be read; "protocol",
      how all of it was measured.
    """

    def step(batch: pipeline.Batch) -> Outputs:
        arrays = program.parallel.place(batch.for_evaluation())
        return program.eval_step(state.eval_variables, arrays)

    devices = program.parallel.num_devices
    skipped = pipeline.Skipped(announce)
    batches = pipeline.eval_batches(
        source,
        batch_size=-(-config.eval.batch_size // devices) * devices,  # an even share each
        size_multiple=config.eval.size_multiple,
        canvas=config.eval.canvas,
        mean=config.dataset.mean,
        bits=config.dataset.bits,
        workers=config.pipeline.workers,
        skipped=skipped if config.pipeline.on_unreadable == "skip" else None,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )
    with batches, Collection(program.evaluators, config.pipeline.workers) as found:
        losses = run(step, watch(batches), found, program.parallel.local, program.loss.no_sums())
        scores = found.compute()
    return {
        "examples": hosts.add_up(found.examples),
        "skipped": hosts.add_up(len(skipped)),
        **scores,
        **program.loss.split_value(losses),
        "protocol": protocol(program, config, state),
    }


def run(
    step: Callable[[pipeline.Batch], Outputs],
    batches: Iterator[pipeline.Batch],
    found: Collection,
    local: Callable[[Any], np.ndarray],
    losses: Any,
) -> Any:
    """Add what `step` gives for all batches to `found`; returns `losses` with theirs added.

    It is one batch behind, so that the device never waits for the host. `local` reads an array by
    example, of this process's examples.
    """
    pending: list[tuple[pipeline.Batch, Outputs]] = []

    def take(losses: Any) -> Any:
        batch, (sums, more, images) = pending.pop(0)
        found.add(sums, jax.tree.map(local, images), batch)
        return add(losses, more)

    for batch in batches:
        pending.append((batch, step(batch)))
        if len(pending) > 1:
            losses = take(losses)
    return take(losses) if pending else losses


def protocol(program: Program, config: Config, state: TrainState) -> dict[str, Any]:
    """What stands beside the numbers: how each evaluator measures, and what saw which images."""
    better = evaluators.directions(program.evaluators).get(config.best_metric)
    return {
        "best_metric": {"name": config.best_metric, "higher_is_better": better},
        "weights": "averages" if state.ema is not None else "parameters",
        "dtype": config.dtype,
        "eval": json.loads(json.dumps(dataclasses.asdict(config.eval))),
        **{name: evaluator.protocol for name, evaluator in program.evaluators.items()},
    }


def is_higher_better(program: Program, config: Config) -> bool:
    """Which way `config.best_metric` goes; raises UserError if evaluation gives no such number."""
    if config.best_metric == "loss" and (program.loss.left_out or program.views.has_window):
        cause = ", ".join(program.loss.left_out) or "config.eval.window"
        raise UserError(
            f"config.best_metric is 'loss', but with {cause} there is no validation loss: "
            "use 'miou' or another score"
        )
    return evaluators.is_higher_better(program.evaluators, config.best_metric)


def scores_path(workdir: Path, split: str, step: int | str, changes: Sequence[str] = ()) -> Path:
    """`eval/SPLIT/STEP.json`; `changes` of the config stand in its name.

    What has no step, such as a folder of masks, has a word for it.
    """
    words = [re.sub(r"^-*config\.|[ '\"]", "", change) for change in changes]
    words = [re.sub(r"[^\w.=,()+-]", "_", word) for word in [str(step), *words]]
    folder = workdir / "eval" / re.sub(r"[^\w.=+:%\[\]-]", "_", split)
    return folder / ("-".join(words)[:200] + ".json")


def read_scores(workdir: Path, split: str, step: int) -> dict[str, Any]:
    """What `write_scores` wrote."""
    return json.loads(scores_path(workdir, split, step).read_text())


def write_scores(
    scores: dict[str, Any],
    split: str,
    step: int | str,
    workdir: Path,
    changes: Sequence[str] = (),
) -> Path:
    """Write `scores_path`, whole or not at all."""
    path = scores_path(workdir, split, step, changes)
    path.parent.mkdir(parents=True, exist_ok=True)
    record = {"step": step, "split": split, "changes": list(changes), **scores}
    files.write_text(path, json.dumps(record, indent=1) + "\n")
    return path
