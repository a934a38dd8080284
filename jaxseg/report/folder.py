"""What a run's folder says without opening a checkpoint: its record, curves, scores and claim."""

import ast
import contextlib
import itertools
import json
import math
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxseg import runs
from jaxseg.errors import UserError
from jaxseg.report.charts import Series, thin


def record(workdir: Path) -> dict[str, Any]:
    """`run.json`, see `runs.status`; without starts for weights that were converted into a run."""
    if not (workdir / runs.RECORD).exists() and (workdir / "config.json").exists():
        return {"status": "never trained", "step": 0, "reason": "", "starts": []}
    return runs.status(workdir)


def rows(workdir: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl; one that is being written is left out."""
    path, found = workdir / "metrics.jsonl", []
    for line in path.read_text().splitlines() if path.exists() else ():
        with contextlib.suppress(ValueError):
            found.append(json.loads(line))
    return found


def scores(workdir: Path, split: str) -> dict[int, dict[str, Any]]:
    """The scores of each step that was evaluated on the split, with the run's own config.

    What `jaxseg evaluate --evals` measured besides is among them: it changed no other number.
    """
    found = score_paths(workdir, split)
    scored = {step: json.loads(found[step].read_text()) for step in sorted(found)}
    for path in sorted((workdir / "eval" / split).glob("*-evals=*.json")):
        more = json.loads(path.read_text())
        if [change.partition("=")[0] for change in more["changes"]] == ["--config.evals"]:
            step = more["step"]
            if isinstance(step, int):  # none of a folder of masks
                scored[step] = {**more, **scored.get(step, {})}
    return dict(sorted(scored.items()))


def score_paths(workdir: Path, split: str) -> dict[int, Path]:
    """The file of each step that was evaluated on the split, with the run's own config."""
    paths = (workdir / "eval" / split).glob("*.json")
    return {int(path.stem): path for path in paths if path.stem.isdigit()}


def choose_step(scored: Mapping[int, Mapping[str, Any]], step: str) -> int | None:
    """The step that "best", "latest" or a number means among those with scores; None without any.

    Raises:
      UserError: a number that has none.
    """
    if step.isdigit() and int(step) in scored:
        return int(step)
    if step not in ("best", "latest"):
        known = ", ".join(map(str, scored)) or "none"
        raise UserError(
            f"step {step!r} has neither a checkpoint nor scores: expected best, latest, or one of "
            f"those with scores: {known}"
        )
    if step == "latest":
        return max(scored, default=None)

    # runs of before `best_metric` say nothing of it
    found = scored[max(scored)].get("protocol", {}).get("best_metric") if scored else None
    name, higher = (found["name"], found["higher_is_better"]) if found else ("miou", True)

    def rank(step: int) -> tuple[float, int]:
        value = scored[step].get(name)
        return (-math.inf if value is None else value if higher else -value, step)

    return max(scored, key=rank, default=None)


def loss_curves(lines: list[dict[str, Any]]) -> list[Series]:
    """The training loss by step, and its terms if it has several."""
    names = sorted({key for line in lines for key in line if re.fullmatch(r"loss(/.*)?", key)})
    return [_curve(lines, name, name) for name in names]


def val_loss_curve(scored: Mapping[int, Mapping[str, Any]]) -> list[Series]:
    """The loss over the split, which runs of older versions lack."""
    points = {step: at["loss"] for step, at in scored.items() if at.get("loss") is not None}
    return [Series("validation loss", list(points), list(points.values()))] if points else []


def class_curves(scored: Mapping[int, Mapping[str, Any]], most: int) -> list[Series]:
    """The IoU of each class in percent by step; of the `most` with the lowest last one."""
    last = scored[max(scored)]["iou"] if scored else {}
    lowest = sorted(last, key=lambda name: 2.0 if last[name] is None else last[name])[:most]
    by_class = {step: at["iou"] for step, at in scored.items()}
    return score_curves(by_class, {name: name for name in last if name in lowest})


def rate_curve(lines: list[dict[str, Any]]) -> list[Series]:
    return [_curve(lines, "learning_rate", "learning rate")]


def score_curves(scored: Mapping[int, Mapping[str, Any]], names: Mapping[str, str]) -> list[Series]:
    """Scores in percent by step: `names` gives each key its name."""
    curves = []
    for key, name in names.items():
        points = {step: at[key] for step, at in scored.items() if at.get(key) is not None}
        if points:
            curves.append(Series(name, list(points), [100 * y for y in points.values()]))
    return curves


def _curve(lines: list[dict[str, Any]], key: str, name: str) -> Series:
    points = [(line["step"], line[key]) for line in lines if key in line]
    return thin([x for x, _ in points], [y for _, y in points], name)


def commit(start: Mapping[str, Any]) -> str:
    """The code that a start of `run.json` ran."""
    git = start["git"]
    if not git:
        return "unknown: not run from a clone"
    return git["commit"] + ("" if git["clean"] else ", with changes that were not committed")


def claim(command: str) -> list[str]:
    """The first line and the claim of the docstring of the config file that `command` names.

    Nothing of the file is executed. Empty if it can't be read from here.
    """
    words = shlex.split(command)
    given = [w.partition("=")[2] for w in words if re.match(r"--?config=", w)]
    given += [b for a, b in itertools.pairwise(words) if re.fullmatch("--?config", a)]
    try:
        path = given[0].partition(":")[0]
        doc = ast.get_docstring(ast.parse(Path(path).read_text())) or ""
    except (IndexError, OSError, ValueError, SyntaxError):
        return []
    found = re.search(r"^Claim:\s*(.*(?:\n[ \t]+.*)*)", doc, re.MULTILINE)
    about = f"Claim of {path}: {' '.join(found[1].split())}" if found else ""
    return [line for line in (doc.partition("\n")[0], about) if line]
