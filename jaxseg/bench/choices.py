"""From times to `jaxseg/ops/lowerings.json`, the table of the lowerings that run."""

import json
import statistics
from collections.abc import Iterable
from typing import Any

import jax

from jaxseg import files
from jaxseg.errors import UserError
from jaxseg.ops import lowering

TIE = 1.03  # times closer than this count as equal; XLA's own lowering is the simplest

Choices = dict[str, dict[str, dict[str, str]]]  # operation -> dtype -> class of shapes -> lowering


def choose(results: Iterable[dict[str, Any]]) -> Choices:
    """The fastest lowering of each class, by the geometric mean over its cases.

    Times with gradients count: training takes most of the time.
    """
    classes: dict[tuple[str, str, str], list[dict[str, float]]] = {}
    for result in results:
        key = result["operation"], result["dtype"], result["shapes"]
        compiled, times = result["compile"], result["with gradients"]
        classes.setdefault(key, []).append({name: times[name] for name in compiled})
    best: Choices = {}
    for (operation, dtype, shapes), cases in classes.items():
        common = [name for name in cases[0] if all(name in case for case in cases)]
        means = {name: statistics.geometric_mean(case[name] for case in cases) for name in common}
        limit = TIE * min(means.values())
        first = next(name for name in common if means[name] <= limit)
        best.setdefault(operation, {}).setdefault(dtype, {})[shapes] = first
    return best


def kept(host: dict[str, str], *, partial: bool) -> Choices:
    """The table's choices that stay when new ones are written: none if everything was measured.

    Raises:
      UserError: the table comes from another machine or other versions.
    """
    old = _read().get(jax.default_backend())
    if old is None or not partial:
        return {}
    for key in ("machine", "versions"):
        if old[key] != host[key]:
            raise UserError(
                f"bench ops: {lowering.TABLE.name} was measured on {old[key]}, this is "
                f"{host[key]}: with --write, leave out --ops and --dtypes to measure everything"
            )
    return old["choices"]


def write(host: dict[str, str], best: Choices, rest: Choices) -> None:
    """Store `best`, added to `rest`, as this backend's choices; other backends' stay."""
    merged: Choices = {operation: dict(dtypes) for operation, dtypes in rest.items()}
    for operation, dtypes in best.items():
        merged.setdefault(operation, {}).update(dtypes)
    table = {**_read(), jax.default_backend(): {**host, "choices": merged}}
    files.write_text(lowering.TABLE, json.dumps(table, indent=1, sort_keys=True) + "\n")


def _read() -> dict[str, Any]:
    return json.loads(lowering.TABLE.read_text())
