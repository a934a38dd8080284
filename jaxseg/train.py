"""The training story, top to bottom: read the data, build the model, continue or begin, loop."""

import contextlib
import functools
import itertools
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from jaxseg import checkpoint, data, drawing, hosts, inference, profiling
from jaxseg.config import check_config, store_config
from jaxseg.data import borders, pipeline, transforms
from jaxseg.data.source import Source
from jaxseg.errors import UserError
from jaxseg.evaluators import miou
from jaxseg.metrics import table
from jaxseg.parallel import check_batch_size
from jaxseg.program import Program, build_program
from jaxseg.state import TrainState
from jaxseg.weights import initial
from jaxseg.writers import MetricWriter, Progress, StepLog


class _StoppedError(Exception):
    """SIGTERM or Ctrl-C came in the middle of an evaluation."""


def train_and_evaluate(
    config: ConfigDict, workdir: Path, *, allow_config_change: bool = False, profile: bool = False
) -> dict[str, Any] | None:
    """Train to `config.total_steps`, continuing from the last checkpoint in `workdir`.

    With `profile`, a trace of the steps of `config.profile` is written on the way.

    All processes of a run call this; the first one writes.

    Returns:
      The scores of the last evaluation; None if SIGTERM or Ctrl-C ended the run early, after a
      checkpoint was saved.

    Raises:
      UserError: wrong config, data or folder, before any training.
      NonFiniteLossError: the loss stopped being a number; the last good checkpoint stays.
    """
    with hosts.Stop() as stop:  # outermost: no signal cuts the writing of the last checkpoint short
        try:
            return _train(config, workdir, stop, allow_config_change, profile and hosts.is_first())
        except jax.errors.JaxRuntimeError as error:
            if jax.process_count() == 1:
                raise
            hosts.leave(error)


def _train(
    config: ConfigDict, workdir: Path, stop: hosts.Stop, allow_config_change: bool, profile: bool
) -> dict[str, Any] | None:
    # The data, the steps, and a folder that says what is run: whatever is wrong shows here.
    check_config(config)
    transforms.check(config.augment)
    data.resolve(config.dataset)
    train_source = data.load(config.dataset, config.dataset.train_split)
    val_source = data.load(config.dataset, config.dataset.val_split)
    if not (len(train_source) and len(val_source)):
        raise UserError(
            f"{len(train_source)} images to train and {len(val_source)} to validate, expected some "
            "of both: change config.dataset.train_split and val_split"
        )
    classes = train_source.classes
    weigh = borders.weigher(config.loss, classes)
    program = build_program(config, classes, announce=lambda text: progress.say(text))
    check_batch_size(config.batch_size, program.parallel.num_devices, config.grad_accum_steps)

    # The state: continued if there is a checkpoint, else fresh. Nothing is written before a wrong
    # source of weights shows.
    begin = functools.partial(initial.create, program, config, train_source)
    saved = checkpoint.steps(workdir / "checkpoints")
    if profile:
        profiling.steps_of(config, start=max(saved, default=0))
    fresh = None if saved else begin()
    first = hosts.is_first()
    store_config(config, workdir, allow_change=allow_config_change, write=first)
    checkpoints = checkpoint.Checkpoints(
        workdir / "checkpoints", keep=config.checkpoint.keep, announce=print
    )
    start, evaluated = 0, False
    if (last := checkpoints.latest_step()) is None:
        state = program.parallel.place_state(fresh or begin())
    else:
        like = jax.eval_shape(program.init_state)
        state, meta = checkpoint.load(
            workdir / "checkpoints", last, like, sharding=program.parallel.sharding
        )
        start, evaluated = int(meta["step"]), bool(meta["evaluated"])
        if meta.get("folded"):  # `jaxseg weights convert` leaves that to training
            whole = program.parallel.whole(state)
            state = initial.measure_norms(program, config, whole, train_source)
            state = program.parallel.place_state(state)
    del fresh  # training would keep it all the while
    progress = Progress(
        start=start, total=config.total_steps, batch_size=config.batch_size, silent=not first
    )
    writer = MetricWriter(workdir, resume_step=start, evaluated=evaluated, silent=not first)
    progress.say(_opening(config, state, program, train_source, val_source, start, workdir))

    def evaluate_state() -> dict[str, Any]:
        watch = functools.partial(_until, stop)
        return miou.evaluate(program, config, state, val_source, announce=tell, watch=watch)

    # The loop. At each step: evaluate and save if due, stop if asked, then train on one batch. The
    # numbers of a step are read while the next one runs, so that the device never waits.
    scores: dict[str, Any] | None = None
    finished = False
    tell = progress.say if first else hosts.tell
    skipped = pipeline.Skipped(tell)
    batches = pipeline.train_batches(
        train_source,
        start=start,
        batch_size=config.batch_size,
        seed=config.seed,
        augment=config.augment,
        mean=config.dataset.mean,
        workers=config.pipeline.workers,
        prefetch=config.pipeline.prefetch,
        weigh=weigh,
        context=program.model.context,
        skipped=skipped if config.pipeline.on_unreadable == "skip" else None,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )
    traced = profiling.steps_of(config, start) if profile else range(0)
    trace = profiling.Profile(traced, workdir, pause=progress.pause)
    with contextlib.ExitStack() as closing:
        for thing in (trace, progress, writer, checkpoints, batches):
            closing.callback(thing.close)
        log = StepLog(config.log_every, program.schedule, program.train_step, writer, progress)
        for step in itertools.count(start):
            at_end = step >= config.total_steps
            meta = {"step": step, "config": config.to_dict(), "classes": classes.to_dict()}
            if (_due(step, config.eval.every) or at_end) and not evaluated:
                log.flush(batches.wait_seconds)
                try:
                    with progress.pause():
                        scores = evaluate_state()
                except _StoppedError:
                    checkpoints.save(state, {**meta, "evaluated": False}, miou=None)
                    break
                _report(scores, step, workdir, writer, progress)
                checkpoints.save(state, {**meta, "evaluated": True}, miou=scores["miou"])
            elif step > start and (_due(step, config.checkpoint.every) or stop):
                log.flush(batches.wait_seconds)
                checkpoints.save(state, {**meta, "evaluated": False}, miou=None)
            if at_end or stop:
                finished = at_end
                break
            trace.begin(step + 1, state)
            with jax.profiler.StepTraceAnnotation("train", step_num=step + 1):
                with jax.profiler.TraceAnnotation("wait for data"):
                    batch = next(batches)
                arrays = program.parallel.place(batch.for_training())
                state, numbers = program.train_step(state, arrays)
            trace.end(step + 1, state)
            evaluated = False
            log.step(step + 1, numbers, batch.names, batches.wait_seconds)
            checkpoints.seal()
    if finished and scores is None:  # a finished run says its scores again
        try:
            scores = evaluate_state()
        except _StoppedError:
            finished = False
    if missed := hosts.add_up(len(skipped)):
        print(f"{missed} training examples could not be read and were skipped, see above")
    if not (finished and scores):
        saved = f"saved in {workdir}" if step else "before the first"
        print(f"stopped at step {step}, {saved}; the same command continues from there")
        return None
    state = program.parallel.whole(state)
    if first:
        _finish(config, program, state, val_source, scores, workdir)
    return scores


