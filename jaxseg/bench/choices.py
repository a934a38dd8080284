"""From times to `jaxseg/ops/lowerings.json`, which says what runs."""

import json
import statistics
from collections.abc import Iterable
from typing import Any

import jax

from jaxseg import files
from jaxseg.errors import UserError
from jaxseg.ops import lowering

TIE = 1.03  # times closer than this are equal, and XLA's own form is the simplest

Choices = dict[str, dict[str, dict[str, str]]]  # operation -> dtype -> class of shapes -> lowering


def choose(results: Iterable[dict[str, Any]]) -> Choices:
    """The fastest lowering of each class, by the geometric mean over its cases.

    Counted with gradients: what is trained is evaluated too, but hardly the other way round.
    """
    classes: dict[tuple[str, str, str], list[dict[str, float]]] = {}
    for result in results:
        place = result["operation"], result["dtype"], result["shapes"]
        compiled, times = result["compile"], result["with gradients"]
        classes.setdefault(place, []).append({name: times[name] for name in compiled})
    best: Choices = {}
    for (operation, dtype, shapes), cases in classes.items():
        able = [name for name in cases[0] if all(name in case for case in cases)]
        means = {name: statistics.geometric_mean(case[name] for case in cases) for name in able}
        limit = TIE * min(means.values())
        first = next(name for name in able if means[name] <= limit)
        best.setdefault(operation, {}).setdefault(dtype, {})[shapes] = first
    return best


def kept(host: dict[str, str], *, partial: bool) -> Choices:
    """What stays in the table when this run's choices are written: nothing of a whole run's.

    Raises:
      UserError: a part was measured on another machine or with other versions than the rest.
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
    """Make `best`, added to `rest`, this backend's choices; other backends' stay."""
    merged: Choices = {operation: dict(dtypes) for operation, dtypes in rest.items()}
    for operation, dtypes in best.items():
        merged.setdefault(operation, {}).update(dtypes)
    table = {**_read(), jax.default_backend(): {**host, "choices": merged}}
    files.write_text(lowering.TABLE, json.dumps(table, indent=1, sort_keys=True) + "\n")


def _read() -> dict[str, Any]:
    return json.loads(lowering.TABLE.read_text())
