"""Batches for training and for evaluation, read by threads, equal whatever their number.

A plain pool of threads, not Grain: decoding and warping release Python's lock, so both are as fast
(CamVid's 480x360 JPEGs on two cores, medians: pool of two 176 images/s, Grain 0.2.18 with two
threads 170, four 168, two processes 163), and here the position is one integer that holds for any
number of workers, where Grain's restores only for the number it was saved with.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Int32, UInt8

from jaxseg.data import transforms
from jaxseg.data.borders import Weigh
from jaxseg.data.padding import mean_pixel, padded_size
from jaxseg.data.source import Example, Source
from jaxseg.errors import UserError

T = TypeVar("T")

# the threads are ours: with OpenCV's own on top they would fight for the same cores
cv2.setNumThreads(0)


class Batch(NamedTuple):
    """`mask` is False for examples that only fill up a batch: they count nowhere.

    `weight` is what the loss adds to the class weight of each pixel, None where it adds nothing.
    `size` is the height and width of each image without evaluation's padding.
    """

    names: tuple[str, ...]
    image: UInt8[np.ndarray, "b h w 3"]
    label: Int32[np.ndarray, "b h w"]
    mask: Bool[np.ndarray, " b"]
    size: Int32[np.ndarray, "b 2"]
    weight: Float32[np.ndarray, "b h w"] | None = None

    def for_training(self) -> dict[str, np.ndarray]:
        """What a training step takes."""
        arrays = {"image": self.image, "label": self.label}
        return arrays if self.weight is None else {**arrays, "weight": self.weight}

    def for_evaluation(self) -> dict[str, np.ndarray]:
        """What an evaluation step takes."""
        return {"image": self.image, "label": self.label, "mask": self.mask, "size": self.size}


class Skipped:
    """Examples that could not be read and are left out: each is announced once."""

    def __init__(self, announce: Callable[[str], None]) -> None:
        self._announce = announce
        self._lock = threading.Lock()
        self._indices: set[int] = set()

    def __contains__(self, index: int) -> bool:
        return index in self._indices

    def __len__(self) -> int:
        return len(self._indices)

    def add(self, index: int, reason: str) -> None:
        with self._lock:
            if index not in self._indices:
                self._indices.add(index)
                self._announce(f"skipped: {reason}")


class UnreadableError(UserError):
    """An example can't be read."""


FilledBatch = tuple[Batch, list[str]]  # its names are known once all its examples are read


