"""A trained run in Python: `model = jaxseg.load(workdir)`, then `model.predict(image)`.

`jaxseg predict` does the same for files, see `files`.
"""

import dataclasses
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32
from ml_collections import ConfigDict

from jaxseg import compilation, inference, runs
from jaxseg.config import check_config
from jaxseg.data.images import as_pixels
from jaxseg.data.palettes import Colour
from jaxseg.data.pixels import PixelFormat
from jaxseg.data.sizes import Sizes, fitted, with_longer_side
from jaxseg.data.source import Classes
from jaxseg.defaults import Config, to_dict
from jaxseg.errors import UserError
from jaxseg.inference.views import Views
from jaxseg.models.contract import SegmentationModel
from jaxseg.prediction import sliding
from jaxseg.prediction.result import Prediction
from jaxseg.temperature import stored

Resize = int | Literal["training"] | None


class SizeWarning(UserWarning):
    """An image is far larger or smaller than those that the model was trained on."""


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
    def pixels(self) -> PixelFormat:
        """The channels and bits of the images that it was trained on."""
        return PixelFormat.from_config(self.config.dataset)

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
          images: [b, h, w, c], by default RGB in 0..255; of a model of 16 bits in 0..65535. uint8,
            uint16 or floating point. They are normalised here and nothing is padded; `predict`
            pads as evaluation does.

        Returns:
          float32 [b, h, w, c]; their softmax is the probabilities.
        """
        return self.run.program.logits(variables, jnp.asarray(images))

    def with_views(
        self,
        *,
        scales: Sequence[float | int] | None = None,
        flip: bool | None = None,
        window: int | Sequence[int] | None = None,
        overlap: float | int | None = None,
        temperature: float | int | Literal["run"] | None = None,
    ) -> "Model":
        """The same model that sees images otherwise: the values of `config.eval` with these names.

        None leaves a value as it is. The probabilities of all views are averaged, see
        `jaxseg/inference/views.py`. The temperature "run" is the one that `jaxseg evaluate
        --fit_temperature` stored with the run.

        Raises:
          UserError: a value that can't be, or that does not suit the model.
        """
        if temperature == "run":
            temperature = stored(self.workdir)
        given = {
            "scales": None if scales is None else tuple(scales),
            "flip": flip,
            "window": (window,) if isinstance(window, int) else window and tuple(window),
            "overlap": overlap,
            "temperature": temperature,
        }
        given = {key: value for key, value in given.items() if value is not None}
        if not given:
            return self
        plain = to_dict(self.config)
        plain["eval"].update(given)
        config = check_config(ConfigDict(plain))
        views = Views.from_config(config.eval)
        views.check(self.module)
        steps = self.run.program.predicting(views)
        program = dataclasses.replace(
            self.run.program,
            views=views,
            predict_step=steps.predict_step,
            scores_step=steps.scores_step,
        )
        return Model(dataclasses.replace(self.run, program=program, config=config))

    def predict(
        self,
        image: Any,
        *,
        probabilities: bool = True,
        resize: Resize = None,
        scales: Sequence[float | int] | None = None,
        flip: bool | None = None,
        window: int | Sequence[int] | None = None,
        temperature: float | int | Literal["run"] | None = None,
    ) -> Prediction:
        """Label every pixel of an image.

        Args:
          image: a path, a Pillow image, or an array [h, w, 3] in RGB or [h, w] in grey: uint8 in
            0..255, uint16 in 0..65535, or floating point in 0..1. A model of grey takes RGB's luma;
            one of another number of channels wants as many.
          probabilities: whether to give those of all classes, 4 bytes for a class and a pixel.
          resize: predict at another size, where the image's objects are larger or smaller than
            those of the training: so many pixels on the longer side, or "training", the median of
            the training images. The prediction comes back at the image's own size.
          scales: see `with_views`, as for the next three; None is what the run has.
          flip: left to right, too.
          window: pixels a side, or rows and columns.
          temperature: a number, or "run".

        Raises:
          UserError: it is no image, or the model can't take one of this size.

        Warns:
          SizeWarning: it is far larger or smaller than the images of the training.
        """
        views = {"scales": scales, "flip": flip, "window": window, "temperature": temperature}
        model = self.with_views(**views)
        return model._predict([image], probabilities=probabilities, resize=resize)[0]

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
        found = [as_pixels(image, f"image {i}", self.pixels) for i, image in enumerate(images)]
        if not found:
            return []
        longer = self._longer_side(resize)
        if longer is None and not self.run.program.views.has_window:  # for images larger by design
            self._warn_of_sizes(found)
        inputs = [with_longer_side(image, longer) for image in found]
        padded = [inference.padded_size(image.shape[:2], self.config) for image in inputs]
        if len(set(padded)) > 1:
            raise UserError(
                f"predict_batch got images of several padded sizes ({_listed(padded)}), expected "
                "one: see `padded_size`"
            )
        with_scores = probabilities or longer is not None
        if self.has_windows(inputs[0].shape[:2]):
            slid = [self._slide(image, keep=with_scores) for image in inputs]
            masks = [mask for mask, _ in slid]
            scores = [own for _, own in slid if own is not None] or None
        else:
            batch = inference.padded_batch(inputs, self.config, batch_size)
            masks, scores = self._compute(batch, with_scores=with_scores)
        out = []
        for slot, (image, small) in enumerate(zip(found, inputs, strict=True)):
            height, width = small.shape[:2]
            mask = masks[slot][:height, :width].copy()  # of its own: the batch's memory goes
            own = None if scores is None else scores[slot][:height, :width].copy()
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

    def has_windows(self, size: tuple[int, int], resize: Resize = None) -> bool:
        """Whether windows slide over an image of this height and width; else one covers it."""
        padded = self.padded_size(size, resize)
        return self.run.program.views.for_size(padded, self.module).has_window

    def rows(
        self, read: sliding.Read, size: tuple[int, int]
    ) -> Iterator[tuple[int, Float32[np.ndarray, "_ w c"]]]:
        """The probabilities of an image by windows, a few rows at a time: see `sliding.slide`."""
        return sliding.slide(self.run.program, self.variables, read, size, self.config)

    def _slide(self, image: np.ndarray, *, keep: bool) -> tuple[np.ndarray, np.ndarray | None]:
        """The mask and, if they are to be kept, the probabilities of an image by windows."""
        size = height, width = image.shape[:2]
        mask = np.empty(size, np.int32)
        scores = np.empty((height, width, len(self.names)), np.float32) if keep else None
        for first, rows in self.rows(lambda low, high: image[low:high], size):
            mask[first : first + len(rows)] = rows.argmax(-1)
            if scores is not None:
                scores[first : first + len(rows)] = rows
        return mask, scores

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
