"""The losses, one file each; `config.loss.NAME.weight` and the options of `NAME.py` choose them.

A file defines `Loss`, a frozen dataclass: its fields are the loss's options, `sum` gives the loss
added up over the pixels of a batch, and `count` what that is divided by, from the labels alone.

The loss of a step is the weighted sum of (sum / count), both of the *global* batch. Since counts
depend on labels alone, they are added over devices and micro-batches before anything is divided,
and several losses combine exactly: the gradients of all devices and parts simply add up. A mean of
per-device means would weigh a device with few valid pixels as much as one with many.

Some losses are no sum over pixels. Their `unit` says what they add up over: Dice of each image,
over images; Dice of the batch, over nothing less than the batch of all devices, so that a device's
`sum` is its share of the whole (`_batch.py`), and a batch can't pass in parts.
"""

import dataclasses
import importlib
import math
import pkgutil
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxseg.errors import UserError, suggest


@runtime_checkable
class Loss(Protocol):
    """What the class `Loss` of each file here is."""

    @property
    def unit(self) -> str:
        """What the loss adds up over: "pixel", "image" or "batch"."""
        ...

    def check(self, num_classes: int) -> None:
        """Raise UserError, beginning with an option's name, unless they suit so many classes."""
        ...

    def count(self, labels: Int[Array, "b H W"], *, void: int) -> Float[Array, ""]:
        """What `sum` is divided by, such as the number of valid pixels; zero if all are void.

        1 for a loss of the batch: it is not added over devices.
        """
        ...

    def sum(
        self,
        logits: Float[Array, "b h w c"],
        labels: Int[Array, "b H W"],
        weights: Float[Array, "b H W"] | None = None,
        *,
        void: int,
        corners: str,
        axis_name: str | None = None,
    ) -> Float[Array, ""]:
        """The loss added up over valid pixels, at the labels' resolution.

        `weights` are U-Net's weights for gaps between cells (see `data/borders.py`): a loss adds
        them to the class weight of each pixel, or counts a pixel of weight w like 1 + w pixels.
        `corners` says how logits of another size lie over the labels, see `ops.resize`. `axis_name`
        names the devices that share the batch under pmap, for losses of the batch.
        """
        ...


@runtime_checkable
class SplitLoss(Protocol):
    """What a loss of the batch defines if it is a function of sums, for evaluation.

    Its value for a split is then that of the split as one batch.
    """

    def split_sums(
        self,
        logits: Float[Array, "b h w c"],
        labels: Int[Array, "b H W"],
        *,
        void: int,
        corners: str,
    ) -> Float[Array, "..."]:
        """The sums over these pixels, the last of them zero if all are void."""
        ...

    def split_value(self, sums: Float[np.ndarray, "..."]) -> float:
        """The loss of all that was added up."""
        ...