class BatchIterator(Iterator[Batch]):
    """Iterates over batches; `wait_seconds` is the time its consumer has waited for them, in all.

    `close` (or leaving a `with` block) stops the threads behind it.
    """

    def __init__(self, batches: Generator[Batch]) -> None:
        self._batches = batches
        self.wait_seconds = 0.0

    def __next__(self) -> Batch:
        begin = time.perf_counter()
        try:
            return next(self._batches)
        finally:
            self.wait_seconds += time.perf_counter() - begin

    def close(self) -> None:
        self._batches.close()

    def __enter__(self) -> BatchIterator:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def train_batches(
    source: Source,
    *,
    start: int,
    batch_size: int,
    seed: int,
    augment: Any,
    mean: Sequence[float | int],
    workers: int,
    prefetch: int,
    weigh: Weigh | None = None,
    context: int = 0,
    skipped: Skipped | None = None,
    process_index: int = 0,
    process_count: int = 1,
) -> BatchIterator:
    """Batches number `start`, `start + 1`, ... without end: the position in the data is one int.

    Position p of the stream is element p % n of epoch p // n, each epoch a permutation of its own
    by (seed, epoch); its augmentation depends on (seed, epoch, index) alone. So the stream is one
    and the same for any number of workers or processes, and from any start.

    Args:
        source: the examples.
        start: the first batch's number.
        batch_size: examples in a batch over all processes; each process gets its contiguous part.
        seed: not negative.
        augment: a config's `augment` part (see `transforms`).
        mean: RGB in 0..255, what padding is filled with.
        workers: reading threads.
        prefetch: batches read ahead.
        weigh: gives a batch's `weight` from the augmented labels (see `borders`).
        context: pixels on every side of a crop that the model gives no logits for.
        skipped: gets what can't be read, which the next in the epoch's order stands in for; without
            it an example that can't be read raises an UnreadableError.
        process_index: this process, of `process_count`.
        process_count: must divide `batch_size`.
    """
    transforms.check(augment)
    _check_counts(len(source), batch_size, workers, process_count)
    local = batch_size // process_count
    first = process_index * local
    crop_size = (int(augment.crop_size[0]), int(augment.crop_size[1]))
    pixel, void = mean_pixel(mean), source.classes.void
    size = len(source)

    # shuffle, then repeat: each epoch is complete. A few epochs can be in flight at once
    @functools.lru_cache(maxsize=8)
    def permutation(epoch: int) -> np.ndarray:
        # 0 and 1 tell shuffling from augmentation: (seed, epoch) and (seed, epoch, 0) are one seed
        return np.random.default_rng((seed, 0, epoch)).permutation(size)

    def fill(batch: Batch, names: list[str], slot: int, position: int) -> FilledBatch:
        epoch, place = divmod(position, size)
        order = permutation(epoch)
        turns = (int(order[(place + further) % size]) for further in range(size))
        index, example = _next_readable(source, turns, skipped)
        names[slot] = example["name"]
        drawn = transforms.draw(np.random.default_rng((seed, 1, epoch, index)), augment)
        with _naming(example["name"]):
            batch.image[slot], batch.label[slot] = transforms.apply(
                example["image"],
                example["label"],
                drawn,
                crop_size=crop_size,
                mean=pixel,
                void=void,
                context=context,
            )
            if weigh is not None and batch.weight is not None:
                batch.weight[slot] = weigh(batch.label[slot])
        return batch, names

    def jobs() -> Iterator[Callable[[], FilledBatch]]:
        for number in itertools.count(start):
            batch, names = _empty_batch(local, crop_size), [""] * local
            if weigh is not None:
                batch = batch._replace(weight=np.empty(batch.label.shape, np.float32))
            begin = number * batch_size + first
            for slot in range(local):
                yield functools.partial(fill, batch, names, slot, begin + slot)

    def batches() -> Generator[Batch]:
        filled = _read_ahead(jobs(), workers, ahead=max(prefetch, 1) * local)
        with contextlib.closing(filled):
            while True:
                for _ in range(local):
                    batch, names = next(filled)
                yield batch._replace(names=tuple(names))

    return BatchIterator(batches())


def eval_batches(
    source: Source,
    *,
    batch_size: int,
    size_multiple: int,
    canvas: tuple[int, int] = (0, 0),
    mean: Sequence[float | int],
    workers: int,
    skipped: Skipped | None = None,
    process_index: int = 0,
    process_count: int = 1,
) -> BatchIterator:
    """Every example once, whole and unscaled, in batches of one size each.

    Images are padded at the bottom and on the right with the mean pixel and void (to what size:
    `padded_size`). Examples of one padded size share batches, in the source's order; batches left
    incomplete come last, filled up with mask False. What can't be read goes to `skipped`, as in
    `train_batches`.

    With several processes each gives its contiguous part of every batch, and reads that alone:
    all of them know all sizes, so they agree on the batches.
    """
    _check_counts(len(source), batch_size, workers, process_count)
    if size_multiple < 1:
        raise UserError(f"size_multiple {size_multiple}: expected at least 1")
    if min(canvas) < 0:
        raise UserError(f"canvas {canvas}: expected (height, width), (0, 0) for none")
    local = batch_size // process_count
    mine = slice(process_index * local, (process_index + 1) * local)
    pixel, void = mean_pixel(mean), source.classes.void

    def plan() -> Iterator[tuple[tuple[int, int], list[int]]]:
        """Each batch's padded size and this process's examples in it."""
        buckets: dict[tuple[int, int], list[int]] = {}
        # every process misses the same sizes, and the first one counts them
        missed = Skipped(lambda _: None) if skipped is not None and process_index else skipped
        for index in range(len(source)):
            size = _readable(source.size, index, missed)
            if size is None:
                continue
            padded = padded_size(size, canvas=canvas, multiple=size_multiple)
            bucket = buckets.setdefault(padded, [])
            bucket.append(index)
            if len(bucket) == batch_size:
                yield padded, bucket[mine]
                bucket.clear()
        yield from ((padded, bucket[mine]) for padded, bucket in buckets.items() if bucket)

    def batches() -> Generator[Batch]:
        planned, ahead = itertools.tee(plan())
        jobs = (
            functools.partial(_readable, source.__getitem__, index, skipped)
            for _, indices in ahead
            for index in indices
        )
        with contextlib.closing(_read_ahead(jobs, workers, ahead=local)) as examples:
            for padded, indices in planned:
                read = [next(examples) for _ in indices]
                yield _padded_batch(list(filter(None, read)), padded, local, pixel, void)

    return BatchIterator(batches())


