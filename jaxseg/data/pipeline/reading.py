"""Reading examples: by several threads, in order, each label checked, errors named or skipped."""

import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import cv2
import numpy as np

from jaxseg.data.pixels import ChannelsError
from jaxseg.data.source import Example, Source
from jaxseg.errors import UserError

T = TypeVar("T")

WORKERS = min(os.cpu_count() or 1, 8)  # threads that read all of a data set once

REMAP = "let the data set's own file in jaxseg/data/sets map it to a class or to void"


class UnreadableError(UserError):
    """An example can't be read."""


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


def read(source: Source, index: int, skipped: Skipped | None) -> Example | None:
    """An example whose label holds nothing but classes and void; None if it goes to `skipped`.

    Raises:
      UnreadableError: it can't be read, and there is no `skipped`.
      LabelError: a value is neither a class nor void. That is never skipped: it would mean that
        other examples are labelled wrongly as well.
    """
    example = attempt(source.__getitem__, index, skipped)
    if example is not None:
        source.classes.check_label(example["label"], f"example {example['name']}", REMAP)
    return example


def attempt(action: Callable[[int], T], index: int, skipped: Skipped | None) -> T | None:
    """What `action` reads of an example; None if it can't and the example goes to `skipped`."""
    if skipped is not None and index in skipped:
        return None
    try:
        with naming(f"number {index}"):
            return action(index)
    except ChannelsError:  # never skipped: the config is wrong for all of them
        raise
    except (UserError, OSError, ValueError, RuntimeError, cv2.error) as error:
        reason = f"example {index} can't be read ({str(error).strip() or type(error).__name__})"
        if skipped is None:
            raise UnreadableError(
                f"{reason}: restore it, or leave such examples out with "
                "--config.pipeline.on_unreadable=skip"
            ) from error
        skipped.add(index, reason)
        return None


def next_readable(
    source: Source, indices: Iterable[int], skipped: Skipped | None
) -> tuple[int, Example]:
    """The first of `indices` that can be read, and its example."""
    for index in indices:
        example = read(source, index, skipped)
        if example is not None:
            return index, example
    raise UserError("no example of the split can be read: prepare the data again")


def check_first(source: Source, count: int = 8) -> None:
    """Raises an error if one of `count` examples, spread over the split, is not as it should be.

    LabelError or ChannelsError: a mistake that is in most examples shows at once, and not when
    validation begins. What can't be read is left to the reader.
    """
    unreadable = Skipped(lambda _: None)
    for index in sorted(set(np.linspace(0, len(source) - 1, count).round().astype(int).tolist())):
        if 0 <= index < len(source):
            read(source, index, unreadable)


def read_ahead(jobs: Iterable[Callable[[], T]], workers: int, ahead: int) -> Generator[T]:
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


@contextlib.contextmanager
def naming(example: str) -> Iterator[None]:
    """Lets errors, which surface far from here, say which example they are about."""
    try:
        yield
    except Exception as error:
        error.add_note(f"while reading example {example}")
        raise
