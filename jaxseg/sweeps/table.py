"""A sweep's live table in a terminal; elsewhere plain lines as runs begin and end."""

import sys
import time
from collections.abc import Callable, Sequence
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table

from jaxseg.sweeps.status import HEADINGS, Status

REFRESH_SECONDS = 2.0
FRAME_LINES = 6  # of a table besides its rows
_URGENCY = {"failed": 0, "running": 0, "killed": 1, "stopped": 1}  # others come after
_STYLES = {"finished": "green", "running": "bold", "failed": "red", "killed": "yellow"}


class LiveTable:
    """A context that shows `statuses()` while runs go on, and keeps the lines said above it."""

    def __init__(self, statuses: Callable[[], Sequence[Status]], metric: str):
        self._statuses, self._metric = statuses, metric
        self._console = Console(file=sys.stderr)
        self._live = Live(console=self._console, auto_refresh=False)
        self._shown = 0.0

    def __enter__(self) -> "LiveTable":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._console.is_terminal:
            self._live.update(self._table(), refresh=True)
            self._live.stop()

    def say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def refresh(self) -> None:
        if self._console.is_terminal and time.monotonic() - self._shown > REFRESH_SECONDS:
            self._shown = time.monotonic()
            self._live.update(self._table(), refresh=True)

    def _table(self) -> Table:
        return table(self._statuses(), self._metric, most=self._console.height - FRAME_LINES)


def shown(statuses: Sequence[Status], most: int) -> list[Status]:
    """At most so many, in their order: those that run or failed before the others."""
    urgent = sorted(statuses, key=lambda each: _URGENCY.get(each.state, 2))[: max(most, 1)]
    kept = set(map(id, urgent))
    return [each for each in statuses if id(each) in kept]


def table(statuses: Sequence[Status], metric: str, most: int | None = None) -> Table:
    """Rows of runs, as many as fit on a screen, with a line that counts all of them."""
    made = Table(*HEADINGS, title=summary(statuses))
    for column in made.columns[3:]:
        column.justify = "right"
    for status in statuses if most is None else shown(statuses, most):
        made.add_row(*status.cells(metric), style=_STYLES.get(status.state))
    return made


def summary(statuses: Sequence[Status]) -> str:
    """How many runs are in which state: "12 runs: 3 finished, 1 running, 8 waiting"."""
    counts: dict[str, int] = {}
    for status in statuses:
        counts[status.state] = counts.get(status.state, 0) + 1
    return f"{len(statuses)} runs: " + ", ".join(f"{n} {state}" for state, n in counts.items())