def _padded_batch(
    examples: list[Example],
    size: tuple[int, ...],
    count: int,
    pixel: UInt8[np.ndarray, " 3"],
    void: int,
) -> Batch:
    batch = _empty_batch(count, size)
    batch.image[:] = pixel
    batch.label[:] = void
    for slot, example in enumerate(examples):
        height, width = batch.size[slot] = example["label"].shape
        batch.image[slot, :height, :width] = example["image"]
        batch.label[slot, :height, :width] = example["label"]
    batch.mask[len(examples) :] = False
    blank = ("",) * (count - len(examples))
    return batch._replace(names=tuple(example["name"] for example in examples) + blank)


def _empty_batch(count: int, size: tuple[int, ...]) -> Batch:
    image, label = np.empty((count, *size, 3), np.uint8), np.empty((count, *size), np.int32)
    return Batch((), image, label, np.ones(count, bool), np.full((count, 2), size, np.int32))


def _read_ahead(jobs: Iterable[Callable[[], T]], workers: int, ahead: int) -> Generator[T]:
    """Results of `jobs` in order, up to `ahead` of them computed before they are asked for."""
    pool = ThreadPoolExecutor(workers, thread_name_prefix="jaxseg-data")
    pending: deque[Future[T]] = deque()
    try:
        for job in jobs:
            pending.append(pool.submit(job))
            if len(pending) > ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _next_readable(
    source: Source, turns: Iterable[int], skipped: Skipped | None
) -> tuple[int, Example]:
    """The first of `turns` that can be read, with its index."""
    for index in turns:
        example = _readable(source.__getitem__, index, skipped)
        if example is not None:
            return index, example
    raise UserError("no example of the split can be read: prepare the data again")


def _readable(read: Callable[[int], T], index: int, skipped: Skipped | None) -> T | None:
    """What is read of an example; None if it can't be and goes to `skipped`."""
    if skipped is not None and index in skipped:
        return None
    try:
        with _naming(f"number {index}"):
            return read(index)
    except (UserError, OSError, ValueError, RuntimeError, cv2.error) as error:
        reason = f"example {index} can't be read ({str(error).strip() or type(error).__name__})"
        if skipped is None:
            raise UnreadableError(
                f"{reason}: restore it, or leave such examples out with "
                "--config.pipeline.on_unreadable=skip"
            ) from error
        skipped.add(index, reason)
        return None


@contextlib.contextmanager
def _naming(example: str) -> Iterator[None]:
    """Lets errors, which surface far from here, say which example they are about."""
    try:
        yield
    except Exception as error:
        error.add_note(f"while reading example {example}")
        raise


def _check_counts(examples: int, batch_size: int, workers: int, process_count: int) -> None:
    if examples < 1:
        raise UserError("the split holds no examples; choose another or widen its slice")
    if batch_size < 1 or batch_size % process_count:
        raise UserError(
            f"batch_size {batch_size}: expected a multiple of the {process_count} processes"
        )
    if workers < 1:
        raise UserError(f"{workers} data workers: expected at least 1 reading thread")
