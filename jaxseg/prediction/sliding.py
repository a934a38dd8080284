"""Sliding windows over an image of any size, read as they need it.

Windows pass a row at a time, those of all scales in the order of the image's rows, and a row of the
image is given away when its last window has passed. Held are the probabilities of the rows of one
row of windows (height x the image's width x classes x 4 bytes; at scale 0.5 a window is twice as
high), the pixels under one row of windows, and one batch of windows: nothing grows with the
image's height.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int, UInt

from jaxseg.data import padding
from jaxseg.defaults import Config
from jaxseg.inference import padded_size, windows
from jaxseg.inference.views import canvas_of, scaled, source_of
from jaxseg.program import Program

# (first, end) -> these rows of an image, in the config's channels and bits
Read = Callable[[int, int], UInt[np.ndarray, "_ w c"]]
# Windows that pass together: so many at most, of so many pixels.
_BATCH, _BATCH_PIXELS, _GPU_BATCH_PIXELS = 8, 2**18, 2**22


def slide(
    program: Program, variables: Any, read: Read, size: tuple[int, int], config: Config
) -> Iterator[tuple[int, Float32[np.ndarray, "_ w c"]]]:
    """The first row, and the probabilities, of one part of an image after the other, from the top.

    They are those of evaluation with `program.views`, to rounding. The array is used again.

    Args:
      program: its model, views and compiled steps.
      variables: of the state, `eval_variables`.
      read: the image.
      size: its height and width.
      config: the run's, which says how the image is padded.
    """
    passes = [
        _Pass.build(scale, size, program, variables, config) for scale in program.views.scales
    ]
    rows = sorted(
        (first, number, row)
        for number, each in enumerate(passes)
        for row, first in enumerate(each.axes[0].firsts.tolist())
    )
    height, width = size
    held = max(each.axes[0].places.shape[1] for each in passes)
    columns = padded_size(size, config)[1]
    total = np.zeros((held, columns, program.model.num_classes), np.float32)
    begin = 0
    for first, number, row in rows:
        if first >= height:  # nothing but padding
            break
        if done := first - begin:
            yield begin, total[:done, :width]
            total[:-done] = total[done:]
            total[-done:] = 0
            begin = first
        passes[number].add(total, row, read)
    yield begin, total[: height - begin, :width]


@dataclasses.dataclass(frozen=True)
class _Pass:
    """The windows of one scale."""

    scale: float
    share: float  # of it in the mean
    size: tuple[int, int]  # of the image
    axes: tuple[windows.Axis, windows.Axis]
    logits: tuple[int, int]  # height and width of a window's
    sources: tuple["_Source", "_Source"]
    fill: np.ndarray  # the pixel of padding
    batch: int
    step: Callable[[dict[str, np.ndarray]], Array]

    @classmethod
    def build(
        cls, scale: float, size: tuple[int, int], program: Program, variables: Any, config: Config
    ) -> "_Pass":
        model, views = program.model, program.views
        padded = padded_size(size, config)
        axes = windows.axes(padded, scale, views, model)
        sides = (axes[0].window, axes[1].window)
        image = jax.ShapeDtypeStruct((1, *sides, config.dataset.channels), jnp.float32)
        logits, _ = jax.eval_shape(lambda x: model.apply(variables, x, train=False), image)
        canvas = canvas_of(padded, scale, model)
        room = _BATCH_PIXELS if program.parallel.platform == "cpu" else _GPU_BATCH_PIXELS
        fit = min(room // math.prod(sides), _BATCH, len(axes[1].starts))
        mean = np.asarray(config.dataset.mean, np.float32)
        pixel = padding.mean_pixel(config.dataset.mean, config.dataset.bits)
        step = program.predicting(views).window_step
        return cls(
            scale=scale,
            share=1 / len(views.scales),
            size=size,
            axes=axes,
            logits=(logits.shape[1], logits.shape[2]),
            sources=tuple(  # pyright: ignore[reportArgumentType]
                _Source.for_side(*each, scale, model.corners)
                for each in zip(size, canvas, strict=True)
            ),
            fill=pixel if scale == 1 else mean,
            batch=max(fit, 1),
            step=lambda batch: step(variables, batch),
        )

    def add(self, total: np.ndarray, row: int, read: Read) -> None:
        """A row of windows to probabilities that begin with the first row that it sees."""
        strip = self._strip(row, read)
        count, before = len(self.axes[1].starts), None
        for low in range(0, count, self.batch):
            chosen = list(range(low, min(low + self.batch, count)))
            computed = self.step(self._batch(strip, row, chosen))
            if before is not None:  # a batch behind, so that the device need not wait
                self._put(total, *before)
            before = chosen, computed
        if before is not None:
            self._put(total, *before)

    def _strip(self, row: int, read: Read) -> np.ndarray:
        """The rows that a row of windows sees, rescaled, as far as the image reaches."""
        start = int(self.axes[0].starts[row])
        part = self.sources[0].in_window(start, self.axes[0].window)
        if not len(part.first):
            return np.empty((0, self.size[1], len(self.fill)), self.fill.dtype)
        low = int(part.first.min())
        pixels = read(low, int(part.second.max()) + 1)
        return part.mix(pixels, low, axis=0)

    def _batch(self, strip: np.ndarray, row: int, chosen: Sequence[int]) -> dict[str, np.ndarray]:
        rows, columns = self.axes
        shape = (self.batch, rows.window, columns.window, len(self.fill))
        images = np.empty(shape, self.fill.dtype)
        images[:] = self.fill
        for slot, column in enumerate(chosen):
            part = self.sources[1].in_window(int(columns.starts[column]), columns.window)
            seen = part.mix(strip, 0, axis=1)
            images[slot, : seen.shape[0], : seen.shape[1]] = seen
        filled = [*chosen, *[chosen[-1]] * (self.batch - len(chosen))]
        batch = {"image": images}
        for name, axis, logits, indices in (
            ("row", rows, self.logits[0], [row] * self.batch),
            ("column", columns, self.logits[1], filled),
        ):
            batch[f"{name}_weight"] = axis.weights[indices]
            if not axis.has_pixels_of(logits):
                batch[f"{name}_matrix"] = axis.matrices(logits, indices)
        return batch

    def _put(self, total: np.ndarray, chosen: Sequence[int], computed: Array) -> None:
        for column, part in zip(chosen, np.asarray(computed), strict=False):
            left, (height, width, _) = self.axes[1].firsts[column], part.shape
            place = total[:height, left : left + width]
            place += self.share * part


@dataclasses.dataclass(frozen=True)
class _Source:
    """Of which of an image's pixels, along an axis, the rescaled ones are made: two each."""

    first: Int[np.ndarray, " n"]
    second: Int[np.ndarray, " n"]
    share: Float[np.ndarray, " n"] | None  # of the second; None: the first as it is

    @classmethod
    def for_side(cls, side: int, canvas: int, scale: float, corners: str) -> "_Source":
        if scale == 1:
            return cls(np.arange(side), np.arange(side), None)
        low, share = source_of(min(canvas, scaled(side, scale, corners)), scale, corners)
        return cls(np.clip(low, 0, side - 1), np.clip(low + 1, 0, side - 1), share)

    def in_window(self, start: int, length: int) -> "_Source":
        """Of those of a window that there are in the image."""
        cut = slice(start, start + length)
        share = None if self.share is None else self.share[cut]
        return _Source(self.first[cut], self.second[cut], share)

    def mix(self, pixels: np.ndarray, low: int, axis: int) -> np.ndarray:
        """They are made of `pixels`, which begin at the image's `low`."""
        if self.share is None:
            return np.take(pixels, self.first - low, axis)
        share = self.share.reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
        one = np.take(pixels, self.first - low, axis) * (1 - share)
        return one + np.take(pixels, self.second - low, axis) * share
