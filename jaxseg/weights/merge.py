"""Replacing a model's fresh variables by foreign weights, accounting for every entry.

One error names all entries that are missing, left over or misshapen. The only exceptions, each of
them in the report:

- A classifier initialises part of any model: the model's other layers stay fresh, and the
  classifier's layers that the model lacks (its head) are not used. Into another classifier, logits
  stay fresh where the file has none, and the layers before them if it holds only an encoder.
- A head (`Imported.heads`) with another number of classes stays fresh.
- The first convolution's three input channels are summed into one, or repeated to N (timm's rule).
- What the patterns in `config.init_fresh` and `config.init_unused` match.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from jaxseg.errors import UserError
from jaxseg.weights.imported import Imported, flatten, unflatten

_MOST_NAMES = 10  # of a kind in an error


@dataclasses.dataclass(frozen=True)
class Report:
    """What became of every entry; its text is for people."""

    family: str
    imported: int  # entries of the model
    fresh: tuple[str, ...]  # top-level names of the model, or paths where only a part is fresh
    unused: tuple[str, ...]  # foreign names
    notes: tuple[str, ...]  # what was adapted, and what differs

    def __str__(self) -> str:
        parts = [f"{self.family}: {self.imported} entries imported", *self.notes]
        if self.fresh:
            parts.append(f"fresh: {', '.join(self.fresh)}")
        if self.unused:
            parts.append(f"not used: {_some(self.unused, 5)}")
        return "; ".join(parts)


def merge(
    variables: Mapping[str, Any],
    imported: Imported,
    *,
    model: str,
    fresh: Sequence[str] = (),
    unused: Sequence[str] = (),
    hint: str = "",
) -> tuple[dict[str, Any], Report]:
    """Replace the fresh values in `variables` (params, batch_stats) by imported ones.

    Args:
      variables: the model's, as initialised.
      imported: the weights.
      model: the model's name in jaxseg/models.
      fresh: shell patterns of entries or layers that stay fresh ("score_pool4*").
      unused: shell patterns of imported entries or layers that are not used.
      hint: flags that may help where names and shapes do not fit.

    Raises:
      UserError: entries are missing, left over or misshapen, or a pattern matches nothing.
    """
    target = flatten(variables)
    source = dict(imported.variables)
    dropped = _pick(source, unused, "unused", imported.family)
    stay_fresh = _pick(target, fresh, "fresh", model)
    if imported.model == "classifier" and model != "classifier":
        dropped |= {p for p in source if _top(p) in imported.heads or _foreign_top(p, target)}
    if imported.model == "classifier":
        tops = {_top(path) for path in source.keys() - dropped}
        if model == "classifier" and tops != {"encoder"}:
            tops = {_top(path) for path in target} - {"logits"} | tops
        stay_fresh |= {path for path in target if _top(path) not in tops}
    notes = _other_classes(target, source, imported, stay_fresh)
    dropped |= stay_fresh & source.keys()

    wanted = target.keys() - stay_fresh
    for path in sorted(wanted & source.keys() - dropped):
        if (adapted := _adapt_input(source[path], np.shape(target[path]))) is not None:
            notes.append(f"{path} adapted from 3 to {adapted.shape[2]} input channels")
            source[path] = adapted
    _check(target, source, wanted, source.keys() - dropped, imported, model, hint)

    names = imported.source_names
    merged = {p: source[p].astype(target[p].dtype) if p in wanted else target[p] for p in target}
    report = Report(
        family=imported.family,
        imported=len(wanted),
        fresh=tuple(_summary(stay_fresh, target)),
        # one foreign entry can be several of ours
        unused=tuple(
            dict.fromkeys([*(names.get(p, p) for p in sorted(dropped)), *imported.unused])
        ),
        notes=tuple(notes),
    )
    return unflatten(merged), report


def _pick(entries: Iterable[str], patterns: Sequence[str], key: str, owner: str) -> set[str]:
    """The paths that a pattern matches, or whose first parts it matches."""
    entries, found = list(entries), set()
    for pattern in patterns:
        matches = {p for p in entries if any(fnmatchcase(x, pattern) for x in _prefixes(p))}
        if not matches:
            known = ", ".join(sorted({_top(path) for path in entries}))
            raise UserError(
                f"config.init_{key}: {pattern!r} matches no entry of {owner}; known: {known}"
            )
        found |= matches
    return found


def _prefixes(path: str) -> list[str]:
    """aspp, aspp/project and aspp/project/kernel for params/aspp/project/kernel."""
    parts = path.split("/")[1:]
    return ["/".join(parts[:i]) for i in range(1, len(parts) + 1)]


def _top(path: str) -> str:
    return path.split("/")[1]


def _foreign_top(path: str, target: Iterable[str]) -> bool:
    """Whether an entry lies outside the encoder, in a layer that the model does not have."""
    return _top(path) != "encoder" and _top(path) not in {_top(other) for other in target}


def _other_classes(
    target: Mapping[str, Any], source: Mapping[str, np.ndarray], imported: Imported, fresh: set[str]
) -> list[str]:
    """Add to `fresh` the heads that differ in the number of classes; returns a note on each."""
    notes = []
    for head in imported.heads:
        both = [p for p in target if _top(p) == head and p in source and p not in fresh]
        shapes = [(source[p].shape, np.shape(target[p])) for p in both]
        if all(a[:-1] == b[:-1] for a, b in shapes) and any(a != b for a, b in shapes):
            fresh |= set(both)
            (theirs, ours) = next((a[-1], b[-1]) for a, b in shapes if a != b)
            notes.append(f"{head} re-initialised: {theirs} classes there, {ours} here")
    return notes


def _adapt_input(kernel: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    """A kernel [k, k, 3, o] for another number of input channels; None if that is not the case.

    For one channel it is their sum: a grey image gives what it gave in all three channels. For N
    they are repeated in turn and scaled by 3 / N, so that outputs keep their magnitude.
    """
    is_first = kernel.ndim == 4 and kernel.shape[2] == 3 and len(shape) == 4 and shape[2] != 3
    if not is_first or (*kernel.shape[:2], kernel.shape[3]) != (*shape[:2], shape[3]):
        return None
    if shape[2] == 1:
        return kernel.sum(axis=2, keepdims=True)
    return kernel[:, :, np.arange(shape[2]) % 3] * (3 / shape[2])


def _check(
    target: Mapping[str, Any],
    source: Mapping[str, np.ndarray],
    wanted: Iterable[str],
    given: Iterable[str],
    imported: Imported,
    model: str,
    hint: str,
) -> None:
    """Raise UserError unless `wanted` and `given` are the same entries with the same shapes."""
    wanted, given = set(wanted), set(given)
    misshapen = [
        f"{p} is {_size(source[p])} there and {_size(target[p])} in the model"
        for p in sorted(wanted & given)
        if source[p].shape != np.shape(target[p])
    ]
    names = imported.source_names
    left_over = [f"{names[p]} ({p})" if p in names else p for p in sorted(given - wanted)]
    kinds = {"missing": sorted(wanted - given), "left over": left_over, "misshapen": misshapen}
    problems = [f"{kind}: {_some(found, _MOST_NAMES)}" for kind, found in kinds.items() if found]
    if problems:
        advice = f"add {hint}, or change" if hint else "change"
        raise UserError(
            f"{imported.family} weights, which fit model {imported.model}, don't fit this config's "
            f"{model}: {'; '.join(problems)}: {advice} the model's options, or name what may "
            "stay fresh in --config.init_fresh and what may be left out in --config.init_unused"
        )


def _size(array: Any) -> str:
    return "x".join(map(str, np.shape(array))) or "a single number"


def _some(names: Sequence[str], count: int) -> str:
    rest = f" and others, {len(names)} in all" if len(names) > count else ""
    return ", ".join(names[:count]) + rest


def _summary(paths: set[str], everything: Iterable[str]) -> list[str]:
    """Top-level names whose entries are all in `paths`, and each other path."""
    rest = {_top(path) for path in everything if path not in paths}
    return sorted({path if _top(path) in rest else _top(path) for path in paths})
