"""Which checkpoint is the best: the score of validation that lies beside each."""

import contextlib
import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

from jaxseg import files
from jaxseg.manifest import MANIFEST, SCORES


@dataclasses.dataclass(frozen=True)
class Score:
    """What a step is compared by: a score's name, its value, and 1 or -1 for higher or lower."""

    metric: str
    value: float | None
    sign: int

    @property
    def rank(self) -> float:
        """The higher the better."""
        return self.sign * (self.value or 0.0)


def write(folder: Path, score: Score) -> None:
    """Put a score beside a step, in its folder."""
    files.write_text(folder / SCORES, json.dumps(dataclasses.asdict(score)) + "\n")


def read(folder: Path) -> Score | None:
    """What `write` put beside a step, None if it was not evaluated."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        return Score(**json.loads((folder / SCORES).read_text()))
    for name in (SCORES, MANIFEST):  # before `best_metric`; version 0.1 had it in the manifest
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            return Score("miou", json.loads((folder / name).read_text())["miou"], 1)
    return None


def best_first(scored: Mapping[int, Score | None]) -> list[int]:
    """The steps with a score, the best first, and of equal ones the newer.

    Where a run went on with another `best_metric`, only scores of the newest step's metric count.
    """
    known = {step: score for step, score in scored.items() if score and score.value is not None}
    if not known:
        return []
    metric = known[max(known)].metric
    known = {step: score for step, score in known.items() if score.metric == metric}
    return sorted(known, key=lambda step: (known[step].rank, step), reverse=True)
