"""`jaxseg sweep`."""

import collections
import dataclasses
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jaxseg.cli import flags
from jaxseg.errors import Stopped, UserError


class RunsFailedError(UserError):
    """Some runs of a sweep failed, which is nothing wrong with the command."""

    exit_code = 1


def sweep(argv: Sequence[str]) -> None:
    r"""Run an experiment's rows with several seeds, and look at them.

    jaxseg sweep show EXPERIMENT[:SCALE]
    jaxseg sweep run EXPERIMENT[:SCALE] --workdir DIR [--seeds N] [--only ROW,...]
                     [--slots N | --slurm KEY=VALUE,...] [--config.KEY=VALUE ...]
    jaxseg sweep run EXPERIMENT[:SCALE] --workdir DIR --search N [--slots N]
    jaxseg sweep status DIR
    jaxseg sweep report DIR [--baseline ROW] [--images N] [--out PATH]
    jaxseg sweep diff RUN RUN

      show           the rows, their configs and published numbers, all checked; nothing is run
      run            every row with every seed, each a folder DIR/ROW/seedN that `jaxseg train`
                     could have made; the same command continues what is unfinished, skips what is
                     finished and adds what is new
      status         where each run stands, from the folders alone; of a sweep in Slurm's queue,
                     also what waits there
      report         the rows compared, with intervals over seeds, published numbers and costs;
                     prints Markdown, writes DIR/report.md, .csv, .json and a page,
                     .html, with curves, classes and predictions of the same images
      diff           two runs' folders: what differs in config, versions and scores

      EXPERIMENT               a file of experiments/
      SCALE                    one of its scales, such as small or full; the first by default
      --workdir DIR            the sweep's folder
      --seeds N                seeds 0 to N - 1, instead of the scale's number
      --only ROW,...           these rows, and those that they need
      --slots N                so many runs at a time: GPUs of CUDA_VISIBLE_DEVICES, or shares of
                               the CPU's cores; by default every GPU, or one run on all cores
      --slurm KEY=VALUE,...    submit each run as a job of Slurm, and end (see below)
      --search N               N trials of what the experiment's `search` names, by Optuna; the
                               unpromising ones are stopped after an evaluation
      --data_dir DIR           where prepared data sets live, before TFDS_DATA_DIR
      --config.KEY=VALUE       for all rows; a row's own value comes first

      --baseline ROW           compare with this row instead of the experiment's baseline
      --images N               the page compares seed 0 of the rows on so many images, 8 by
                               default; 0 computes nothing
      --out PATH               write PATH.md, PATH.csv, PATH.json and PATH.html instead

    Ctrl-C has all runs save and stop; a second one ends them at once.

    On a Slurm cluster, with DIR on a disk that all its machines share, --slurm takes sbatch's long
    options, such as partition, account, qos, constraint, gpus_per_node, mem or exclude, besides:

      timeout_min=240          the time limit in minutes; a run saves before it, goes back into the
                               queue and continues, so a short one costs little
      signal_delay_s=90        how many seconds before the limit a run is asked to save
      cpus_per_task=N          cores, for the model and for reading its images
      mem_gb=N                 memory per machine
      array_parallelism=256    at most so many jobs at a time
      nodes=1,tasks_per_node=1 more than one process makes one run, by --distributed
      setup=COMMAND            run before, such as "module load cuda"

    Unless an option speaks of GPUs, a run takes one per process if sinfo knows of any. The same
    command again submits what is neither finished nor queued nor running.

    Where jobs get whole machines, run a sweep in the slots of one:
      sbatch --exclusive --gpus-per-node=8 --time=24:00:00 --signal=B:USR2@300 \
        --wrap "exec jaxseg sweep run EXPERIMENT --workdir DIR"

    Example:
      jaxseg sweep run experiments/fcn_strides.py:small --workdir runs/fcn_strides
      jaxseg sweep run experiments/fcn_strides.py:full --workdir runs/fcn_strides_full \
        --slurm partition=gpu,cpus_per_task=8,mem_gb=32
    """
    if not argv or argv[0] not in PARTS:
        given = repr(argv[0]) if argv else "nothing"
        raise UserError(f"jaxseg sweep: expected {', '.join(PARTS)}, got {given}")
    if argv[0] != "report":
        import jax

        jax.config.update("jax_platforms", "cpu")  # a GPU's memory is for the runs
    PARTS[argv[0]](argv[1:])


def show(argv: Sequence[str]) -> None:
    from jaxseg.sweeps import plan

    argv, changes = flags.split_overrides(argv)
    source = _one(argv, "show", "EXPERIMENT[:SCALE]")
    flags.quiet()
    made = plan.make(source, Path("DIR"), changes=changes)
    print(f"{made.question}\n")
    print(
        f"{made.source}, seeds {', '.join(map(str, made.seeds))}, compared: final "
        f"{made.experiment.metric} on {made.experiment.split}, with {made.experiment.baseline}"
    )
    for task in made.tasks:
        if task.seed != made.seeds[0]:
            continue
        row = made.experiment.rows[task.row]
        published = "" if row.published is None else f"   published {row.published}"
        print(f"\n{task.row}{published}{f'   ({row.note})' if row.note else ''}")
        print(f"  {shlex.join(('jaxseg', *task.words))}")


