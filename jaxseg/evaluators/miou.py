"""Whole-split mean IoU: every example once at full size, one confusion matrix."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from jaxseg.data.pipeline import Batch
from jaxseg.data.source import Classes
from jaxseg.metrics import scores
from jaxseg.parallel import Parallel


def evaluate(
    eval_step: Callable[[Any, Any], Any],
    variables: Any,
    batches: Iterable[Batch],
    *,
    parallel: Parallel,
    classes: Classes,
) -> dict[str, Any]:
    """Scores of `variables` over `batches` (as `data.pipeline.eval_batches` makes them).

    Returns:
      What `metrics.scores` reads off the matrix, and "examples", the number that counted.
    """
    total = np.zeros((len(classes.names), len(classes.names)), np.int64)
    examples, pending = 0, None
    for batch in batches:
        arrays = {"image": batch.image, "label": batch.label, "mask": batch.mask}
        counted = eval_step(variables, parallel.place(arrays))
        if pending is not None:  # fetch one behind, so that the device never waits for the host
            total += np.asarray(pending)
        pending = counted
        examples += int(batch.mask.sum())
    if pending is not None:
        total += np.asarray(pending)
    return {**scores(total, classes.names), "examples": examples}
