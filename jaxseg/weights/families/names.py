"""Renaming entries: what the families share.

A family gives rules for the names of layers. The rest of an entry's name says which of the layer's
arrays it is, and so its layout. An entry that no rule matches keeps its own name, in the encoder,
where no model has a place for it: `merge` reports it as left over.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxseg.weights.imported import NORMALISATION, Imported

# A regular expression that matches a layer's whole foreign name, and our name: a template with \1,
# \2, ..., or a function of the groups.
Rule = tuple[str, str | Callable[..., str]]

Entries = Mapping[str, np.ndarray]
Variables = dict[str, np.ndarray]


def rename(layer: str, rules: Sequence[Rule]) -> str | None:
    """Our name of a layer, by the first rule that matches its own; None if none does."""
    for pattern, ours in rules:
        if match := re.fullmatch(pattern, layer):
            return match.expand(ours) if isinstance(ours, str) else ours(*match.groups())
    return None


def prefixed(prefix: str, rules: Sequence[Rule]) -> list[Rule]:
    """The rules for layers that lie within another: `prefix` is a regular expression too."""
    return [(prefix + pattern, ours) for pattern, ours in rules]


def depths(entries: Entries, block: str) -> tuple[int, ...]:
    """The number of blocks in each stage; the groups of the pattern `block` are stage and block."""
    found = {match.groups() for name in entries if (match := re.match(block, name))}
    stages = sorted({int(stage) for stage, _ in found})
    return tuple(sum(int(stage) == s for stage, _ in found) for s in stages)


def unknown_path(name: str) -> str:
    """The path of an entry that no rule matches."""
    return f"params/encoder/{name}"


def from_torch(
    entries: Entries,
    rules: Sequence[Rule],
    family: str,
    model: str = "classifier",
    *,
    assumed: frozenset[str] = NORMALISATION,
    **fields: Any,
) -> Imported:
    """A state_dict in our names and layouts; `fields` are the other fields of `Imported`.

    The normalisation is assumed by default: others train the same networks with another.

    Kernels [o, i, k, k] become [k, k, i, o] (and so depthwise [c, 1, k, k] becomes [k, k, 1, c]),
    matrices [o, i] become kernels [1, 1, i, o]. Batch norm's counters are not used.
    """
    variables, sources, unused = {}, {}, []
    for name, value in entries.items():
        layer, _, kind = name.rpartition(".")
        if kind == "num_batches_tracked":
            unused.append(name)
            continue
        ours = rename(layer, rules)
        path = _torch_path(ours, kind, value.ndim) if ours else None
        path = path or unknown_path(name)
        variables[path] = _from_oihw(value) if path.endswith("/kernel") else value
        sources[path] = name
    return make(variables, sources, unused, family, model, assumed=assumed, **fields)


def _torch_path(layer: str, kind: str, dimensions: int) -> str | None:
    if kind == "weight":
        kind = "scale" if dimensions == 1 else "kernel"
    if kind in ("kernel", "scale", "bias"):
        return f"params/{layer}/{kind}"
    statistic = {"running_mean": "mean", "running_var": "var"}.get(kind)
    return f"batch_stats/{layer}/{statistic}" if statistic else None


def _from_oihw(kernel: np.ndarray) -> np.ndarray:
    if kernel.ndim == 2:
        kernel = kernel[:, :, None, None]
    return kernel.transpose(2, 3, 1, 0) if kernel.ndim == 4 else kernel


def make(
    variables: Variables,
    sources: dict[str, str],
    unused: Sequence[str],
    family: str,
    model: str,
    **fields: Any,
) -> Imported:
    """`Imported`, with the heads among `variables`."""
    heads = tuple(h for h in ("logits", "aux_logits") if f"params/{h}/kernel" in variables)
    return Imported(family, variables, sources, tuple(unused), model=model, heads=heads, **fields)
