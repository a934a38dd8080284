"""Keep the scores of a run as the raw results behind a figure.

Command:  python experiments/record_run.py runs/camvid experiments/results/camvid.json

Writes the run's command, commit, versions, machine and time, and the scores of every evaluation
without their confusion matrices.
"""

import datetime
import json
import sys
from pathlib import Path
from typing import Any

from jaxseg import files, runs
from jaxseg.bench import timing


def record(workdir: Path) -> dict[str, Any]:
    """What is kept of a run that has finished."""
    found = runs.status(workdir)
    started, ended = (
        datetime.datetime.fromisoformat(found["starts"][i][key])
        for i, key in ((0, "started"), (-1, "ended"))
    )
    seconds = sum(
        (
            datetime.datetime.fromisoformat(start["ended"])
            - datetime.datetime.fromisoformat(start["started"])
        ).total_seconds()
        for start in found["starts"]
    )
    last = found["starts"][-1]
    return {
        **timing.machine(),
        "command": last["command"],
        "commit": last["git"] and last["git"]["commit"] + "+changes" * (not last["git"]["clean"]),
        "versions": last["versions"],
        "devices": last["devices"],
        "date": ended.date().isoformat(),
        "started": started.isoformat(),
        "seconds": seconds,
        "status": found["status"],
        "results": _scores(workdir),
    }


def _scores(workdir: Path) -> list[dict[str, Any]]:
    """Of every evaluation; `jaxseg evaluate --rank` writes none."""
    found = (json.loads(path.read_text()) for path in sorted(workdir.glob("eval/*/*.json")))
    return [
        {key: value for key, value in scores.items() if key != "confusion"}
        for scores in found
        if "miou" in scores
    ]


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python experiments/record_run.py WORKDIR RESULTS.json")
    files.write_text(Path(sys.argv[2]), json.dumps(record(Path(sys.argv[1])), indent=1) + "\n")
