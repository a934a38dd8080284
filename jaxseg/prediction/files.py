"""Prediction for files: read ahead, batched by size, written beside the computation.

One bad image is no reason to stop: it is a `Failure`, and the others are predicted.
"""

import contextlib
import dataclasses
import functools
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt
from tqdm import tqdm

from jaxseg.compilation import Announced
from jaxseg.data.images import longer_side, read_image
from jaxseg.data.pipeline.reading import read_ahead
from jaxseg.data.pixels import PixelFormat
from jaxseg.errors import UserError, is_out_of_memory
from jaxseg.prediction.model import Model, Resize, SizeWarning
from jaxseg.prediction.output import Output, Writer

# Without a batch size, so many images at most, of so many pixels together. On 2 CPU cores 64x64
# pixels gain a fifth by passing in eights, and 480x360 nothing; a GPU, not yet measured, has more
# room to fill.
_BATCH, _BATCH_PIXELS, _GPU_BATCH_PIXELS = 8, 2**18, 2**22
_BATCH_SCORES = 2**26  # probabilities of a batch
_WAITING = 4  # batches of images that wait for others of their size, at most


@dataclasses.dataclass(frozen=True)
class Failure:
    """An image without a prediction, and the reason in one line."""

    path: Path
    reason: str


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of the files."""

    predicted: int
    failures: tuple[Failure, ...]
    seconds: float  # of images without compilation
    units: int  # images, frames of videos, or pixels of rasters


def predict(
    model: Model,
    images: Sequence[Path],
    targets: Sequence[Path],
    output: Output,
    *,
    batch_size: int = 0,
    resize: Resize = None,
) -> Outcome:
    """Predict `images` and write the `output` of each at its path in `targets`.

    A few batches of images are in memory at a time: some read ahead, those that wait for others
    of their size, and those that are being written.

    Args:
      model: what predicts.
      images: files.
      targets: for each of them, see `paths.targets`.
      output: what to write.
      batch_size: images that pass through the model together, of one padded size; 0: by their
        size.
      resize: of `Model.predict`.

    Raises:
      OSError: a file can't be written.
    """
    failures: list[Failure] = []
    start, compiled = time.perf_counter(), _compile_seconds(model)
    workers = model.config.pipeline.workers
    read = functools.partial(_read, pixels=model.pixels)
    jobs = (functools.partial(read, *pair) for pair in zip(images, targets, strict=True))
    programs: dict[tuple[int, int], set[int]] = {}  # the sizes of batches that are compiled
    with (
        contextlib.closing(read_ahead(jobs, workers, max(batch_size or _BATCH, workers))) as found,
        Writer(output, workers) as writer,
        tqdm(total=len(images), unit="image", disable=None, leave=False) as bar,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", SizeWarning)  # the command warns once, of all, beforehand
        size_of = functools.partial(batch_of, model, output, batch_size, resize)
        for batch in _batches(_readable(found, failures, bar), size_of):
            known = programs.setdefault(size_of(batch[0].image)[0], set())
            slots = min((n for n in known if n >= len(batch)), default=len(batch))
            known.add(slots)
            try:
                predictions = model.predict_batch(
                    [each.image for each in batch],
                    probabilities=output.probabilities is not None,
                    resize=resize,
                    batch_size=slots,
                )
            except (UserError, RuntimeError, ValueError) as error:
                reason = reason_of(error, slots)
                failures += [Failure(each.path, reason) for each in batch]
            else:
                writer.write(predictions, [each.target for each in batch])
            bar.update(len(batch))
    seconds = time.perf_counter() - start - (_compile_seconds(model) - compiled)
    order = {path: index for index, path in enumerate(images)}
    failures.sort(key=lambda failure: order[failure.path])
    done = len(images) - len(failures)
    return Outcome(done, tuple(failures), seconds, done)


def size_warning(model: Model, images: Sequence[Path]) -> str | None:
    """One line if images are far larger or smaller than those of the training, from headers."""
    sizes = model.sizes
    if sizes is None or model.run.program.views.has_window:  # then they are larger by design
        return None
    with ThreadPoolExecutor(8) as pool:  # where files are far away, opening one takes a while
        sides = pool.map(longer_side, images)
        far = [(p, n) for p, n in zip(images, sides, strict=True) if n and sizes.is_far(n)]
    if not far:
        return None
    path, side = far[0]
    more = f" (one of {len(far)} such images of {len(images)})" if len(far) > 1 else ""
    fix = "--resize=training predicts at their size, --resize=N with N pixels on the longer side"
    return sizes.warning(f"{path}{more}", side, fix)


@dataclasses.dataclass(frozen=True)
class _Item:
    path: Path
    target: Path
    image: UInt[np.ndarray, "h w c"]


def _read(path: Path, target: Path, *, pixels: PixelFormat) -> _Item | Failure:
    try:
        return _Item(path, target, read_image(path, str(path), pixels))
    except (UserError, OSError, ValueError, RuntimeError, cv2.error) as error:
        return Failure(path, _in_one_line(error))


def _readable(
    found: Iterable[_Item | Failure], failures: list[Failure], bar: tqdm
) -> Iterator[_Item]:
    for each in found:
        if isinstance(each, Failure):
            failures.append(each)
            bar.update()
        else:
            yield each


def batch_of(
    model: Model,
    output: Output,
    batch_size: int,
    resize: Resize,
    image: UInt[np.ndarray, "h w c"],
) -> tuple[tuple[int, int], int]:
    """The padded size of an image, and how many such pass together."""
    height, width = padded = model.padded_size(image.shape[:2], resize)
    if model.has_windows(image.shape[:2], resize):  # which make batches of their own
        return padded, 1
    if batch_size:
        return padded, batch_size
    pixels = max(height * width, image.shape[0] * image.shape[1])
    on_cpu = model.run.program.parallel.platform == "cpu"
    fit = (_BATCH_PIXELS if on_cpu else _GPU_BATCH_PIXELS) // pixels
    averaged = not model.run.program.views.is_plain
    if output.probabilities is not None or resize is not None or averaged:
        fit = min(fit, _BATCH_SCORES // (pixels * len(model.names)))
    return padded, min(max(fit, 1), _BATCH)


def _batches(
    items: Iterable[_Item], size_of: Callable[[np.ndarray], tuple[tuple[int, int], int]]
) -> Iterator[list[_Item]]:
    """Images of equal padded size; incomplete batches come last, or when many images wait."""
    waiting: dict[tuple[int, int], list[_Item]] = {}
    for item in items:
        padded, count = size_of(item.image)
        bucket = waiting.setdefault(padded, [])
        bucket.append(item)
        if len(bucket) >= count:
            yield waiting.pop(padded)
        elif sum(map(len, waiting.values())) >= _WAITING * count:
            yield waiting.pop(max(waiting, key=lambda padded: len(waiting[padded])))
    yield from waiting.values()


def reason_of(error: Exception, count: int) -> str:
    """Why a batch could not be predicted; raises `error` if it is not about its images."""
    if is_out_of_memory(error):
        lower = f"--batch_size={count // 2}, or " if count > 1 else ""
        return f"the device is out of memory: {lower}--resize=N for N pixels on the longer side"
    if not isinstance(error, UserError | FileNotFoundError | cv2.error):
        raise error
    return _in_one_line(error)


def _in_one_line(error: Exception) -> str:
    reason = error.strerror if isinstance(error, OSError) else None
    return " ".join((reason or str(error) or type(error).__name__).split())


def _compile_seconds(model: Model) -> float:
    program = model.run.program
    window_step = program.predicting(program.views).window_step
    steps = (program.predict_step, program.scores_step, window_step)
    return sum(step.compile_seconds for step in steps if isinstance(step, Announced))