def _due(step: int, every: int) -> bool:
    return every > 0 and step > 0 and step % every == 0


def _until(stop: hosts.Stop, batches: Iterator[pipeline.Batch]) -> Iterator[pipeline.Batch]:
    for batch in batches:
        if stop:
            raise _StoppedError
        yield batch


def _report(
    scores: dict[str, Any], step: int, workdir: Path, writer: MetricWriter, progress: Progress
) -> None:
    if hosts.is_first():
        miou.write_scores(scores, "val", step, workdir)
    numbers = {k: scores[k] for k in ("miou", "pixel_accuracy", "mean_accuracy")}
    writer.write(step, {f"val/{key}": value for key, value in numbers.items()})
    progress.say(
        f"step {step}: validation mIoU {100 * scores['miou']:.2f} %, "
        f"pixel accuracy {100 * scores['pixel_accuracy']:.2f} %"
    )


def _finish(
    config: ConfigDict,
    program: Program,
    state: TrainState,
    source: Source,
    scores: dict[str, Any],
    workdir: Path,
) -> None:
    """The last words: a table, pictures, and what to do next."""
    print(f"\nvalidation after {int(state.step)} steps, {scores['examples']} images")
    print(table(scores))
    variables = state.eval_variables

    def predict(image: np.ndarray) -> np.ndarray:
        return inference.predict_image(program.predict_step, variables, image, config)

    folder = workdir / "predictions"
    pictures = drawing.draw_examples(source, predict, config.num_predictions, folder)
    print(f"\npictures:  {pictures}" if pictures else "")
    beside = os.path.relpath(Path(sys.executable).parent / "jaxseg")
    jaxseg = "jaxseg" if shutil.which("jaxseg") else beside
    print(f"next:      {jaxseg} evaluate --workdir {workdir} --split train")
    print(f"your own:  {jaxseg} predict --workdir {workdir} --out masks IMAGE_OR_FOLDER ...")


def _opening(
    config: ConfigDict,
    state: TrainState,
    program: Program,
    train_source: Source,
    val_source: Source,
    start: int,
    workdir: Path,
) -> str:
    parameters = sum(x.size for x in jax.tree.leaves(state.params))
    devices = f"{program.parallel.num_devices} {jax.devices()[0].device_kind} by {config.parallel}"
    if (processes := jax.process_count()) > 1:
        devices += f" in {processes} processes"
    begin = f"continuing at step {start}" if start else "beginning"
    return (
        f"{config.model.name}, {parameters / 1e6:.2f} M parameters, on {config.dataset.name}: "
        f"{len(train_source)} images to train, {len(val_source)} to validate; {devices}; "
        f"{begin} in {workdir}"
    )
