"""`jaxseg sweep run`: an experiment's runs in the slots of this machine, or as jobs of Slurm."""

import collections
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jaxseg.cli import flags
from jaxseg.errors import IncompleteError, Stopped, UserError


def run(argv: Sequence[str]) -> None:
    values = flags.define()
    flags.string(values, "workdir", "data_dir", seeds="0", only="", slots="0", search="0", slurm="")
    argv, changes = flags.split_overrides(argv)
    source = flags.one_argument(flags.parse(values, "sweep run", argv), "run", "EXPERIMENT[:SCALE]")
    workdir = Path(flags.required(values, "sweep run", "workdir"))
    if values["data_dir"].value:
        changes = [*changes, f"--config.dataset.data_dir={values['data_dir'].value}"]
    flags.quiet()
    if values["slurm"].present and (values["slots"].present or values["search"].present):
        raise UserError("--slurm leaves the queue to Slurm: leave out --slots and --search")
    trials = flags.count(values, "sweep run", "search")
    if trials and (values["seeds"].present or values["only"].present):
        raise UserError("--search has one seed and no rows: leave out --seeds and --only")
    from jaxseg import lock

    with lock.locked(workdir):  # two at a time would begin the same runs
        if trials:
            _search(source, workdir, values, trials, changes)
        else:
            _run_rows(source, workdir, values, changes)


def _run_rows(source: str, workdir: Path, values: Any, changes: Sequence[str]) -> None:
    from jaxseg import hosts
    from jaxseg.defaults import split_at_commas
    from jaxseg.sweeps import local, plan

    made = plan.make(
        source,
        workdir,
        seeds=flags.count(values, "sweep run", "seeds"),
        only=[name for name in split_at_commas(values["only"].value) if name],
        changes=changes,
    )
    if values["slurm"].present:
        _submit(made, values["slurm"].value)
        return
    places = local.slots(flags.count(values, "sweep run", "slots"))
    metric, split = made.experiment.metric, made.experiment.split
    before = _statuses(made)
    waiting = [each.task for each in before if each.state != "finished"]
    made.store()
    hosts.announce(_intention(before, len(places), made.source))
    pool = _in_slots(places, made.tasks, waiting, metric, split, workdir)
    if pool.failed:
        lines = "; ".join(f"{task.name}: {reason}" for task, reason in pool.failed.items())
        raise IncompleteError(f"{len(pool.failed)} of {len(made.tasks)} runs failed: {lines}")
    print(f"all {len(made.tasks)} runs are finished\nnext: jaxseg sweep report {workdir}")


def _statuses(made: Any) -> list[Any]:
    from jaxseg.sweeps import status

    metric, split = made.experiment.metric, made.experiment.split
    return [status.task_status(task, metric, split) for task in made.tasks]


def _submit(made: Any, options: str) -> None:
    from jaxseg import hosts
    from jaxseg.sweeps import slurm, slurm_options

    parameters = slurm_options.parse(options)
    queue = slurm.queue()  # asked first: what ends from now on, the folders know
    before = slurm.with_jobs(_statuses(made), made.workdir, queue)
    made.store()
    counts = collections.Counter(each.state for each in before)
    done, begun = counts["finished"], counts["queued"] + counts["running"]
    hosts.announce(
        f"{made.source}: {len(before)} runs: {len(before) - done - begun} to submit, "
        f"{begun} queued or running, {done} finished already"
    )
    slurm.submit(before, made.workdir, parameters, print)
    if done == len(before):
        print(f"next: jaxseg sweep report {made.workdir}")
    else:
        print(f"watch: jaxseg sweep status {made.workdir}, or squeue --me")


def _search(source: str, workdir: Path, values: Any, trials: int, changes: Sequence[str]) -> None:
    from jaxseg import hosts
    from jaxseg.sweeps import local, search

    found = search.Search(source, workdir, trials=trials, changes=changes, announce=hosts.announce)
    places = local.slots(flags.count(values, "sweep run", "slots"))
    hosts.announce(
        f"{source}: {trials} trials, {len(places)} at a time; {len(found.tasks)} begun before, "
        f"{len(found.waiting)} of them to continue"
    )
    _in_slots(places, found.tasks, found.waiting, found.metric, found.split, workdir, found.update)
    print(f"{found.best()}\nnext: jaxseg sweep report {workdir}")


def _in_slots(
    places: Sequence[Any],
    tasks: Sequence[Any],
    waiting: list[Any],
    metric: str,
    split: str,
    workdir: Path,
    update: Callable[[Any], None] | None = None,
) -> Any:
    """Run `waiting` of `tasks` in a pool, with a live table; returns the pool.

    Raises:
      Stopped: a signal came; every run has saved and ended.
    """
    from jaxseg.sweeps import local, status
    from jaxseg.sweeps.table import LiveTable

    def statuses() -> list[status.Status]:
        found = [status.task_status(task, metric, split) for task in tasks]
        return [_as_known(each, pool) for each in found]

    def refresh() -> None:
        if update:
            update(pool)
        shown.refresh()

    with LiveTable(statuses, metric) as shown:
        pool = local.Pool(places, shown.say)
        stopped_by = pool.run(waiting, refresh)
        refresh()
    if stopped_by:
        raise Stopped(stopped_by, f"stopped, saved in {workdir}; the same command continues")
    return pool


def _as_known(found: Any, pool: Any) -> Any:
    """A status with what the pool knows and the folder does not: that it runs, or has failed."""
    if found.task in pool.pruned:
        return dataclasses.replace(found, state="pruned")
    if found.task in pool.failed:
        return dataclasses.replace(found, state="failed", reason=pool.failed[found.task])
    if pool.is_running(found.task) and found.state != "running":
        return dataclasses.replace(found, state="running")
    return found


def _intention(before: Sequence[Any], places: int, source: str) -> str:
    """What the command is going to do, in a line."""
    counts = {"finished": 0, "waiting": 0, "unfinished": 0}
    for each in before:
        counts[each.state if each.state in counts else "unfinished"] += 1
    return (
        f"{source}: {len(before)} runs, {places} at a time: {counts['waiting']} to begin, "
        f"{counts['unfinished']} to continue, {counts['finished']} finished already"
    )
