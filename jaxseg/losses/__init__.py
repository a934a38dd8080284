"""The losses, one file each; `config.loss.NAME.weight` and the options of `NAME.py` choose them.

A file defines `Loss`, a frozen dataclass: its fields are the loss's options, `sum` gives the loss
added up over the pixels of a batch, and `count` what that is divided by, from the labels alone.

The loss of a step is the weighted sum of (sum / count), both of the *global* batch. Since counts
depend on labels alone, they are added over devices and micro-batches before anything is divided,
and several losses combine exactly: the gradients of all devices and parts simply add up. A mean of
per-device means would weigh a device with few valid pixels as much as one with many.
"""

import dataclasses
import importlib
import math
import pkgutil
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxseg.errors import UserError, suggest


@runtime_checkable
class Loss(Protocol):
    """What the class `Loss` of each file here is."""

    def check(self, num_classes: int) -> None:
        """Raise UserError unless the options suit this number of classes."""
        ...

    def count(self, labels: Int[Array, "b H W"], *, void: int) -> Float[Array, ""]:
        """What `sum` is divided by, such as the number of valid pixels; zero if all are void."""
        ...

    def sum(
        self,
        logits: Float[Array, "b h w c"],
        labels: Int[Array, "b H W"],
        weights: Float[Array, "b H W"] | None = None,
        *,
        void: int,
        corners: str,
    ) -> Float[Array, ""]:
        """The loss added up over valid pixels, at the labels' resolution.

        `weights` are added to the class weight of each pixel (see `data/borders.py`); `corners`
        says how logits of another size lie over the labels, see `ops.resize`.
        """
        ...


@dataclasses.dataclass(frozen=True)
class WeightedSum:
    """The losses of a run by name, each with its weight."""

    losses: Mapping[str, tuple[float, Loss]]
    void: int

    def counts(self, labels: Int[Array, "b H W"]) -> dict[str, Array]:
        return {name: loss.count(labels, void=self.void) for name, (_, loss) in self.losses.items()}

    def terms(
        self,
        logits: Float[Array, "b h w c"],
        labels: Int[Array, "b H W"],
        weights: Float[Array, "b H W"] | None,
        *,
        counts: Mapping[str, Array],
        corners: str,
    ) -> dict[str, Array]:
        """Each loss times its weight, of these pixels, as a part of a batch with these `counts`."""
        return {
            name: weight
            * loss.sum(logits, labels, weights, void=self.void, corners=corners)
            / jnp.maximum(counts[name], 1.0)
            for name, (weight, loss) in self.losses.items()
        }

    def sums(
        self, logits: Float[Array, "b h w c"], labels: Int[Array, "b H W"], *, corners: str
    ) -> dict[str, Float[Array, "2"]]:
        """Each loss's sum and count over these pixels, to be added up over a whole split."""
        void, found = self.void, {}
        for name, (_, loss) in self.losses.items():
            total = loss.sum(logits, labels, void=void, corners=corners)
            found[name] = jnp.stack([total, loss.count(labels, void=void)])
        return found

    def no_sums(self) -> dict[str, Float[np.ndarray, "2"]]:
        """What `sums` are added to."""
        return {name: np.zeros(2) for name in self.losses}

    def of_split(self, sums: Mapping[str, Float[np.ndarray, "2"]]) -> dict[str, float | None]:
        """The loss of a split as "loss", and each where there are several as "loss/NAME".

        They are combined as in training. None if nothing counts, or if it is not finite.
        """
        terms = {
            f"loss/{name}": float(weight * sums[name][0] / max(sums[name][1], 1.0))
            for name, (weight, _) in self.losses.items()
        }
        values = {"loss": sum(terms.values()), **(terms if len(terms) > 1 else {})}
        counted = any(count for _, count in sums.values())
        return {k: v if counted and math.isfinite(v) else None for k, v in values.items()}


def names() -> list[str]:
    return [module.name for module in pkgutil.iter_modules(__path__)]


def defaults() -> dict[str, dict[str, Any]]:
    """Every loss with its weight and its options: cross-entropy alone counts."""
    return {
        name: {
            "weight": float(name == "cross_entropy"),
            **{field.name: field.default for field in dataclasses.fields(_class(name))},
        }
        for name in names()
    }


def build(terms: Mapping[str, Mapping[str, Any]], *, num_classes: int, void: int) -> WeightedSum:
    """The weighted sum that a config's `loss.terms` describe; losses of weight 0 are left out.

    Raises:
      UserError: an unknown loss or option, or an option that does not suit the classes.
    """
    losses = {}
    for name, values in terms.items():
        if name not in names():
            raise UserError(f"config.loss.{name} is no loss: {suggest(name, names())}")
        options = {key: value for key, value in values.items() if key != "weight"}
        known = [field.name for field in dataclasses.fields(_class(name))]
        if unknown := sorted(options.keys() - set(known)):
            hint = suggest(unknown[0], known)
            raise UserError(f"loss {name} has no option {unknown[0]!r}: {hint}")
        loss = _class(name)(**options)
        loss.check(num_classes)
        if values["weight"]:
            losses[name] = (values["weight"], loss)
    if not losses:
        raise UserError("config.loss: every loss has weight 0, expected one above it")
    return WeightedSum(losses, void)


def _class(name: str) -> Any:
    return importlib.import_module(f"{__name__}.{name}").Loss
