"""From an experiment to the runs that it takes: their configs, folders and commands."""

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxseg import files
from jaxseg.config import check_config, check_unchanged, digest
from jaxseg.defaults import Config
from jaxseg.errors import UserError, suggest
from jaxseg.sweeps.experiment import Experiment, Overrides, Row, Scale, load, word

RECORD = "sweep.json"
# What a sweep means whose file is older than these keys.
LATER_KEYS = {"searched": (), "changes": (), "higher_is_better": True}


@dataclasses.dataclass(frozen=True)
class Task:
    """One run of a row, or the evaluation of another row's run.

    Attributes:
      row: the row's name.
      seed: of the run.
      workdir: the run's folder; for an evaluation, of the run that it evaluates.
      words: of the command, after `jaxseg`.
      needs: the run's folder that must be finished before, if any.
      digest: of the resolved config.
      total_steps: of the run.
      changes: `--config.KEY=VALUE` words of an evaluation.
    """

    row: str
    seed: int
    workdir: Path
    words: tuple[str, ...]
    digest: str
    total_steps: int
    needs: Path | None = None
    changes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.row}, seed {self.seed}"

    @property
    def trains(self) -> bool:
        return self.words[0] == "train"

    @property
    def log(self) -> Path:
        """What the command prints; beside the folder, which training makes."""
        folder = self.workdir.parent.parent / self.row
        return folder / f"seed{self.seed}.log"


@dataclasses.dataclass(frozen=True)
class Plan:
    """A sweep: an experiment at a scale, with its seeds."""

    workdir: Path
    experiment: Experiment
    question: str  # the experiment's docstring
    source: str  # FILE:SCALE
    seeds: tuple[int, ...]
    tasks: tuple[Task, ...]  # in the order in which they are begun
    searched: tuple[str, ...] = ()  # the config keys of a search, whose rows are trials
    changes: tuple[str, ...] = ()  # `--config.KEY=VALUE` words that were given for all rows

    def store(self) -> None:
        """`sweep.json`: all that a report needs to know besides the runs' folders."""
        rows = {
            name: {
                "overrides": {key: word(value) for key, value in row.overrides.items()},
                **{k: v for k, v in dataclasses.asdict(row).items() if k != "overrides"},
            }
            for name, row in self.experiment.rows.items()
        }
        record = {
            "experiment": self.source,
            "question": self.question,
            "metric": self.experiment.metric,
            "split": self.experiment.split,
            "higher_is_better": self.experiment.higher_is_better,
            "baseline": self.experiment.baseline,
            "margin": self.experiment.margin,
            "searched": list(self.searched),
            "changes": list(self.changes),
            "rows": rows,
            "seeds": list(self.seeds),
            "tasks": [_stored(task, self.workdir) for task in self.tasks],
        }
        self.workdir.mkdir(parents=True, exist_ok=True)
        files.write_text(self.workdir / RECORD, json.dumps(record, indent=1) + "\n")


def make(
    source: str,
    workdir: Path,
    *,
    seeds: int = 0,
    only: Sequence[str] = (),
    changes: Sequence[str] = (),
) -> Plan:
    """The plan of an experiment, every config of it built and checked.

    Args:
      source: `FILE[:SCALE]`.
      workdir: the sweep's folder.
      seeds: how many; 0: the scale's own number.
      only: the rows to run, and those that they need; empty: all.
      changes: `--config.KEY=VALUE` words for all rows.

    Raises:
      UserError: anything wrong with the file or a row, which it names; or runs in `workdir` that
        have another config.
    """
    experiment, scale, question, source = open_source(source)
    names = _with_needed(experiment, only)
    numbers = tuple(range(seeds or scale.seeds))
    tasks = []
    for seed in numbers:  # whole blocks first: a sweep that is cut short has comparable rows
        for name in names:
            try:
                tasks.append(make_task(experiment, scale, name, seed, workdir, changes))
            except UserError as error:
                raise UserError(f"row {name!r}: {error}") from None
    return Plan(
        workdir, experiment, question, source, numbers, tuple(tasks), changes=tuple(changes)
    )


def open_source(source: str) -> tuple[Experiment, Scale, str, str]:
    """Of `FILE[:SCALE]`: the experiment, the scale, the question, and `FILE:SCALE` in full."""
    path, _, name = source.partition(":")
    experiment, question = load(Path(path))
    name = name or next(iter(experiment.scales))
    if name not in experiment.scales:
        raise UserError(f"{path} has no scale {name!r}; {suggest(name, experiment.scales)}")
    return experiment, experiment.scales[name], question, f"{path}:{name}"


