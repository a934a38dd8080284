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
from jaxseg.data.pipeline.batch import Batch, BatchIterator, check_counts, empty_batch, put
from jaxseg.data.pipeline.reading import Skipped, naming, next_readable, read_ahead
from jaxseg.data.source import Source

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

    def augmented(epoch: int, candidates: Iterable[int]) -> tuple[str, transforms.Draw, Pair]:
        """Name, draw, and augmented image and label of the first candidate that can be read."""
        index, example = next_readable(source, candidates, skipped)
        drawn = transforms.draw(np.random.default_rng((seed, 1, epoch, index)), augment)
        with naming(example["name"]):
            pair = transforms.apply(
                example["image"],
                example["label"],
                drawn,
                crop_size=crop_size,
                mean=pixel,
                void=void,
                context=context,
            )
        return example["name"], drawn, pair

    def fill(batch: Batch, names: list[str], slot: int, position: int) -> FilledBatch:
        epoch, place = divmod(position, size)
        order = _order(size, seed, epoch)
        # the one at this place or, if it can't be read, the next in the epoch's order
        candidates = (int(order[(place + further) % size]) for further in range(size))
        names[slot], drawn, pair = augmented(epoch, candidates)
        if drawn.mixes:
            partner = int(drawn.partner * size)
            candidates = ((partner + further) % size for further in range(size))
            pair = transforms.mix(pair, augmented(epoch, candidates)[2], drawn, void)
        put(pair[0], batch.image[slot])
        batch.label[slot] = pair[1]
        if weigh is not None and batch.weight is not None:
            with naming(names[slot]):
                batch.weight[slot] = weigh(batch.label[slot])
        return batch, names

    def jobs() -> Iterator[Callable[[], FilledBatch]]:
        for number in itertools.count(start):
            batch, names = empty_batch(local, crop_size, pixel), [""] * local
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
