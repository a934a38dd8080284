"""How much of a checkerboard upsampling leaves in the class scores.

Transposed convolutions paint patterns that repeat at their stride (Odena, Dumoulin, Olah 2016,
"Deconvolution and checkerboard artifacts", Distill, which shows them and gives no measure). This
measure is ours. For each image and class, of the map of the class's probability:

1. Its part within the image, without padding, loses its mean and is multiplied by a Hann window
   over height and width, so that neither the level nor the border shows in the spectrum.
2. Its power spectrum is taken. A pattern that repeats every s pixels has its energy at multiples of
   1/s cycles per pixel, in rows and columns, but not at (0, 0).
3. What lies around these counts: within 1/(8 s) in rows and in columns. A narrower neighbourhood
   would miss patterns whose strength changes over the image.

`checkerboard_s` is this energy over all energy, each added up over the images and classes of the
split, for s = 2, 4 and 8; `checkerboard_s_db` is the same in decibels (10 log10): shares span
powers of ten, and nets are compared by these. Frequencies of a smaller stride are among those of a
larger one.

A pattern alone gives 1 and smooth maps 0. White noise gives (1 - 1/s^2) / 16: about 0.05. Sharp
borders between classes have some energy everywhere, with any upsampling: only differences between
nets tell something. Images should be larger than 16 s pixels, for the window blurs frequencies by
2 / size.
"""

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxseg.data.source import Classes
from jaxseg.metrics import percent

STRIDES = (2, 4, 8)


class Evaluator:
    """Adds up all energy, and that around the frequencies of each stride."""

    needs = ("scores",)
    higher_is_better = dict.fromkeys([f"checkerboard_{s}" for s in STRIDES], False)
    protocol = (
        "share of the energy of the probabilities' spectra within 1/(8 s) of the multiples of 1/s "
        "cycles per pixel, Hann window, no padding"
    )

    def __init__(self, classes: Classes) -> None:
        pass

    def init(self) -> np.ndarray:
        return np.zeros(1 + len(STRIDES), np.float64)

    def update(
        self, prediction: Int[Array, "b h w"], batch: Mapping[str, Array]
    ) -> Float[Array, " s"]:
        # an image at a time: spectra are complex, twice the size of the scores
        energies = jax.lax.map(_energies, (batch["scores"], batch["size"]))
        return batch["mask"].astype(jnp.float32) @ energies

    def compute(self, sums: np.ndarray) -> dict[str, Any]:
        total, *near = sums.tolist()
        found: dict[str, float | None] = {}
        for stride, energy in zip(STRIDES, near, strict=True):
            share = energy / total if total else None
            found[f"checkerboard_{stride}"] = share
            found[f"checkerboard_{stride}_db"] = (
                10 * math.log10(share) if share and share > 0 else None
            )
        return found

    def table(self, scores: dict[str, Any]) -> str:
        shares = (f"{s} px {percent(scores[f'checkerboard_{s}'])} %" for s in STRIDES)
        return "energy of patterns that repeat every " + ", ".join(shares)


def _energies(
    scores_and_size: tuple[Float[Array, "h w c"], Int[Array, "2"]],
) -> Float[Array, " s"]:
    """The energy of an image's maps: all of it, then that around each stride's frequencies."""
    scores, size = scores_and_size
    height, width, _ = scores.shape
    window = (_hann(size[0], height)[:, None] * _hann(size[1], width))[..., None]
    mean = (window * scores).sum((0, 1)) / window.sum()
    # channels first: the transform is over the last axes
    waves = jnp.fft.rfft2((window * (scores - mean)).transpose(2, 0, 1))
    power = (jnp.abs(waves) ** 2).sum(0)
    rows, columns = np.fft.fftfreq(height), np.fft.rfftfreq(width)
    # all columns but the first, and the last of an even width, stand for their mirror image too
    power = power * np.where((columns == 0) | (columns == 0.5), 1, 2).astype(np.float32)

    def around(spacing: float, reach: float) -> Float[Array, ""]:
        weights = _near(rows, height, spacing, reach), _near(columns, width, spacing, reach)
        return jnp.einsum("hw,h,w", power, *weights)

    energies = [power.sum()]
    for stride in STRIDES:
        reach = 1 / (8 * stride)
        energies.append(around(1 / stride, reach) - around(1.0, reach))  # of 1: (0, 0) alone
    return jnp.stack(energies)


def _near(
    frequencies: Float[np.ndarray, " f"], length: int, spacing: float, reach: float
) -> Float[np.ndarray, " f"]:
    """How much of each bin, 1 / length wide, is within `reach` of a multiple of `spacing`."""
    distance = np.abs(frequencies - np.round(frequencies / spacing) * spacing)
    return np.clip((reach - distance) * length + 0.5, 0, 1).astype(np.float32)


def _hann(size: Int[Array, ""], length: int) -> Float[Array, " n"]:
    """A Hann window over the first `size` of `length` pixels, zero in the rest."""
    centres = jnp.arange(length, dtype=jnp.float32) + 0.5
    return jnp.where(centres < size, jnp.sin(jnp.pi * centres / size) ** 2, 0.0)