def _with_needed(experiment: Experiment, only: Sequence[str]) -> list[str]:
    """`only` and the rows that these need, each after what it needs."""
    for name in only:
        if name not in experiment.rows:
            raise UserError(f"--only names row {name!r}; {suggest(name, experiment.rows)}")
    ordered: list[str] = []

    def add(name: str) -> None:
        row = experiment.rows[name]
        if needed := row.begins_from or row.evaluates:
            add(needed)
        if name not in ordered:
            ordered.append(name)

    for name in only or experiment.rows:
        add(name)
    return ordered


def run_folder(workdir: Path, row: str, seed: int) -> Path:
    return workdir / row / f"seed{seed}"


def make_task(
    experiment: Experiment,
    scale: Scale,
    name: str,
    seed: int,
    workdir: Path,
    changes: Sequence[str],
) -> Task:
    """The task of a row with a seed, its config built and checked."""
    row = experiment.rows[name]
    if row.evaluates:
        trained = make_task(experiment, scale, row.evaluates, seed, workdir, changes)
        own = {**row.overrides, **scale.rows.get(name, {})}
        return _evaluation(trained, name, own, experiment.split)
    file, overrides = row.config or scale.config, _overrides(row, scale, name, changes)
    overrides["seed"] = seed
    needs = run_folder(workdir, row.begins_from, seed) if row.begins_from else None
    if needs:
        overrides["init_from"] = f"{needs}@latest"
    words = tuple(f"--config.{key}={word(value)}" for key, value in overrides.items())
    config = resolve(file, words)
    folder = run_folder(workdir, name, seed)
    check_unchanged(config, folder)
    return Task(
        row=name,
        seed=seed,
        workdir=folder,
        words=("train", "--config", file, "--workdir", str(folder), *words),
        digest=digest(config),
        total_steps=config.total_steps,
        needs=needs,
    )


def _overrides(row: Row, scale: Scale, name: str, changes: Sequence[str]) -> dict[str, Any]:
    given = dict(_key_value(change) for change in changes)
    return {**scale.overrides, **given, **row.overrides, **scale.rows.get(name, {})}


def _key_value(change: str) -> tuple[str, str]:
    key, _, value = re.sub(r"^--?config\.", "", change).partition("=")
    return key, value


def _evaluation(trained: Task, name: str, overrides: Overrides, split: str) -> Task:
    changes = tuple(f"--config.{key}={word(value)}" for key, value in overrides.items())
    config = resolve(trained.words[2], (*trained.words[5:], *changes))
    words = ("evaluate", "--workdir", str(trained.workdir), "--split", split, "--step", "latest")
    return dataclasses.replace(
        trained,
        row=name,
        words=(*words, *changes),
        digest=digest(config),
        needs=trained.workdir,
        changes=changes,
    )


def resolve(file: str, words: Sequence[str]) -> Config:
    """The checked config of `--config FILE` and its `--config.KEY=VALUE` words."""
    from absl import flags

    from jaxseg.overrides import define_flag, parse_flags
    from jaxseg.program import check_parts

    values: Any = flags.FlagValues()
    define_flag(values)
    parse_flags(values, "sweep", [f"--config={file}", *words])
    config = check_config(values["config"].value)
    check_parts(config)
    return config


def _stored(task: Task, workdir: Path) -> dict[str, Any]:
    values = dataclasses.asdict(task)
    return {
        **values,
        "workdir": str(task.workdir.relative_to(workdir)),
        "needs": str(task.needs.relative_to(workdir)) if task.needs else None,
    }


def read(workdir: Path) -> Mapping[str, Any]:
    """What `Plan.store` wrote.

    Raises:
      UserError: `workdir` is no sweep's folder.
    """
    try:
        return {**LATER_KEYS, **json.loads((workdir / RECORD).read_text())}
    except FileNotFoundError:
        raise UserError(f"{workdir} is not a sweep: it has no {RECORD}") from None


def stored_tasks(workdir: Path) -> Iterator[Task]:
    """The tasks of the sweep in `workdir`, wherever the folder lies now."""
    for values in read(workdir)["tasks"]:
        yield Task(
            **{
                **values,
                "words": tuple(values["words"]),
                "changes": tuple(values["changes"]),
                "workdir": workdir / values["workdir"],
                "needs": workdir / values["needs"] if values["needs"] else None,
            }
        )