@dataclasses.dataclass(frozen=True)
class WeightedSum:
    """The losses of a run by name, each with its weight."""

    losses: Mapping[str, tuple[float, Loss]]
    void: int
    left_out: tuple[str, ...] = ()  # see `adding_up_over`

    def counts(self, labels: Int[Array, "b H W"], axis_name: str | None = None) -> dict[str, Array]:
        """What each loss is divided by, of all devices together."""
        void = self.void
        counts = {name: loss.count(labels, void=void) for name, (_, loss) in self.losses.items()}
        if axis_name is None:
            return counts
        whole = self.names_of_whole_batch()
        return {k: v if k in whole else jax.lax.psum(v, axis_name) for k, v in counts.items()}

    def terms(
        self,
        logits: Float[Array, "b h w c"],
        labels: Int[Array, "b H W"],
        weights: Float[Array, "b H W"] | None,
        *,
        counts: Mapping[str, Array],
        corners: str,
        axis_name: str | None = None,
    ) -> dict[str, Array]:
        """Each loss times its weight, of these pixels, as a part of a batch with these `counts`."""
        how: Any = {"void": self.void, "corners": corners, "axis_name": axis_name}
        return {
            name: weight * loss.sum(logits, labels, weights, **how) / jnp.maximum(counts[name], 1.0)
            for name, (weight, loss) in self.losses.items()
        }

    def names_of_whole_batch(self) -> list[str]:
        """The losses that nothing less than the batch of all devices adds up to."""
        return [name for name, (_, loss) in self.losses.items() if loss.unit == "batch"]

    def adding_up_over(self, unit: str) -> "WeightedSum":
        """The losses whose sums over images ("image"), or any parts of them ("pixel"), add up."""
        units = ("pixel",) if unit == "pixel" else ("pixel", "image")
        kept = {
            name: (weight, loss)
            for name, (weight, loss) in self.losses.items()
            if loss.unit in units or _as_split_loss(loss)
        }
        left_out = tuple(name for name in self.losses if name not in kept)
        return dataclasses.replace(self, losses=kept, left_out=left_out)

    def sums(
        self, logits: Float[Array, "b h w c"], labels: Int[Array, "b H W"], *, corners: str
    ) -> dict[str, Float[Array, "..."]]:
        """Each loss's sum and count over these pixels, or `split_sums`, to add up over a split.

        No loss may be of a larger unit than what is added up, see `adding_up_over`.
        """
        void, found = self.void, {}
        for name, (_, loss) in self.losses.items():
            if whole := _as_split_loss(loss):
                found[name] = whole.split_sums(logits, labels, void=void, corners=corners)
            else:
                total = loss.sum(logits, labels, void=void, corners=corners)
                found[name] = jnp.stack([total, loss.count(labels, void=void)])
        return found

    def no_sums(self) -> dict[str, Float[np.ndarray, ""]]:
        """What `sums` are added to."""
        return {name: np.zeros(()) for name in self.losses}

    def split_value(self, sums: Mapping[str, Float[np.ndarray, "..."]]) -> dict[str, float | None]:
        """The loss of a split as "loss", and each where there are several as "loss/NAME".

        They are combined as in training. None if nothing counts, or if it is not finite. Where
        losses are left out, "loss" is None, and the others are there by their names.
        """
        terms, counted = {}, False
        for name, (weight, loss) in self.losses.items():
            found, value = sums[name], 0.0
            if found.ndim and found[-1].sum():
                counted = True
                whole = _as_split_loss(loss)
                value = whole.split_value(found) if whole else found[0] / found[1]
            terms[f"loss/{name}"] = float(weight * value)
        several = len(terms) + len(self.left_out) > 1
        values = {
            "loss": math.nan if self.left_out else sum(terms.values()),
            **(terms if several else {}),
        }
        return {k: v if counted and math.isfinite(v) else None for k, v in values.items()}


def _as_split_loss(loss: Loss) -> SplitLoss | None:
    """The loss if it is of the batch, and can be of a split."""
    return loss if loss.unit == "batch" and isinstance(loss, SplitLoss) else None


def names() -> list[str]:
    """The files of this package that are losses: others begin with an underscore."""
    found = (module.name for module in pkgutil.iter_modules(__path__))
    return [name for name in found if not name.startswith("_")]


def defaults(chosen: str | None = "cross_entropy") -> dict[str, dict[str, Any]]:
    """Every loss with its weight and its options: `chosen` alone counts, none if it is None."""
    return {
        name: {
            "weight": float(name == chosen),
            **{field.name: field.default for field in dataclasses.fields(_class(name))},
        }
        for name in names()
    }


def build(terms: Mapping[str, Mapping[str, Any]], *, num_classes: int, void: int) -> WeightedSum:
    """The weighted sum that a config's `loss.terms` describe; losses of weight 0 are left out.

    Raises:
      UserError: an unknown loss or option, an option that does not suit the classes, or no loss.
    """
    found = _build(terms, "config.loss", num_classes)
    if not found:
        raise UserError("config.loss: every loss has weight 0, expected one above it")
    return WeightedSum(found, void)


def build_aux(
    terms: Mapping[str, Mapping[str, Any]], *, num_classes: int, void: int
) -> WeightedSum | None:
    """As `build` of a config's `loss.aux`, by the names "aux/NAME"; None if no weight is above 0.

    Auxiliary heads then have the losses of the main one.
    """
    found = _build(terms, "config.loss.aux", num_classes)
    named = {f"aux/{name}": each for name, each in found.items()}
    return WeightedSum(named, void) if named else None


def _build(
    terms: Mapping[str, Mapping[str, Any]], where: str, num_classes: int
) -> dict[str, tuple[float, Loss]]:
    losses = {}
    for name, values in terms.items():
        if name not in names():
            raise UserError(f"{where}.{name} is no loss: {suggest(name, names())}")
        options = {key: value for key, value in values.items() if key != "weight"}
        known = [field.name for field in dataclasses.fields(_class(name))]
        if unknown := sorted(options.keys() - set(known)):
            hint = suggest(unknown[0], known)
            raise UserError(f"loss {name} has no option {unknown[0]!r}: {hint}")
        loss = _class(name)(**options)
        try:
            loss.check(num_classes)
        except UserError as error:
            raise UserError(f"{where}.{name}.{error}") from None
        if values["weight"]:
            losses[name] = (values["weight"], loss)
    return losses


def _class(name: str) -> Any:
    return importlib.import_module(f"{__name__}.{name}").Loss
