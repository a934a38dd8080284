"""`jaxseg sweep`."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from jaxseg.cli import flags, sweep_run
from jaxseg.errors import UserError


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
    source = flags.one_argument(argv, "show", "EXPERIMENT[:SCALE]")
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


def show_status(argv: Sequence[str]) -> None:
    from rich.console import Console

    from jaxseg.sweeps import plan, slurm, status
    from jaxseg.sweeps.table import table

    workdir = Path(flags.one_argument(argv, "status", "DIR"))
    record = plan.read(workdir)
    metric, split = record["metric"], record["split"]
    queue = slurm.queue(required=False) if slurm.jobs(workdir) else None
    found = [status.task_status(task, metric, split) for task in plan.stored_tasks(workdir)]
    found = slurm.with_jobs(found, workdir, queue)
    width = None if sys.stdout.isatty() else 120
    Console(width=width).print(table(found, metric))
    for each in found:
        if each.state == "failed":
            print(f"{each.task.name}: {each.reason}")


def report(argv: Sequence[str]) -> None:
    values = flags.define()
    flags.string(values, "baseline", "out", "data_dir", images="8")
    workdir = Path(flags.one_argument(flags.parse(values, "sweep report", argv), "report", "DIR"))
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


PARTS = {
    "show": show,
    "run": sweep_run.run,
    "status": show_status,
    "report": report,
    "diff": show_difference,
}
