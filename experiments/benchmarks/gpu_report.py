"""What the jobs of `gpu.py` found, gathered in results.json and results.md."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxseg import files
from jaxseg.bench import steps
from jaxseg.bench.console import table


def write(out: Path, left_out: Mapping[str, str]) -> None:
    """Both files anew, from OUT/NAME.json of every job that is done.

    Args:
      out: the folder.
      left_out: job: why it gave nothing.
    """
    jobs = [*out.glob("checks.json"), *sorted(out.glob("*-*.json"))]
    done = {path.stem: json.loads(path.read_text()) for path in jobs}
    text = json.dumps({"done": done, "left out": left_out}, indent=1)
    files.write_text(out / "results.json", text + "\n")
    parts = [_head(done), _checks(done), _operations(done), _steps(done), _left_out(left_out)]
    files.write_text(out / "results.md", "\n\n".join(filter(None, parts)) + "\n")


def _head(done: Mapping[str, Any]) -> str:
    hosts = {f"{found['machine']}; {found['versions']}" for found in done.values()}
    return "# On a GPU\n\n" + "\n".join(sorted(hosts))


def _checks(done: Mapping[str, Any]) -> str:
    if "checks" not in done:
        return ""
    results = done["checks"]["results"]
    failed = [result for result in results if not result["passed"]]
    lines = [f"{len(results) - len(failed)} of {len(results)} passed."]
    for dtype in sorted({result["dtype"] for result in results}):
        errors = [
            result[key]
            for result in results
            if result["dtype"] == dtype
            for key in ("error", "gradient_error")
        ]
        lines.append(f"Largest error in {dtype}: {max(errors):.1e}.")
    lines += [f"- failed: {json.dumps(result)}" for result in failed]
    return "## Checks against NumPy in float64\n\n" + "\n".join(lines)


def _operations(done: Mapping[str, Any]) -> str:
    found = [value for name, value in done.items() if name.startswith("ops-")]
    if not found:
        return ""
    rows = [row for each in found for row in each["table"]]
    return "## Operations\n\n" + table(found[0]["headings"], rows, markdown=True)


def _steps(done: Mapping[str, Any]) -> str:
    rows = []
    for mode in steps.MODES:
        for name, found in done.items():
            if name.startswith(f"{mode}-"):
                (row,) = found["rows"]
                memory = (
                    done.get(name.replace("train-", "memory-", 1), {}) if mode == "train" else {}
                )
                rows.append({**row, "peak_bytes": memory.get("peak_bytes", {})})
    if not rows:
        return ""
    rates = {f"{row['dtype']}: {row['matmul'] / 1e12:.3g}" for row in rows}
    cells = [steps.cells(row) for row in rows]
    head = f"Matrix product, 1e12 operations a second, {', '.join(sorted(rates))}."
    return f"## Steps\n\n{head}\n\n" + table(steps.HEADINGS, cells, markdown=True)


def _left_out(left_out: Mapping[str, str]) -> str:
    if not left_out:
        return ""
    return "## Left out\n\n" + "\n".join(f"- {name}: {why}" for name, why in left_out.items())
