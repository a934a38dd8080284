"""Batches of evaluation: every example of a split once, whole and unscaled."""

import contextlib
import functools
import itertools
from collections.abc import Generator, Iterator, Sequence

import numpy as np
from jaxtyping import UInt

from jaxseg.data.padding import mean_pixel, padded_size
from jaxseg.data.pipeline.batch import Batch, BatchIterator, check_counts, empty_batch, put
from jaxseg.data.pipeline.reading import Skipped, attempt, read, read_ahead
from jaxseg.data.source import Example, Source
from jaxseg.errors import UserError


def eval_batches(
    source: Source,
    *,
    batch_size: int,
    size_multiple: int,
    canvas: tuple[int, int] = (0, 0),
    mean: Sequence[float | int],
    bits: int = 8,
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

    With several processes each gives its contiguous part of every batch and reads only that part:
    all of them know all sizes, so they agree on the batches.
    """
    check_counts(len(source), batch_size, workers, process_count)
    if size_multiple < 1:
        raise UserError(f"size_multiple {size_multiple}: expected at least 1")
    if min(canvas) < 0:
        raise UserError(f"canvas {canvas}: expected (height, width), (0, 0) for none")
    local = batch_size // process_count
    share = slice(process_index * local, (process_index + 1) * local)
    pixel, void = mean_pixel(mean, bits), source.classes.void

    def plan() -> Iterator[tuple[tuple[int, int], list[int]]]:
        """Each batch's padded size and this process's examples in it."""
        buckets: dict[tuple[int, int], list[int]] = {}
        # every process misses the same sizes, and the first one counts them
        missed = Skipped(lambda _: None) if skipped is not None and process_index else skipped
        for index in range(len(source)):
            size = attempt(source.size, index, missed)
            if size is None:
                continue
            padded = padded_size(size, canvas=canvas, multiple=size_multiple)
            bucket = buckets.setdefault(padded, [])
            bucket.append(index)
            if len(bucket) == batch_size:
                yield padded, bucket[share]
                bucket.clear()
        yield from ((padded, bucket[share]) for padded, bucket in buckets.items() if bucket)

    def batches() -> Generator[Batch]:
        planned, ahead = itertools.tee(plan())
        jobs = (
            functools.partial(read, source, index, skipped)
            for _, indices in ahead
            for index in indices
        )
        with contextlib.closing(read_ahead(jobs, workers, ahead=local)) as examples:
            for padded, indices in planned:
                found = [(index, next(examples)) for index in indices]
                there = [(index, example) for index, example in found if example is not None]
                yield _padded_batch(there, padded, local, pixel, void)

    return BatchIterator(batches())


def _padded_batch(
    examples: list[tuple[int, Example]],
    size: tuple[int, int],
    count: int,
    pixel: UInt[np.ndarray, " c"],
    void: int,
) -> Batch:
    batch = empty_batch(count, size, pixel)._replace(index=np.full(count, -1, np.int32))
    batch.image[:] = pixel
    batch.label[:] = void
    for slot, (index, example) in enumerate(examples):
        batch.index[slot] = index
        height, width = batch.size[slot] = example["label"].shape
        put(example["image"], batch.image[slot, :height, :width])
        batch.label[slot, :height, :width] = example["label"]
    batch.mask[len(examples) :] = False
    blank = ("",) * (count - len(examples))
    return batch._replace(names=tuple(example["name"] for _, example in examples) + blank)
