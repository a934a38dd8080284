"""A trained run in Python: `model = jaxseg.load(workdir)`, then `model.predict(image)`.

`jaxseg predict` does the same for files, see `files`.
"""

import dataclasses
import io
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import cv2
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32, Int32, UInt8
from PIL import Image

from jaxseg import compilation, drawing, files, inference, runs
from jaxseg.data.images import as_rgb
from jaxseg.data.palettes import Colour
from jaxseg.data.sizes import Sizes, fitted, with_longer_side
from jaxseg.data.source import Classes
from jaxseg.defaults import Config
from jaxseg.errors import UserError
from jaxseg.models.contract import SegmentationModel

Resize = int | Literal["training"] | None
_DISPLAYED = 1024  # pixels a side of what a notebook shows at most


class SizeWarning(UserWarning):
    """An image is far larger or smaller than those that the model was trained on."""


@dataclasses.dataclass(frozen=True, eq=False)
class Prediction:
    """The class of every pixel of an image; a notebook shows it as a picture."""

    mask: Int32[np.ndarray, "h w"]  # the most likely class: names[mask[y, x]]
    probabilities: Float32[np.ndarray, "h w c"] | None  # of all classes; None if not asked for
    names: tuple[str, ...]  # of the classes
    palette: tuple[Colour, ...]  # RGB of the classes, in 0..255
    void: int  # the label of pixels without a class in this data; it is never predicted
    image: UInt8[np.ndarray, "h w 3"]  # what was predicted, RGB

    @property
    def classes(self) -> Classes:
        return Classes(self.names, self.palette, self.void)

    def overlay(self) -> Image.Image:
        """The image tinted by class, above a legend of the classes in it."""
        return drawing.overlay(self.image, self.mask, self.classes)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the mask as a PNG of class indices, whole or not at all."""
        with files.replacing(Path(path)) as partial:
            drawing.write_index_png(partial, self.mask, self.classes)

    def _repr_png_(self) -> bytes:
        out = io.BytesIO()
        self._at_most(_DISPLAYED).overlay().save(out, "PNG")
        return out.getvalue()

    def _at_most(self, side: int) -> "Prediction":
        """Itself, or reduced to `side` pixels on the longer side, without probabilities."""
        if max(self.mask.shape) <= side:
            return self
        height, width = fitted(self.mask.shape, side)
        mask = cv2.resize(self.mask, (width, height), interpolation=cv2.INTER_NEAREST)
        image = with_longer_side(self.image, side)
        return dataclasses.replace(self, mask=mask, image=image, probabilities=None)

    def __repr__(self) -> str:
        shares = np.bincount(self.mask.ravel(), minlength=len(self.names)) / self.mask.size
        order = np.argsort(-shares, kind="stable")[:5]
        told = [f"{self.names[i]} {shares[i]:.0%}" for i in order if shares[i] >= 0.005]
        height, width = self.mask.shape
        return f"Prediction({width}x{height} pixels: {', '.join(told)})"


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Model:
    """A trained run at one of its steps; `jaxseg.load` opens it."""

    run: runs.Run

    @property
    def workdir(self) -> Path:
        return self.run.workdir

    @property
    def step(self) -> int:
        return self.run.step

    @property
    def config(self) -> Config:
        return self.run.config

    @property
    def classes(self) -> Classes:
        return self.run.classes

    @property
    def names(self) -> tuple[str, ...]:
        """Of the classes, by their index."""
        return self.run.classes.names

    @property
    def palette(self) -> tuple[Colour, ...]:
        """The RGB of each class, in 0..255."""
        return self.run.classes.palette

    @property
    def sizes(self) -> Sizes | None:
        """Of the training images; None where the run does not tell."""
        stored = self.run.meta.get("sizes")
        return Sizes.from_dict(stored) if stored else None

    @property
    def module(self) -> SegmentationModel:
        """The linen module: normalised images in, logits at its own stride and features out."""
        return self.run.program.model

    @property
    def variables(self) -> dict[str, Any]:
        """What evaluation applies, {"params", "batch_stats"}: averages if the run keeps them."""
        return self.run.state.eval_variables

    def apply(self, variables: Mapping[str, Any], images: jax.Array | np.ndarray) -> jax.Array:
        """The logits of every pixel: a pure function, for jit, grad and vmap.

        Args:
          variables: such as `model.variables`.
          images: RGB in 0..255, [b, h, w, 3], uint8 or floating point. They are normalised here
            and nothing is padded; `predict` pads as evaluation does.

        Returns:
          float32 [b, h, w, c]; their softmax is the probabilities.
        """
        return self.run.program.logits(variables, jnp.asarray(images))

    def predict(
        self, image: Any, *, probabilities: bool = True, resize: Resize = None
    ) -> Prediction:
        """Label every pixel of an image.

        Args:
          image: a path, a Pillow image, or an array [h, w, 3] in RGB or [h, w] in grey: uint8 in
            0..255, uint16 in 0..65535, or floating point in 0..1.
          probabilities: whether to give those of all classes, 4 bytes for a class and a pixel.
          resize: predict at another size, where the image's objects are larger or smaller than
            those of the training: so many pixels on the longer side, or "training", the median of
            the training images. The prediction comes back at the image's own size.

        Raises:
          UserError: it is no image, or the model can't take one of this size.

        Warns:
          SizeWarning: it is far larger or smaller than the images of the training.
        """
        return self._predict([image], probabilities=probabilities, resize=resize)[0]

    def predict_batch(
        self,
        images: Sequence[Any],
        *,
        probabilities: bool = True,
        resize: Resize = None,
        batch_size: int = 0,
    ) -> list[Prediction]:
        """`predict` for several images of one `padded_size`, which pass through together.

        Each size of a batch is compiled once. With a `batch_size`, blank images fill up smaller
        ones.

        Raises:
          UserError: also where the images differ in their padded size.
        """
        return self._predict(
            images, probabilities=probabilities, resize=resize, batch_size=batch_size
        )

    def padded_size(self, size: tuple[int, int], resize: Resize = None) -> tuple[int, int]:
        """The height and width at which the network sees an image of height and width `size`."""
        return inference.padded_size(fitted(size, self._longer_side(resize)), self.config)

    def _predict(
        self, images: Sequence[Any], *, probabilities: bool, resize: Resize, batch_size: int = 0
    ) -> list[Prediction]:
        found = [as_rgb(image, f"image {i}") for i, image in enumerate(images)]
        if not found:
            return []
        longer = self._longer_side(resize)
        if longer is None:
            self._warn_of_sizes(found)
        inputs = [with_longer_side(image, longer) for image in found]
        padded = [inference.padded_size(image.shape[:2], self.config) for image in inputs]
        if len(set(padded)) > 1:
            raise UserError(
                f"predict_batch got images of several padded sizes ({_listed(padded)}), expected "
                "one: see `padded_size`"
            )
        masks, scores = self._compute(
            inference.padded_batch(inputs, self.config, batch_size),
            with_scores=probabilities or longer is not None,
        )
        out = []
        for slot, (image, small) in enumerate(zip(found, inputs, strict=True)):
            height, width = small.shape[:2]
            mask = masks[slot, :height, :width].copy()  # of its own: the batch's memory goes
            own = None if scores is None else scores[slot, :height, :width].copy()
            if longer is not None and own is not None:
                mask, own = inference.at_size(own, image.shape[:2], keep=probabilities)
            out.append(Prediction(mask, own, self.names, self.palette, self.classes.void, image))
        return out

    def _compute(
        self, batch: Mapping[str, np.ndarray], *, with_scores: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """The masks of a batch and, if asked for, its probabilities, both with the padding."""
        if not with_scores:
            return np.asarray(self.run.program.predict_step(self.variables, batch)), None
        masks, scores = self.run.program.scores_step(self.variables, batch)
        return np.asarray(masks), np.asarray(scores)

    def _longer_side(self, resize: Resize) -> int | None:
        if resize is None:
            return None
        if resize == "training":
            if self.sizes is None:
                raise UserError(
                    f"resize is 'training', but {self.workdir} does not tell the sizes that it was "
                    "trained on: give the longer side in pixels"
                )
            return self.sizes.longer[1]
        if isinstance(resize, bool) or not isinstance(resize, int) or resize < 1:
            raise UserError(
                f"resize is {resize!r}, expected the longer side in pixels or 'training'"
            )
        return resize

    def _warn_of_sizes(self, images: Sequence[np.ndarray]) -> None:
        sides = [max(image.shape[:2]) for image in images]
        if self.sizes and (far := [side for side in sides if self.sizes.is_far(side)]):
            fix = "resize='training' predicts it at their size, and gives back its own"
            # whoever called `predict` or `predict_batch`, to whom Python says it once
            warnings.warn(self.sizes.warning("the image", far[0], fix), SizeWarning, stacklevel=4)

    def __repr__(self) -> str:
        return (
            f"Model({str(self.workdir)!r}, step {self.step}: {self.config.model.name}, "
            f"{len(self.names)} classes)"
        )


def load(
    workdir: str | os.PathLike[str],
    step: str | int = "best",
    *,
    changes: Mapping[str, Any] | None = None,
    announce: Callable[[str], None] = lambda _: None,
) -> Model:
    """A run of `jaxseg train` or `jaxseg weights convert`, to predict with.

    Args:
      workdir: the run's folder.
      step: a step's number, "latest", or "best" (by `config.best_metric`).
      changes: values of the config to use instead of the run's, such as {"eval.tile_size": 384}.
      announce: is told what compiles, and for how long.

    Raises:
      UserError: no run, no such step, or a wrong change.
    """
    compilation.cache_once()
    words = [f"--config.{key}={value}" for key, value in (changes or {}).items()]
    run = runs.open_run(Path(workdir), step, changes=words, command="load", announce=announce)
    return Model(run)


def _listed(sizes: Sequence[tuple[int, int]]) -> str:
    return ", ".join(f"{height}x{width}" for height, width in dict.fromkeys(sizes))
