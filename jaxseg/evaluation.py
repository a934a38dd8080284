"""The evaluation of a split: every example once at full size, on any number of devices."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxseg import files, hosts
from jaxseg.data import pipeline
from jaxseg.data.source import Source
from jaxseg.defaults import Config
from jaxseg.program import Program
from jaxseg.state import TrainState


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
      "examples", the number that counted; "skipped", of those that could not be read.
    """
    sums: Any = (
        {name: evaluator.init() for name, evaluator in program.evaluators.items()},
        program.loss.no_sums(),
    )
    examples, pending = 0, []
    devices = program.parallel.num_devices
    skipped = pipeline.Skipped(announce)
    batches = pipeline.eval_batches(
        source,
        batch_size=-(-config.eval.batch_size // devices) * devices,  # an even share each
        size_multiple=config.eval.size_multiple,
        canvas=config.eval.canvas,
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
                sums = _add(sums, pending.pop(0))
    for more in pending:
        sums = _add(sums, more)
    scores = {"examples": hosts.add_up(examples), "skipped": hosts.add_up(len(skipped))}
    for name, evaluator in program.evaluators.items():
        scores.update(evaluator.compute(sums[0][name]))
    return {**scores, **program.loss.of_split(sums[1])}


def _add(sums: Any, more: Any) -> Any:
    """Addition in the width of `sums`, on the host."""
    return jax.tree.map(lambda a, b: a + np.asarray(b).astype(a.dtype), sums, more)


def scores_path(workdir: Path, split: str, step: int, changes: Sequence[str] = ()) -> Path:
    """`eval/SPLIT/STEP.json`; `changes` of the config stand in its name."""
    words = [re.sub(r"^-*config\.| ", "", change) for change in changes]
    words = [re.sub(r"[^\w.=,()+-]", "_", word) for word in words]
    folder = workdir / "eval" / re.sub(r"[^\w.=+:%\[\]-]", "_", split)
    return folder / ("-".join([str(step), *words])[:200] + ".json")


def read_scores(workdir: Path, split: str, step: int) -> dict[str, Any]:
    """What `write_scores` wrote."""
    return json.loads(scores_path(workdir, split, step).read_text())


def write_scores(
    scores: dict[str, Any], split: str, step: int, workdir: Path, changes: Sequence[str] = ()
) -> Path:
    """Write `scores_path`, whole or not at all."""
    path = scores_path(workdir, split, step, changes)
    path.parent.mkdir(parents=True, exist_ok=True)
    record = {"step": step, "split": split, "changes": list(changes), **scores}
    files.write_text(path, json.dumps(record, indent=1) + "\n")
    return path
