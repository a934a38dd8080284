"""What is wrong with a data set that was read: leaks, missing classes, odd statistics."""

import dataclasses
import itertools
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from jaxseg.data.audit import Reading, Split
from jaxseg.data.causes import describe
from jaxseg.data.fingerprints import matches
from jaxseg.defaults import Dataset
from jaxseg.errors import UserError

SHOWN = 5  # examples that are named
FAR = 0.5  # of a mean, in the config's standard deviations; of a deviation, twice or half
FEW = 10  # images to validate on


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something to repair (`is_wrong`), or to know."""

    kind: str
    text: str
    is_wrong: bool = True
    suspects: tuple[tuple[tuple[Split, int], ...], ...] = ()  # rows of examples to look at


def table(splits: Sequence[Split]) -> str:
    """Classes by split: shares of the labelled pixels in %, and images with the class."""
    names = splits[0].source.classes.names
    width = max(len("class"), *map(len, names))
    heads = [f"{split.name[:20]:>20}" for split in splits]
    columns = f"{'share %':>10} {'images':>9}"
    lines = [
        f"{'':>3}  {'':<{width}}{''.join(heads)}",
        f"{'':>3}  {'class':<{width}}{columns * len(splits)}",
    ]
    for i, name in enumerate(names):
        cells = []
        for split in splits:
            share = 100 * split.stats.pixels[i] / max(int(split.stats.pixels.sum()), 1)
            cells.append(f"{share:>10.3f} {split.stats.images_with[i]:>9,}")
        lines.append(f"{i:>3}  {name:<{width}}{''.join(cells)}")
    void = [f"{100 * s.stats.void_pixels / max(_total(s), 1):>10.3f}{'':>10}" for s in splits]
    lines.append(f"{splits[0].source.classes.void:>3}  {'void':<{width}}{''.join(void)}")
    lines.append(f"{'':>3}  {'images':<{width}}" + "".join(f"{len(s.source):>20,}" for s in splits))
    for split in splits:
        mean, std = (", ".join(f"{x:.1f}" for x in v) for v in (split.stats.mean, split.stats.std))
        lines.append(f"{split.name}: mean ({mean}), std ({std}), {_span(split)}")
    return "\n".join(lines)


def findings(splits: Sequence[Split], dataset: Dataset, *, from_weights: bool) -> list[Finding]:
    """Everything that stands out.

    Args:
      splits: the one that is trained on, the one that validates, and others.
      dataset: a config's.
      from_weights: whether training begins from weights, whose mean and std the config must have.

    Raises:
      UserError: `dataset.group` is no regular expression.
    """
    train, val = splits[:2]
    return [
        *itertools.chain.from_iterable(_unusable(split) for split in splits),
        *_leaks(splits),
        *_shared_groups(splits, dataset.group),
        *_unseen(train, val),
        *_statistics(train, dataset, from_weights=from_weights),
        *_sizes(train, val),
    ]


def _unusable(split: Split) -> list[Finding]:
    found = []
    values: Counter[int] = Counter()
    for problem in split.problems:
        values.update(problem.values)
    labels = [problem for problem in split.problems if problem.values]
    others = [problem for problem in split.problems if not problem.values]
    for kind, problems in (("labels", labels), ("unreadable", others)):
        if problems:
            named = "; ".join(problem.text for problem in problems[:SHOWN])
            text = f"{split.name}: {_examples(len(problems))}: {named}"
            if problems is labels:
                classes = split.source.classes
                text += f"; {describe(values, len(classes), classes.void)}"
            found.append(Finding(kind, text))
    return found


def _leaks(splits: Sequence[Split]) -> list[Finding]:
    found = []
    for first, second in itertools.combinations(splits, 2):
        prints = ([each.fingerprint for each in split.readings] for split in (first, second))
        pairs = [*matches(*prints)]
        for kind, wanted in (("identical", True), ("near-identical", False)):
            chosen = [
                (first.readings[i], second.readings[j]) for i, j, same in pairs if same == wanted
            ]
            if chosen:
                found.append(_leak(kind, first, second, chosen))
    return found


def _leak(
    kind: str, first: Split, second: Split, pairs: Sequence[tuple[Reading, Reading]]
) -> Finding:
    pairs = sorted(pairs, key=lambda pair: pair[1].name)
    named = ", ".join(f"{b.name} ({a.name})" for a, b in pairs[:SHOWN])
    text = (
        f"{_examples(len(pairs))} of {second.name} {'is' if len(pairs) == 1 else 'are'} in "
        f"{first.name} too, {kind}: {named}{', ...' if len(pairs) > SHOWN else ''}"
    )
    rows = tuple(((first, a.index), (second, b.index)) for a, b in pairs)
    return Finding("leak", text, suspects=rows)


def _shared_groups(splits: Sequence[Split], pattern: str) -> list[Finding]:
    """Frames of one sequence, or images of one patient, in two splits."""
    if not pattern:
        return []
    groups = [_groups(split, pattern) for split in splits]
    found = []
    for (first, mine), (second, other) in itertools.combinations(
        zip(splits, groups, strict=True), 2
    ):
        if shared := sorted(mine.keys() & other.keys()):
            named = ", ".join(shared[:SHOWN]) + (", ..." if len(shared) > SHOWN else "")
            text = f"{first.name} and {second.name} share {len(shared)} groups of names: {named}"
            rows = tuple(((first, mine[g]), (second, other[g])) for g in shared)
            found.append(Finding("group", text, suspects=rows))
    return found


def _groups(split: Split, pattern: str) -> dict[str, int]:
    """The first example of each group: what the pattern's group 1, or all of it, matches."""
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UserError(
            f"config.dataset.group is {pattern!r}, no regular expression ({error}); give one whose "
            r"first group names the sequence or patient, such as (\w+)_\d+"
        ) from None
    found: dict[str, int] = {}
    for each in split.readings:
        if match := compiled.match(each.name):
            found.setdefault(match[1] if compiled.groups else match[0], each.index)
    return found


