"""Validation during training: it shows how far it is, writes its scores, and ends for a signal."""

import dataclasses
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax

from jaxseg import compilation, evaluation, hosts
from jaxseg.data import pipeline
from jaxseg.data.source import Source
from jaxseg.defaults import Config
from jaxseg.metrics import percent
from jaxseg.program import Program
from jaxseg.progress import Progress
from jaxseg.state import TrainState
from jaxseg.stopping import Stop
from jaxseg.writers import MetricWriter

_SHOWN = ("miou", "pixel_accuracy", "mean_accuracy")


class _StoppedError(Exception):
    """A signal came in the middle of it."""


@dataclasses.dataclass(frozen=True)
class Validation:
    """Evaluates states of a run on its validation split; all processes call it at the same steps.

    Args:
      program: the run's.
      config: the run's.
      source: the validation split.
      workdir: where the scores go, as `eval/val/STEP.json`.
      stop: asked at every batch.
      progress: stands still meanwhile, and says the scores.
      writer: gets them too.
      tell: is told of each example that can't be read and is skipped.
    """

    program: Program
    config: Config
    source: Source
    workdir: Path
    stop: Stop
    progress: Progress
    writer: MetricWriter
    tell: Callable[[str], None]

    def __call__(self, state: TrainState, step: int) -> dict[str, Any] | None:
        """The scores of a state; None if training was asked to stop before they were there."""
        try:
            with self.progress.pause():
                scores = evaluation.evaluate(
                    self.program,
                    self.config,
                    state,
                    self.source,
                    announce=self.tell,
                    watch=self._watched,
                )
        except _StoppedError:
            return None
        compilation.trim_heap()  # else training's blocks come on top of what evaluation had
        if hosts.is_first():
            evaluation.write_scores(scores, "val", step, self.workdir)
        self.writer.write(step, {f"val/{k}": v for k, v in self._numbers(scores).items()})
        self.progress.say(f"step {step}: validation {self._line(scores)}")
        self.progress.doing(f"saving step {step}")
        return scores

    def _watched(self, batches: Iterator[pipeline.Batch]) -> Iterator[pipeline.Batch]:
        since, done = time.perf_counter(), 0
        for batch in batches:
            if self.stop.poll():
                raise _StoppedError
            self.progress.doing(f"validation, {done} of {len(self.source)} images", since)
            yield batch
            done += int(batch.mask.sum()) * jax.process_count()

    def _numbers(self, scores: dict[str, Any]) -> dict[str, float | None]:
        """Those of the log: the usual ones, losses, IoUs, and what other evaluators compare."""
        numbers = {k: v for k, v in scores.items() if k in _SHOWN or k.partition("/")[0] == "loss"}
        numbers |= {f"iou/{name}": value for name, value in scores["iou"].items()}
        for name, evaluator in self.program.evaluators.items():
            if name != "miou":
                numbers |= {key: scores[key] for key in evaluator.higher_is_better}
        return numbers

    def _line(self, scores: dict[str, Any]) -> str:
        loss = "-" if scores["loss"] is None else f"{scores['loss']:.4f}"
        metric = self.config.best_metric
        value = "-" if scores[metric] is None else f"{scores[metric]:.4g}"
        also = "" if metric in (*_SHOWN, "loss") else f", {metric} {value}"
        return (
            f"mIoU {percent(scores['miou'])} %, "
            f"pixel accuracy {percent(scores['pixel_accuracy'])} %, loss {loss}{also}"
        )