def run(argv: Sequence[str]) -> None:
    values = flags.define()
    flags.string(values, "workdir", "data_dir", seeds="0", only="", slots="0", search="0", slurm="")
    argv, changes = flags.split_overrides(argv)
    source = _one(flags.parse(values, "sweep run", argv), "run", "EXPERIMENT[:SCALE]")
    workdir = Path(flags.required(values, "sweep run", "workdir"))
    if values["data_dir"].value:
        changes = [*changes, f"--config.dataset.data_dir={values['data_dir'].value}"]
    flags.quiet()
    if values["slurm"].present and (values["slots"].present or values["search"].present):
        raise UserError("--slurm leaves the queue to Slurm: leave out --slots and --search")
    trials = flags.count(values, "sweep run", "search")
    if trials:
        if values["seeds"].present or values["only"].present:
            raise UserError("--search has one seed and no rows: leave out --seeds and --only")
        _search(source, workdir, values, trials, changes)
    else:
        _run_rows(source, workdir, values, changes)


def _run_rows(source: str, workdir: Path, values: Any, changes: Sequence[str]) -> None:
    from jaxseg import hosts
    from jaxseg.sweeps import local, plan

    made = plan.make(
        source,
        workdir,
        seeds=flags.count(values, "sweep run", "seeds"),
        only=[name for name in _split(values["only"].value) if name],
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
        raise RunsFailedError(f"{len(pool.failed)} of {len(made.tasks)} runs failed: {lines}")
    print(f"all {len(made.tasks)} runs are finished\nnext: jaxseg sweep report {workdir}")


def _statuses(made: Any) -> list[Any]:
    from jaxseg.sweeps import status

    metric, split = made.experiment.metric, made.experiment.split
    return [status.of_task(task, metric, split) for task in made.tasks]


def _submit(made: Any, options: str) -> None:
    from jaxseg import hosts, lock
    from jaxseg.sweeps import slurm, slurm_options

    parameters = slurm_options.parse(options)
    with lock.locked(made.workdir):  # who submits at the same time does not know of these jobs
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
        found = [status.of_task(task, metric, split) for task in tasks]
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


def show_status(argv: Sequence[str]) -> None:
    from rich.console import Console

    from jaxseg.sweeps import plan, slurm, status
    from jaxseg.sweeps.table import table

    workdir = Path(_one(argv, "status", "DIR"))
    record = plan.read(workdir)
    metric, split = record["metric"], record["split"]
    queue = slurm.queue(required=False) if slurm.jobs(workdir) else None
    found = [status.of_task(task, metric, split) for task in plan.stored_tasks(workdir)]
    found = slurm.with_jobs(found, workdir, queue)
    width = None if sys.stdout.isatty() else 120
    Console(width=width).print(table(found, metric))
    for each in found:
        if each.state == "failed":
            print(f"{each.task.name}: {each.reason}")


def report(argv: Sequence[str]) -> None:
    values = flags.define()
    flags.string(values, "baseline", "out", "data_dir", images="8")
    workdir = Path(_one(flags.parse(values, "sweep report", argv), "report", "DIR"))
    images = flags.count(values, "sweep report", "images")
    flags.set_up()
    from jaxseg import files, hosts
    from jaxseg.report.sweep import sweep_page
    from jaxseg.sweeps import report as texts
    from jaxseg.sweeps import results

    found = results.collect(workdir, values["baseline"].value or "")
    out = values["out"].value or str(workdir / "report")
    markdown, page = texts.markdown(found), Path(f"{out}.html")
    files.write_text(Path(f"{out}.md"), markdown)
    files.write_text(Path(f"{out}.csv"), texts.csv_text(found))
    files.write_text(Path(f"{out}.json"), texts.to_json(found))
    print(markdown, flush=True)  # before the page, whose predictions may take a while
    data_dir = values["data_dir"].value or ""
    html = sweep_page(found, images=images, data_dir=data_dir, announce=hosts.announce)
    files.write_text(page, html)
    print(f"written: {out}.md, {out}.csv, {out}.json, {page} ({len(html.encode()) / 1e6:.1f} MB)")


def show_difference(argv: Sequence[str]) -> None:
    from jaxseg.sweeps import differences

    if len(argv) != 2:
        raise UserError(f"jaxseg sweep diff: expected RUN RUN, got {' '.join(argv) or 'nothing'}")
    flags.quiet()
    print("\n".join(differences.between(*map(Path, argv))))


def _one(argv: Sequence[str], part: str, what: str) -> str:
    words = [argument for argument in argv if not argument.startswith("-")]
    if len(argv) != 1 or len(words) != 1:
        given = " ".join(argv) or "nothing"
        raise UserError(f"jaxseg sweep {part}: expected {what}, got {given}")
    return words[0]


def _split(text: str) -> list[str]:
    from jaxseg.defaults import split_at_commas

    return split_at_commas(text)


PARTS = {
    "show": show,
    "run": run,
    "status": show_status,
    "report": report,
    "diff": show_difference,
}
