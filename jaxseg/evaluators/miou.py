"""Whole-split mean IoU: every example once at full size, one confusion matrix."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from jaxseg import files, hosts
from jaxseg.data import pipeline
from jaxseg.data.source import Source
from jaxseg.metrics import scores
from jaxseg.program import Program
from jaxseg.state import TrainState


def evaluate(
    program: Program,
    config: ConfigDict,
    state: TrainState,
    source: Source,
    *,
    announce: Callable[[str], None] = print,
    watch: Callable[[Iterator[pipeline.Batch]], Iterator[pipeline.Batch]] = iter,
) -> dict[str, Any]:
    """Scores of `state` over all of `source`, each example once on any number of devices.

    Args:
      program: the compiled steps.
      config: its `eval` part says in what batches. Their size changes no number; `size_multiple`
        and `canvas` do a little, where padding is seen: at borders, and by DeepLab's image pooling
        (not by unpadded models, see `inference`).
      state: what to evaluate; its averages if it keeps them.
      source: labelled examples.
      announce: is told of each example that `config.pipeline.on_unreadable` skips.
      watch: sees the batches go by; training ends an evaluation here when it is asked to stop.

    Returns:
      What `metrics.scores` reads off the matrix; "examples", the number that counted; "skipped",
      of those that could not be read.
    """
    names = source.classes.names
    total = np.zeros((len(names), len(names)), np.int64)
    examples, pending = 0, []
    devices = program.parallel.num_devices
    skipped = pipeline.Skipped(announce)
    batches = pipeline.eval_batches(
        source,
        batch_size=-(-config.eval.batch_size // devices) * devices,  # an even share each
        size_multiple=config.eval.size_multiple,
        canvas=tuple(config.eval.canvas),
        mean=config.dataset.mean,
        workers=config.pipeline.workers,
        skipped=skipped if config.pipeline.on_unreadable == "skip" else None,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )
    with batches:
        for batch in watch(batches):
            arrays = program.parallel.place(batch.for_evaluation())
            pending.append(program.eval_step(state.eval_variables, arrays))
            examples += int(batch.mask.sum())
            if len(pending) > 1:  # one behind, so that the device never waits for the host
                total += np.asarray(pending.pop(0))
    total += sum(np.asarray(matrix) for matrix in pending)
    counts = {"examples": hosts.add_up(examples), "skipped": hosts.add_up(len(skipped))}
    return {**scores(total, names), **counts}


def write_scores(scores: dict[str, Any], split: str, step: int, workdir: Path) -> Path:
    """`eval/<split>.json`: the scores with their step, replaced whole."""
    path = workdir / "eval" / f"{split}.json"
    path.parent.mkdir(exist_ok=True)
    files.write_text(path, json.dumps({"step": step, **scores}, indent=1) + "\n")
    return path
