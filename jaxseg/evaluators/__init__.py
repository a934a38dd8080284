"""The evaluators, one file each: `config.evals` names those of a run.

A file defines `Evaluator`, of one of three kinds, by where it measures and what it leaves:

- `Summed`: `update` runs inside the compiled evaluation step and returns sums over the examples of
  a batch; sums of batches, devices and processes are merged by addition (counts are exact).
- `PerImage`: `rows` runs inside the compiled step too, and returns a few numbers for each image.
- `OnHost`: `measure` gets the predicted classes and the labels of one image, without padding, and
  returns a few numbers: for distances and connected components, which NumPy, SciPy and OpenCV
  compute on as many threads as `config.pipeline.workers` says. Each process measures the images of
  its own devices, and no more than two batches of predictions wait at a time.

The first two read the predicted classes, and of probabilities what their `needs` says:
"confidence", that of the predicted class at every pixel, float32 [b h w], or "scores", those of all
classes, float32 [b h w c], which are by far the largest arrays of an evaluation. They are keys of
the batch that is measured, and nothing is computed that no evaluator needs.

The numbers of images are kept as float64 [images, k] (each file states its k) and put into the
order of the split before anything is computed from them, so scores do not depend on the number of
devices or processes. They are all of an evaluation's memory that grows with the split.

`compute` reads the scores off the whole split, once, on the host. Padding never counts.
"""

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Array, Float, Int

from jaxseg.data.source import Classes
from jaxseg.errors import UserError, suggest

Sums = Any  # a tree of arrays
Scores = dict[str, Any]


@runtime_checkable
class Evaluator(Protocol):
    """What all kinds have, made by `Evaluator(classes)`."""

    @property
    def higher_is_better(self) -> Mapping[str, bool]:
        """The scores that are one number, any of which may be `config.best_metric`."""
        ...

    @property
    def protocol(self) -> str:
        """How the numbers came about, in a sentence or two that stand beside them."""
        ...

    def table(self, scores: Scores) -> str:
        """What a person reads of the scores of `compute`."""
        ...


@runtime_checkable
class Summed(Evaluator, Protocol):
    """Sums over a split.

    Attributes:
      needs: "confidence", "scores", both or none.
    """

    needs: tuple[str, ...]

    def init(self) -> Sums:
        """Zeros, as NumPy arrays wide enough for a whole split (int64, float64)."""
        ...

    def update(self, prediction: Int[Array, "b h w"], batch: Mapping[str, Array]) -> Sums:
        """The sums of a batch; pure, compiled. Examples whose `batch["mask"]` is False add zero."""
        ...

    def compute(self, sums: Sums) -> Scores:
        """The scores as plain values; None for what is undefined."""
        ...


@runtime_checkable
class PerImage(Evaluator, Protocol):
    """Some numbers for each image, from the compiled step.

    Attributes:
      needs: "confidence", "scores", both or none.
    """

    needs: tuple[str, ...]

    def rows(self, prediction: Int[Array, "b h w"], batch: Mapping[str, Array]) -> Array:
        """[b, k]; those of examples whose `batch["mask"]` is False are dropped. Pure, compiled."""
        ...

    def compute(self, rows: Float[np.ndarray, "n k"]) -> Scores:
        """The scores of `n` images, as plain values; None for what is undefined."""
        ...


@runtime_checkable
class OnHost(Evaluator, Protocol):
    """A few numbers for each image, from its predicted classes."""

    def measure(
        self, prediction: Int[np.ndarray, "h w"], label: Int[np.ndarray, "h w"]
    ) -> Float[np.ndarray, " k"]:
        """The numbers of one image; called by several threads at once."""
        ...

    def compute(self, rows: Float[np.ndarray, "n k"]) -> Scores:
        """The scores of `n` images, as plain values; None for what is undefined."""
        ...


def names() -> list[str]:
    """The files of this package that are evaluators: others begin with an underscore."""
    found = (module.name for module in pkgutil.iter_modules(__path__))
    return [name for name in found if not name.startswith("_")]


def build(evals: Sequence[str], classes: Classes) -> dict[str, Evaluator]:
    """The evaluators of `config.evals` by name.

    Raises:
      UserError: one is unknown or does not suit the classes; or mIoU, which tables and curves show,
        is not among them.
    """
    for name in evals:
        if name not in names():
            raise UserError(f"config.evals names {name!r}; {suggest(name, names())}")
    if "miou" not in evals:
        raise UserError(
            f"config.evals is {tuple(evals)}, expected 'miou' among them: "
            "tables and curves are read off it"
        )
    made = {
        name: importlib.import_module(f"{__name__}.{name}").Evaluator(classes) for name in evals
    }
    for name, each in made.items():
        if sum(isinstance(each, kind) for kind in (Summed, PerImage, OnHost)) != 1:
            raise UserError(
                f"jaxseg/evaluators/{name}.py: expected one of `init` and `update`, `rows`, or "
                "`measure`, with `compute`, and with `needs` for the first two, () for nothing"
            )
    return made


def needs(evaluators: Mapping[str, Evaluator]) -> dict[str, tuple[str, ...]]:
    """What each reads of probabilities; those that read nothing of them are left out."""
    return {
        name: each.needs
        for name, each in evaluators.items()
        if isinstance(each, Summed | PerImage) and each.needs
    }


def measure(
    evaluators: Mapping[str, Evaluator],
    prediction: Int[Array, "b h w"],
    batch: Mapping[str, Array],
) -> tuple[dict[str, Sums], dict[str, Array]]:
    """What is computed in the compiled step: sums, and rows of images, by evaluator."""
    sums, rows = {}, {}
    for name, each in evaluators.items():
        if isinstance(each, Summed):
            sums[name] = each.update(prediction, batch)
        elif isinstance(each, PerImage):
            rows[name] = each.rows(prediction, batch)
    return sums, rows


def directions(evaluators: Mapping[str, Evaluator]) -> dict[str, bool]:
    """Whether higher is better of each score that is one number, the loss included."""
    known = {"loss": False}
    for evaluator in evaluators.values():
        known |= evaluator.higher_is_better
    return known


def is_higher_better(evaluators: Mapping[str, Evaluator], metric: str) -> bool:
    """Which way `config.best_metric` goes; raises UserError if no evaluator gives such a number."""
    known = directions(evaluators)
    if metric not in known:
        raise UserError(
            f"config.best_metric is {metric!r}, which none of config.evals {tuple(evaluators)} "
            f"gives; {suggest(metric, known)}"
        )
    return known[metric]
