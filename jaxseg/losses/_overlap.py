"""Losses that are ratios of the overlaps of classes: Dice, generalised Dice and Tversky."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxseg.losses import _batch
from jaxseg.ops import pixels


@dataclasses.dataclass(frozen=True)
class OverlapLoss:
    """What they share: `loss_of_overlaps` says what the loss is.

    Void pixels are in none of the sums; a pixel of weight w counts like 1 + w pixels in all of
    them. Two walks over bands with the gradient, one without: no probability is held at the labels'
    size. Evaluation adds the sums up over the split, as if it were one batch.
    """

    per_image: bool = False  # a mean over images with a valid pixel; or of the whole batch

    squared = False  # whether the predicted volume is a sum of squares

    def loss_of_overlaps(self, overlaps: Float[Array, "*n 3 c"]) -> Float[Array, "*n"]:
        """Of intersection, predicted and true volume of each class; zero if all is void."""
        raise NotImplementedError

    @property
    def unit(self) -> str:
        return "image" if self.per_image else "batch"

    def check(self, num_classes: int) -> None:
        pass

    def count(self, labels: Int[Array, "b H W"], *, void: int) -> Float[Array, ""]:
        return _batch.count(labels, void=void, per_image=self.per_image)

    def sum(
        self,
        logits: Float[Array, "b h w c"],
        labels: Int[Array, "b H W"],
        weights: Float[Array, "b H W"] | None = None,
        *,
        void: int,
        corners: str = "half_pixel",
        axis_name: str | None = None,
    ) -> Float[Array, ""]:
        found = self._overlaps(logits, labels, weights, void=void, corners=corners)
        if self.per_image:
            return self.loss_of_overlaps(found).sum()
        whole = _batch.over_devices(found.sum(0), axis_name)
        return _batch.share(self.loss_of_overlaps(whole), axis_name)

    def split_sums(
        self,
        logits: Float[Array, "b h w c"],
        labels: Int[Array, "b H W"],
        *,
        void: int,
        corners: str,
    ) -> Float[Array, "3 c"]:
        return self._overlaps(logits, labels, None, void=void, corners=corners).sum(0)

    def split_value(self, sums: Float[np.ndarray, "3 c"]) -> float:
        return float(self.loss_of_overlaps(jnp.asarray(sums, jnp.float32)))

    def _overlaps(
        self,
        logits: Float[Array, "b h w c"],
        labels: Int[Array, "b H W"],
        weights: Float[Array, "b H W"] | None,
        *,
        void: int,
        corners: str,
    ) -> Float[Array, "b 3 c"]:
        """Sums of m p y, of m p (or m p^2) and of m y over the pixels of each image.

        p is the probability of a class, y 1 where it is the truth and 0 elsewhere, m 1 for a valid
        pixel, more by its weight, and 0 for a void one.
        """
        classes = np.arange(logits.shape[-1], dtype=np.int32)[:, None]

        def products(logits: Array, labels: Array, mass: Array) -> tuple[Array, Array, Array]:
            """[b r c W], [b r W], [b r W] -> [b r c W] each."""
            true, mass = labels[:, :, None] == classes, mass[:, :, None]
            p = jax.nn.softmax(logits, axis=2)
            predicted = jnp.where(mass > 0, mass * (p * p if self.squared else p), 0.0)
            both = true & (mass > 0)
            return jnp.where(both, mass * p, 0.0), predicted, jnp.where(both, mass, 0.0)

        mass = _batch.masses(labels, weights, void=void)
        return pixels.class_sums(products, logits, labels, mass, count=3, corners=corners)


def ratio(numerator: Float[Array, "..."], denominator: Float[Array, "..."]) -> Float[Array, "..."]:
    """0 / 0 is 0, with a gradient of 0."""
    empty = denominator <= 0
    return jnp.where(empty, 0.0, numerator / jnp.where(empty, 1.0, denominator))
