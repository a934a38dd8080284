"""Two runs compared: config, data, versions, machine and scores."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jaxseg import runs
from jaxseg.config import flatten, load_config
from jaxseg.metrics import percent
from jaxseg.report import folder

SCORES = ("miou", "pixel_accuracy", "mean_accuracy", "frequency_weighted_iou")


def between(one: Path, other: Path) -> Iterator[str]:
    """Lines `what: ONE -> OTHER` of all that differs, under headings.

    Raises:
      UserError: one of the folders holds no run.
    """
    configs = [flatten(load_config(folder).to_dict()) for folder in (one, other)]
    records = [runs.status(folder) for folder in (one, other)]
    yield f"{one} -> {other}"
    yield from _section("config", *configs)
    yield from _section("run", *map(_about, records))
    yield from _section("versions", *(record["starts"][-1]["versions"] for record in records))
    splits = [{p.name for p in (folder / "eval").glob("*")} for folder in (one, other)]
    for split in sorted(splits[0] & splits[1]):
        scores = (_scores(folder, split) for folder in (one, other))
        yield from _section(f"scores, {split}", *scores, show_all=True)


def _section(
    heading: str, one: Mapping[str, Any], other: Mapping[str, Any], *, show_all: bool = False
) -> Iterator[str]:
    keys = [key for key in {**one, **other} if show_all or one.get(key) != other.get(key)]
    if keys:
        yield f"\n{heading}"
    for key in keys:
        before, now = (values.get(key, "-") for values in (one, other))
        yield f"  {key}: {before}" + (f" -> {now}" if before != now else " in both")


def _about(record: Mapping[str, Any]) -> dict[str, Any]:
    start = record["starts"][-1]
    git = start["git"] or {}
    return {
        "status": record["status"],
        "step": record["step"],
        "data": record["data"],
        "commit": git.get("commit", "-") + "+changes" * (not git.get("clean", True)),
        "devices": f"{start['devices']['count']} {start['devices']['kind']}",
        "processes": start["hosts"]["processes"],
    }


def _scores(workdir: Path, split: str) -> dict[str, str]:
    found = folder.scores(workdir, split)
    if not found:
        return {}
    step = max(found)
    scores = found[step]
    means = {key: percent(scores[key]) for key in SCORES if key in scores}
    classes = {f"IoU {name}": percent(iou) for name, iou in scores["iou"].items()}
    return {"step": str(step), **means, **classes}
