"""Batches of training: shuffled, repeated and augmented, the same from any start."""

import contextlib
import functools
import itertools
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int64

from jaxseg.data import transforms
from jaxseg.data.borders import Weigh
from jaxseg.data.padding import mean_pixel
from jaxseg.data.pipeline import planned
from jaxseg.data.pipeline.batch import Batch, BatchIterator, check_counts, empty_batch, put
from jaxseg.data.pipeline.reading import Skipped, naming, next_readable, read_ahead
from jaxseg.data.source import Example, Source

Pair = tuple[np.ndarray, np.ndarray]  # image and label
FilledBatch = tuple[Batch, list[str]]  # its names are known once all its examples are read


@functools.lru_cache(maxsize=8)  # a few epochs can be in flight at once
def _order(size: int, seed: int, epoch: int) -> Int64[np.ndarray, " size"]:
    """A permutation of all examples: shuffled, then repeated, so that every epoch is complete."""
    # 0 and 1 tell shuffling from augmentation: (seed, epoch) and (seed, epoch, 0) are one seed
    return np.random.default_rng((seed, 0, epoch)).permutation(size)


def train_batches(
    source: Source,
    *,
    start: int,
    batch_size: int,
    seed: int,
    augment: Any,
    mean: Sequence[float | int],
    bits: int = 8,
    workers: int,
    prefetch: int,
    weigh: Weigh | None = None,
    context: int = 0,
    canvas: tuple[int, int] | None = None,
    skipped: Skipped | None = None,
    process_index: int = 0,
    process_count: int = 1,
) -> BatchIterator:
    """Batches number `start`, `start + 1`, ... without end: the position in the data is one int.

    Position p of the stream is element p % n of epoch p // n; an epoch is a permutation drawn from
    (seed, epoch), and an example's augmentation is drawn from (seed, epoch, index). So the stream
    is the same for any number of workers or processes, and from any start. The partner of an
    example that is mixed (CutMix, copy-paste) is any of the split, drawn with it, and augmented by
    the partner's own draw of this epoch; batches have the names of the examples alone.

    Args:
      source: the examples.
      start: the first batch's number.
      batch_size: examples in a batch over all processes; each process gets its contiguous part.
      seed: not negative.
      augment: a checked config's `augment` part (see `transforms`).
      mean: the config's, what padding is filled with.
      bits: of the images, the config's.
      workers: reading threads.
      prefetch: batches read ahead.
      weigh: gives a batch's `weight` from the augmented labels (see `borders`).
      context: pixels on every side of a crop that the model gives no logits for.
      canvas: height and width that whole images are padded to, with their plans beside them (see
        `planned`), for the device to augment. None: the host does, and `image` and `label` are
        crops.
      skipped: gets the examples that can't be read; the next in the epoch's order replaces them.
        None: they raise an UnreadableError.
      process_index: this process, of `process_count`.
      process_count: must divide `batch_size`.
    """
    check_counts(len(source), batch_size, workers, process_count)
    local = batch_size // process_count
    first = process_index * local
    crop_size = (int(augment.crop_size[0]), int(augment.crop_size[1]))
    pixel, void = mean_pixel(mean, bits), source.classes.void
    size = len(source)

    empty = functools.partial(empty_batch, local, crop_size, pixel)
    if canvas:
        any_draw = transforms.draw(np.random.default_rng(0), augment)
        like = transforms.make_plan(
            np.zeros(canvas, np.int32), any_draw, crop_size=crop_size, void=void
        )
        empty = functools.partial(planned.empty_planned, local, canvas, pixel, like, augment.blur)

    def plan_first(
        epoch: int, candidates: Iterable[int]
    ) -> tuple[Example, transforms.Draw, transforms.Plan]:
        """The first candidate that can be read, its draw, and what to do to it."""
        index, example = next_readable(source, candidates, skipped)
        drawn = transforms.draw(np.random.default_rng((seed, 1, epoch, index)), augment)
        with naming(example["name"]):
            plan = transforms.make_plan(
                example["label"], drawn, crop_size=crop_size, void=void, context=context
            )
        return example, drawn, plan

    def apply(example: Example, plan: transforms.Plan) -> Pair:
        with naming(example["name"]):
            return transforms.apply_plan(
                example["image"], example["label"], plan, mean=pixel, void=void
            )

    def fill(batch: Batch, names: list[str], slot: int, position: int) -> FilledBatch:
        epoch, place = divmod(position, size)
        order = _order(size, seed, epoch)
        # the one at this place or, if it can't be read, the next in the epoch's order
        candidates = (int(order[(place + further) % size]) for further in range(size))
        example, drawn, plan = plan_first(epoch, candidates)
        names[slot] = example["name"]
        if canvas:
            planned.put(batch, slot, example, plan)
            return batch, names
        pair = apply(example, plan)
        if drawn.mixes:
            partner = int(drawn.partner * size)
            candidates = ((partner + further) % size for further in range(size))
            other, _, plan = plan_first(epoch, candidates)
            pair = transforms.mix(pair, apply(other, plan), drawn, void)
        put(pair[0], batch.image[slot])
        batch.label[slot] = pair[1]
        if weigh is not None and batch.weight is not None:
            with naming(names[slot]):
                batch.weight[slot] = weigh(batch.label[slot])
        return batch, names

    def jobs() -> Iterator[Callable[[], FilledBatch]]:
        for number in itertools.count(start):
            batch, names = empty(), [""] * local
            if weigh is not None:
                batch = batch._replace(weight=np.empty(batch.label.shape, np.float32))
            begin = number * batch_size + first
            for slot in range(local):
                yield functools.partial(fill, batch, names, slot, begin + slot)

    def batches() -> Generator[Batch]:
        filled = read_ahead(jobs(), workers, ahead=max(prefetch, 1) * local)
        with contextlib.closing(filled):
            while True:
                for _ in range(local):
                    batch, names = next(filled)
                yield batch._replace(names=tuple(names))

    return BatchIterator(batches())
