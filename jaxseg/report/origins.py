"""Where a sweep's numbers come from: its commands, and the code and devices that ran."""

import collections
import shlex
from typing import Any

from jaxseg.errors import UserError
from jaxseg.report import folder
from jaxseg.report.page import code
from jaxseg.report.tables import fact_table
from jaxseg.sweeps.results import Sweep


def origins(sweep: Sweep) -> str:
    """The commands, and what they ran on."""
    record = sweep.record
    tasks = [each.status.task for row in sweep.rows for each in row.results]
    words = ["jaxseg", "sweep", "run", record["experiment"], "--workdir", str(sweep.workdir)]
    if record["searched"]:
        words += ["--search", str(len(tasks))]
    else:
        words += ["--seeds", str(len(record["seeds"]))]
        if len(sweep.rows) < len(record["rows"]):
            words += ["--only", ",".join(row.name for row in sweep.rows)]
    starts = []
    for task in tasks:
        try:
            starts += [folder.record(task.workdir)["starts"][-1]] if task.trains else []
        except (UserError, LookupError):  # not begun, or weights that were converted into a run
            continue
    single = "\n".join(
        shlex.join(("jaxseg", *task.words)) for task in tasks if task.seed == tasks[0].seed
    )
    return (
        code(shlex.join([*words, *record["changes"]]))
        + fact_table(_facts(starts))
        + f"<details><summary>Commands of single runs, seed {tasks[0].seed}</summary>"
        + f"{code(single)}</details>"
    )


def _facts(starts: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Commits, versions and devices of the runs' last starts; where they differ, of how many."""

    def devices(start: dict[str, Any]) -> str:
        return f"{start['devices']['count']} {start['devices']['kind']}"

    def versions(start: dict[str, Any]) -> str:
        return ", ".join(f"{name} {version}" for name, version in start["versions"].items())

    facts = []
    for name, said in (("commit", folder.commit), ("devices", devices), ("versions", versions)):
        counts = collections.Counter(map(said, starts))
        for text, count in counts.most_common():
            suffix = "" if len(counts) == 1 else f" ({count} of {len(starts)} runs)"
            facts.append((name, text + suffix))
    return facts