def _unseen(train: Split, val: Split) -> list[Finding]:
    names = train.source.classes.names
    missing = [name for name, n in zip(names, train.stats.pixels, strict=True) if not n]
    found = []
    if missing:
        text = f"{train.name}: no pixel of {_listed(missing)}: such classes are never learnt"
        found.append(Finding("class", text))
    absent = [name for name, n in zip(names, val.stats.pixels, strict=True) if not n]
    if absent := [name for name in absent if name not in missing]:
        text = f"{val.name}: no pixel of {_listed(absent)}: their IoU can't be measured"
        found.append(Finding("class", text, is_wrong=False))
    return found


def _statistics(train: Split, dataset: Dataset, *, from_weights: bool) -> list[Finding]:
    if not train.readings:
        return []
    mean, std = np.array(dataset.mean), np.array(dataset.std)
    off = np.abs(train.stats.mean - mean) / std
    ratio = train.stats.std / std
    if (off <= FAR).all() and (ratio <= 2).all() and (ratio >= 0.5).all():
        return []
    measured = [tuple(np.round(v, 1).tolist()) for v in (train.stats.mean, train.stats.std)]
    text = (
        f"{train.name}: mean {measured[0]} and std {measured[1]} of the images are far from the "
        f"config's {tuple(dataset.mean)} and {tuple(dataset.std)}"
    )
    if from_weights:
        text += "; the weights that training begins with may need the config's"
    else:
        text += (
            (f'; --config.dataset.mean="{measured[0]}" --config.dataset.std="{measured[1]}"')
            .replace(" (", "(")
            .replace(", ", ",")
        )
    return [Finding("statistics", text, is_wrong=False)]


def _sizes(train: Split, val: Split) -> list[Finding]:
    found = []
    for split in (train, val):
        if not len(split.source):
            found.append(Finding("size", f"{split.name}: holds no examples"))
    if 0 < len(val.source) < FEW:
        images = "image" if len(val.source) == 1 else "images"
        text = f"{val.name}: {len(val.source)} {images} to validate on: scores will be noisy"
        found.append(Finding("size", text, is_wrong=False))
    return found


def _total(split: Split) -> int:
    return int(split.stats.pixels.sum()) + split.stats.void_pixels


def _span(split: Split) -> str:
    """The sizes of its images."""
    if not split.readings:
        return "no image could be read"
    sizes = np.array([each.size for each in split.readings])
    (low_h, low_w), (high_h, high_w) = sizes.min(0).tolist(), sizes.max(0).tolist()
    if (low_h, low_w) == (high_h, high_w):
        return f"all of {high_w}x{high_h}"
    return f"{low_w} to {high_w} pixels wide, {low_h} to {high_h} high"


def _examples(count: int) -> str:
    return f"{count:,} example" + ("" if count == 1 else "s")


def _listed(names: Sequence[str], most: int = 12) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
