"""What the jobs of `gpu.py` found, gathered on one page, results.md."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from jaxseg import files
from jaxseg.bench import steps
from jaxseg.bench.console import table

Done = dict[str, dict[str, Any]]  # a job's name: what it has written


def write(work: Path, left_out: Mapping[str, str]) -> None:
    """Write the page anew from the files of the jobs that are done or have begun.

    Args:
      work: the folder.
      left_out: job: why it did not finish.
    """
    found = {path.stem: json.loads(path.read_text()) for path in sorted(work.glob("*.json"))}
    done = {name: each for name, each in found.items() if "results" in each}
    parts = [_head(done), *_all_steps(done), _checks(done), _operations(done), _camvid(done)]
    parts += [_tests(done), _left_out(left_out)]
    files.write_text(work / "results.md", "\n\n".join(filter(None, parts)) + "\n")


def _head(done: Done) -> str:
    hosts = {f"{each['machine']}; {each['versions']}; commit {each['commit']}" for each in
             done.values()}  # fmt: skip
    return "# On a GPU\n\n" + "\n".join(sorted(hosts))


def _rows(done: Done, part: str) -> list[dict[str, Any]]:
    names = (name for name in done if name.startswith(f"{part}-"))
    return [row for name in names for row in done[name]["results"].get("rows", [])]


def _all_steps(done: Done) -> Iterable[str]:
    memory = {row["network"]: row for row in _rows(done, "memory")}
    for mode, title in (("train", "Training"), ("predict", "Prediction")):
        rows = _rows(done, mode)
        slow = {row["network"]: row for row in _rows(done, f"autotune-{mode}")}
        merged = [_merged(row, slow.get(row["network"], {})) for row in rows]
        if mode == "train":
            merged = [_merged(row, memory.get(row["network"], {})) for row in merged]
        yield _steps(title, merged)
    yield _steps("Training with the lowerings measured here", _rows(done, "tuned"))


def _merged(row: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """A row with the sides of another of the same network."""
    keys = ("seconds", "compilation", "matmul_share", "errors", "peak_bytes")
    return {**row, **{key: {**row.get(key, {}), **other.get(key, {})} for key in keys}}


def _steps(title: str, rows: list[dict[str, Any]]) -> str:
    if not rows:
        return ""
    rates = {f"{row['dtype']}: {row['matmul_rate'] / 1e12:.3g}" for row in rows}
    head = f"Matrix product, 1e12 operations a second, {', '.join(sorted(rates))}."
    body = table(steps.HEADINGS, [steps.cells(row) for row in rows], markdown=True)
    errors = [f"- {line}" for line in steps.errors(rows)]
    return "\n\n".join(filter(None, [f"## {title}", head, body, "\n".join(errors)]))


def _checks(done: Done) -> str:
    results = done.get("checks", {}).get("results", {}).get("results", [])
    if not results:
        return ""
    failed = [result for result in results if not result["passed"]]
    lines = [f"{len(results) - len(failed)} of {len(results)} passed."]
    for dtype in sorted({result["dtype"] for result in results}):
        same_dtype = [result for result in results if result["dtype"] == dtype]
        errors = [each[key] for each in same_dtype for key in ("error", "gradient_error")]
        lines.append(f"Largest error in {dtype}: {max(errors):.1e}.")
    lines += [f"- failed: {json.dumps(result)}" for result in failed]
    return "## Checks against NumPy in float64\n\n" + "\n".join(lines)


def _operations(done: Done) -> str:
    found = [each["results"] for name, each in done.items() if name.startswith("ops-")]
    rows = [row for each in found for row in each.get("table", [])]
    if not rows:
        return ""
    errors = [f"- failed: {error}" for each in found for error in each["errors"]]
    body = table(found[0]["headings"], rows, markdown=True)
    return "\n\n".join(filter(None, ["## Operations", body, "\n".join(errors)]))


def _camvid(done: Done) -> str:
    found = done.get("camvid", {}).get("results", {})
    if not found.get("metrics"):
        return ""
    speeds = [line["images_per_second"] for line in found["metrics"] if "images_per_second" in line]
    scores = [f"step {line['step']}: {line[key]:.4f} ({key})" for line in found["metrics"]
              for key in line if key.lower().endswith("miou")]  # fmt: skip
    lines = [f"`jaxseg train {' '.join(found['flags'])}`", ""]
    lines += [f"{found['seconds']:.0f} s in all, {max(speeds, default=0):.0f} images/s at best."]
    return "## CamVid\n\n" + "\n".join([*lines, *(f"- {score}" for score in scores)])


def _tests(done: Done) -> str:
    found = done.get("tests", {}).get("results", {})
    if "counts" not in found:
        return ""
    counts = ", ".join(f"{number} {name.lower()}" for name, number in found["counts"].items())
    counts += f"; pytest's exit code: {found['exit_code']}"
    return "\n".join(["## Tests", "", counts, *(f"- {name}" for name in found["failed"])])


def _left_out(left_out: Mapping[str, str]) -> str:
    if not left_out:
        return ""
    return "## Not finished\n\n" + "\n".join(f"- {name}: {why}" for name, why in left_out.items())
