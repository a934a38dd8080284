"""The evaluators, one file each: `config.evals` names those of a run.

A file defines `Evaluator`. Its `update` runs inside the compiled evaluation step and returns sums
over the examples of a batch; sums of batches, devices and processes are merged by addition (counts
are exact); `compute` reads the scores off the sums of the whole split, once, on the host.
"""

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Array, Int

from jaxseg.data.source import Classes
from jaxseg.errors import UserError, suggest

Sums = Any  # a tree of arrays


@runtime_checkable
class Evaluator(Protocol):
    """What the class `Evaluator(classes)` of each file here is.

    Attributes:
      needs_scores: whether `update` reads `batch["scores"]`, the probability of each class at every
        pixel, float32 [b h w c]. Where no evaluator does, they are never computed.
    """

    needs_scores: bool

    def __init__(self, classes: Classes) -> None: ...

    def init(self) -> Sums:
        """Zeros, as NumPy arrays wide enough for a whole split (int64, float64)."""
        ...

    def update(self, prediction: Int[Array, "b h w"], batch: Mapping[str, Array]) -> Sums:
        """The sums of a batch; pure, compiled. Examples whose `batch["mask"]` is False add zero."""
        ...

    def compute(self, sums: Sums) -> dict[str, Any]:
        """The scores as plain values; None for what is undefined."""
        ...


def names() -> list[str]:
    return [module.name for module in pkgutil.iter_modules(__path__)]


def build(evals: Sequence[str], classes: Classes) -> dict[str, Evaluator]:
    """The evaluators of `config.evals` by name.

    Raises:
      UserError: one is unknown, or mIoU, which the best checkpoint is chosen by, is not among them.
    """
    for name in evals:
        if name not in names():
            raise UserError(f"config.evals names {name!r}; {suggest(name, names())}")
    if "miou" not in evals:
        raise UserError(
            f"config.evals is {tuple(evals)}, expected 'miou' among them: "
            "the best checkpoint is chosen by it"
        )
    return {
        name: importlib.import_module(f"{__name__}.{name}").Evaluator(classes) for name in evals
    }
