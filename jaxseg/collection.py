"""What the evaluators have found so far in a split: sums, and numbers of images by their index."""

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int, Integer

from jaxseg import hosts
from jaxseg.data.pipeline import Batch
from jaxseg.evaluators import Evaluator, OnHost, PerImage, Summed


class Collection:
    """Gathers what evaluation steps return; a context, which ends its threads.

    Args:
      evaluators: by name.
      workers: threads that measure images on the host.
      own_sums: whether the sums are of this process's examples alone, and `compute` adds up those
        of all processes; a step over all devices gives sums of all examples.

    Attributes:
      examples: how many of this process's were added.
    """

    def __init__(
        self, evaluators: Mapping[str, Evaluator], workers: int, *, own_sums: bool = False
    ) -> None:
        self.examples = 0
        self._evaluators, self._own_sums = evaluators, own_sums
        self._sums = {
            name: each.init() for name, each in evaluators.items() if isinstance(each, Summed)
        }
        self._rows: dict[str, dict[int, Float[np.ndarray, " k"]]] = {
            name: {} for name in evaluators if name not in self._sums
        }
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="jaxseg-measure")
        self._measuring: list[Future[None]] = []

    def __enter__(self) -> "Collection":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def add(self, sums: Any, images: Mapping[str, Any], batch: Batch) -> None:
        """Add what `steps.eval_step` returned for a batch.

        Args:
          sums: of `Summed` evaluators by name.
          images: "rows", arrays [b, k] by the name of their evaluator; "prediction" [b, h, w] where
            there are `OnHost` evaluators. Of this process's examples.
          batch: those examples.
        """
        self._sums = add(self._sums, {name: sums[name] for name in self._sums})
        self.examples += int(batch.mask.sum())
        self._finish()  # of the batch before: no more than one waits
        for slot in np.flatnonzero(batch.mask):
            index = int(batch.index[slot])
            for name, rows in images["rows"].items():
                self._rows[name][index] = rows[slot].astype(np.float64)
            for name, evaluator in self._evaluators.items():
                if isinstance(evaluator, OnHost):
                    height, width = batch.size[slot]
                    prediction = images["prediction"][slot, :height, :width]
                    label = batch.label[slot, :height, :width]
                    job = (name, evaluator, index, prediction, label)
                    self._measuring.append(self._pool.submit(self._measure, *job))

    def _measure(
        self,
        name: str,
        evaluator: OnHost,
        index: int,
        prediction: Integer[np.ndarray, "h w"],
        label: Int[np.ndarray, "h w"],
    ) -> None:
        row = evaluator.measure(prediction.astype(np.int32), label)
        self._rows[name][index] = np.asarray(row, np.float64)

    def _finish(self) -> None:
        for each in self._measuring:
            each.result()
        self._measuring = []

    def compute(self) -> dict[str, Any]:
        """The scores of all evaluators; all processes must call this, and all get them."""
        self._finish()
        scores: dict[str, Any] = {}
        sums = hosts.add_up_arrays(self._sums) if self._own_sums else self._sums
        for name, evaluator in self._evaluators.items():
            if isinstance(evaluator, Summed):
                scores |= evaluator.compute(sums[name])
            elif isinstance(evaluator, PerImage | OnHost):
                scores |= evaluator.compute(_in_order(self._rows[name]))
        return scores


def add(sums: Any, more: Any) -> Any:
    """Addition in the width of `sums`, on the host."""
    # a sum of arrays without axes would be a NumPy scalar
    return jax.tree.map(lambda a, b: np.asarray(a + np.asarray(b).astype(a.dtype)), sums, more)


def _in_order(rows: Mapping[int, Float[np.ndarray, " k"]]) -> Float[np.ndarray, "n k"]:
    """The numbers of all processes' images, in the order of the split."""
    width = hosts.highest(max((len(row) for row in rows.values()), default=0))
    own = np.zeros((len(rows), 1 + width))
    for place, (index, row) in enumerate(rows.items()):
        own[place] = (index, *row)
    everyone = hosts.gather(own)
    return everyone[np.argsort(everyone[:, 0], kind="stable"), 1:]
