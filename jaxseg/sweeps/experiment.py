"""An experiment: a question as data, in one file of experiments/.

A file's docstring asks the question and names the published table that it stands beside; its
`EXPERIMENT` says what is run:

    EXPERIMENT = Experiment(
        rows={
            "32s": Row({"model.stride": 32}, published=59.4),
            "16s": Row({"model.stride": 16}, published=62.4),
        },
        baseline="32s",
        scales={
            "small": Scale("configs/camvid.py:fcn", {"total_steps": 400}),
            "full": Scale("configs/voc.py:fcn"),
        },
    )

Each row is run once per seed. Of the same key, a row's value comes before the command line's, and
that before the scale's; what a scale says of one row comes first.
"""

import dataclasses
import inspect
import itertools
import re
import runpy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxseg.errors import UserError, suggest

Overrides = Mapping[str, Any]  # config keys without "config.", such as "schedule.learning_rate"
_NAME = re.compile(r"[\w.,=()+-]+")  # of a row: it is a folder's name too


@dataclasses.dataclass(frozen=True)
class Row:
    """One variant.

    Attributes:
      overrides: what differs from the other rows.
      config: `FILE:ARG` in place of the scale's, where the config file itself decides by its ARG.
      begins_from: a row whose run of the same seed gives the weights to begin with.
      evaluates: a row whose run of the same seed is evaluated with `overrides`; nothing is trained.
      published: the paper's number, in the unit of the metric as printed (mIoU in percent).
      note: how the published number's protocol differs from this row's.
    """

    overrides: Overrides = dataclasses.field(default_factory=dict)
    config: str = ""
    begins_from: str = ""
    evaluates: str = ""
    published: float | None = None
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Scale:
    """How large an experiment is run.

    Attributes:
      config: `FILE:ARG` of a config, as `jaxseg train --config` takes it.
      overrides: values for all rows.
      seeds: 0 to seeds - 1 are run.
      rows: values for single rows at this scale, by the row's name.
    """

    config: str
    overrides: Overrides = dataclasses.field(default_factory=dict)
    seeds: int = 3
    rows: Mapping[str, Overrides] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Range:
    """Numbers that `jaxseg sweep run --search` chooses from; whole ones if both ends are."""

    low: int | float
    high: int | float
    log: bool = False  # equally often in each power of ten


@dataclasses.dataclass(frozen=True)
class Experiment:
    """The rows of a table, and how they are run.

    Attributes:
      rows: by name, in the order of the table.
      baseline: the row that the others are compared with.
      scales: by name; the first is the default.
      metric: a number of the evaluators' scores, compared at the end of training.
      split: that it is measured on.
      higher_is_better: whether more of the metric is better.
      margin: a difference too small to matter, in the metric's printed unit; None: nothing is
        called equivalent.
      search: what `jaxseg sweep run --search` chooses from, by config key: a `Range`, or choices.
    """

    rows: Mapping[str, Row]
    baseline: str
    scales: Mapping[str, Scale]
    metric: str = "miou"
    split: str = "val"
    higher_is_better: bool = True
    margin: float | None = None
    search: Mapping[str, Range | Sequence[Any]] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in self.rows:
            if not _NAME.fullmatch(name):
                raise UserError(
                    f"row {name!r}: a row's name is a folder's too, expected letters, digits "
                    "and _ . , = ( ) + -"
                )
        if self.baseline not in self.rows:
            raise UserError(
                f"baseline {self.baseline!r} is no row; {suggest(self.baseline, self.rows)}"
            )
        for name, row in self.rows.items():
            self._check_row(name, row)
        for scale_name, scale in self.scales.items():
            for name in scale.rows:
                if name not in self.rows:
                    raise UserError(
                        f"scale {scale_name!r} names row {name!r}; {suggest(name, self.rows)}"
                    )
            if scale.seeds < 1:
                raise UserError(f"scale {scale_name!r} has {scale.seeds} seeds, expected 1 or more")

    def _check_row(self, name: str, row: Row) -> None:
        """The rows that it builds on exist, and are trained before it."""
        if row.begins_from and row.evaluates:
            raise UserError(f"row {name!r} begins from a row and evaluates one: only one can be")
        seen = [name]
        while other := row.begins_from or row.evaluates:
            if other not in self.rows:
                raise UserError(f"row {name!r} needs row {other!r}; {suggest(other, self.rows)}")
            if other in seen:
                raise UserError(f"rows need each other in a circle: {' -> '.join([*seen, other])}")
            seen.append(other)
            row = self.rows[other]
            if row.evaluates:
                raise UserError(f"row {name!r} needs row {other!r}, which trains nothing")


def grid(axes: Mapping[str, Sequence[Any]]) -> dict[str, Row]:
    """A row for each combination of values: {"model.output_stride": (8, 16)} gives two.

    Their names are the last parts of the keys with the values: "output_stride=8".
    """
    rows = {}
    for values in itertools.product(*axes.values()):
        chosen = dict(zip(axes, values, strict=True))
        words = (f"{key.rpartition('.')[2]}={word(value)}" for key, value in chosen.items())
        rows[",".join(words)] = Row(chosen)
    return rows


def word(value: Any) -> str:
    """A value as `--config.KEY=VALUE` takes it."""
    return str(value).replace(" ", "")


def load(path: Path) -> tuple[Experiment, str]:
    """The experiment of a file, and its docstring.

    Raises:
      UserError: no such file, or it defines no experiment.
    """
    if not path.is_file():
        known = sorted(str(p) for p in Path("experiments").glob("*.py"))
        hint = suggest(str(path), known) if known else "give the path of a file with EXPERIMENT"
        raise UserError(f"no experiment {path}; {hint}")
    try:
        module = runpy.run_path(str(path))
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    experiment = module.get("EXPERIMENT")
    if not isinstance(experiment, Experiment):
        raise UserError(f"{path} defines no EXPERIMENT = jaxseg.sweeps.Experiment(...)")
    return experiment, inspect.cleandoc(module["__doc__"] or "")
