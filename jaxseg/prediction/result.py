"""The prediction of an image."""

import dataclasses
import io
import os
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float32, Int32, UInt
from PIL import Image

from jaxseg import drawing, files
from jaxseg.data.palettes import Colour
from jaxseg.data.sizes import fitted, with_longer_side
from jaxseg.data.source import Classes

_DISPLAYED = 1024  # pixels a side of what a notebook shows at most


@dataclasses.dataclass(frozen=True, eq=False)
class Prediction:
    """The class of every pixel of an image; a notebook shows it as a picture."""

    mask: Int32[np.ndarray, "h w"]  # the most likely class: names[mask[y, x]]
    probabilities: Float32[np.ndarray, "h w c"] | None  # of all classes; None if not asked for
    names: tuple[str, ...]  # of the classes
    palette: tuple[Colour, ...]  # RGB of the classes, in 0..255
    void: int  # the label of pixels without a class in this data; it is never predicted
    image: UInt[np.ndarray, "h w _"]  # what was predicted, in the model's channels and bits

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
