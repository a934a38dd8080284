"""Chooses examples that together show every class, rare classes first."""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int64
from tqdm import tqdm

from jaxseg.data.pipeline import Skipped, read
from jaxseg.data.pipeline.reading import WORKERS, read_ahead
from jaxseg.data.source import Source
from jaxseg.data.stats import count as count_pixels

MOST_READ = 1000  # examples, evenly spread over the split
LEAST = 6  # examples, where no number is asked for
VISIBLE = 0.001  # of an image's pixels: with fewer an image does not show a class


@dataclasses.dataclass(frozen=True)
class Selection:
    """Examples of a split, those for rare classes first."""

    indices: tuple[int, ...]
    reasons: tuple[int | None, ...]  # the class that each was chosen for
    read: int  # examples that they were chosen from
    absent: tuple[int, ...]  # classes that none of those has
    missing: tuple[int, ...]  # classes that some of those have, and none that was chosen

    def about(self, names: Sequence[str], size: int) -> str:
        """What was chosen of a split of `size` examples, and the classes that it does not show."""
        lines = [f"{len(self.indices)} of {size:,} examples, those for rare classes first"]
        if self.absent:
            where = "them" if self.read == size else f"the {self.read:,} that were looked at"
            lines.append(f"in none of {where}: {', '.join(names[c] for c in self.absent)}")
        if self.missing:
            left_out = ", ".join(names[c] for c in self.missing)
            lines.append(f"left out by --count, without which all are shown: {left_out}")
        return "\n".join(lines)


def select(source: Source, count: int | None = None, skipped: Skipped | None = None) -> Selection:
    """Reads up to MOST_READ examples and chooses `count` of them, see `choose`.

    Args:
      source: the split.
      count: how many; None takes as many as show every class, and LEAST at least.
      skipped: gets examples that can't be read.
    """
    size = len(source)
    indices = np.unique(np.linspace(0, size - 1, min(size, MOST_READ)).round().astype(int))

    def pixels(index: int) -> tuple[int, Int64[np.ndarray, " classes"], int] | None:
        example = read(source, index, skipped)
        if example is None:
            return None
        counts = count_pixels(example, source.classes)
        return index, counts.pixels, counts.size

    jobs = (functools.partial(pixels, index) for index in indices.tolist())
    found = read_ahead(jobs, WORKERS, ahead=4 * WORKERS)
    shown = tqdm(found, "looking for every class", len(indices), unit="image", disable=None)
    there = [each for each in shown if each is not None]
    shares = np.array([each[1] / each[2] for each in there]).reshape(-1, len(source.classes))
    painted = shares.copy()
    if (background := source.classes.background) is not None:
        painted[:, background] = 0  # every image shows it
    chosen = choose(painted, count)
    in_chosen = shares[[row for row, _ in chosen]].any(0)
    in_read = shares.any(0)
    return Selection(
        tuple(there[row][0] for row, _ in chosen),
        tuple(reason for _, reason in chosen),
        len(there),
        tuple(np.flatnonzero(~in_read).tolist()),
        tuple(np.flatnonzero(in_read & ~in_chosen).tolist()),
    )


def choose(
    shares: Float[np.ndarray, "images classes"], count: int | None
) -> list[tuple[int, int | None]]:
    """Images, and the class that each was chosen for: greedily, the rarest class first.

    The rarest class that none of the chosen images shows gets the image where it is largest. Once
    all are shown, one more goes to the class that was the reason least often, and so on.

    Args:
      shares: of each class in each image.
      count: how many to choose; None for as many as show every class, and LEAST at least.
    """
    order = [c for c in np.argsort(shares.sum(0), kind="stable").tolist() if shares[:, c].any()]
    free = np.ones(len(shares), bool)
    chosen: list[tuple[int, int | None]] = []

    def add(wanted: int) -> None:
        """Choose the image where the class is largest, of those left that have it."""
        left = np.where(free, shares[:, wanted], 0)
        row = int(left.argmax())
        if left[row]:
            free[row] = False
            chosen.append((row, wanted))

    for each in order:
        if not any(shares[row, each] >= VISIBLE for row, _ in chosen):
            add(each)
    most = min(max(len(chosen), LEAST) if count is None else count, len(shares))
    while len(chosen) < most and (left := [c for c in order if shares[free, c].any()]):
        reasons = [reason for _, reason in chosen]
        add(min(left, key=reasons.count))
    rest = [(row, None) for row in np.flatnonzero(free).tolist()]  # of void or background alone
    return [*chosen, *rest][:most]
