"""The training story, top to bottom: read the data, build the model, continue or begin, loop."""

import contextlib
import itertools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from jaxseg import (
    checkpoint,
    class_weights,
    compilation,
    data,
    evaluation,
    forecast,
    hosts,
    initial,
    memory,
    profiling,
    runs,
    summary,
)
from jaxseg.config import check_config, check_unchanged, digest, store_config
from jaxseg.data import borders, pipeline
from jaxseg.data.sizes import Sizes
from jaxseg.data.source import Classes, Source
from jaxseg.defaults import Config, to_dict
from jaxseg.errors import UserError
from jaxseg.lock import locked
from jaxseg.overrides import override_config, read_config
from jaxseg.parallel import check_batch_size
from jaxseg.program import Program, build_program, check_parts
from jaxseg.progress import Progress
from jaxseg.state import TrainState
from jaxseg.stopping import Stop
from jaxseg.validation import Validation
from jaxseg.writers import MetricWriter, StepLog


def train(
    config: ConfigDict | str | os.PathLike[str],
    workdir: str | os.PathLike[str],
    *,
    changes: Mapping[str, Any] | None = None,
    allow_config_change: bool = False,
) -> dict[str, Any]:
    """What `jaxseg train` does, from Python: `jaxseg.load(workdir)` then opens the result.

    Args:
      config: what `get_config` of a config file returned, or what the command takes as --config:
        "configs/quickstart.py" or "configs/quickstart.py:unet,width=8".
      workdir: the run's folder. A run that is there already continues from its last checkpoint.
      changes: values of the config to replace, such as {"schedule.learning_rate": 0.02}.
      allow_config_change: continue a run although its config differs.

    Returns:
      The scores of the last validation, as in `eval/val/STEP.json`: "miou", "pixel_accuracy",
      "iou" by class, "confusion" and more.

    Raises:
      As `train_and_evaluate`.
    """
    compilation.cache_once()
    words = [f"--config.{key}={value}" for key, value in (changes or {}).items()]
    if not isinstance(config, ConfigDict):
        config = read_config(os.fspath(config), "train", words)
    elif words:
        config = override_config(config.copy_and_resolve_references(), "train", words)
    return train_and_evaluate(config, Path(workdir), allow_config_change=allow_config_change)


def train_and_evaluate(
    config: ConfigDict,
    workdir: Path,
    *,
    allow_config_change: bool = False,
    allow_other_classes: bool = False,
    profile: bool = False,
) -> dict[str, Any]:
    """Train to `config.total_steps`, continuing from the last checkpoint in `workdir`.

    All processes of a run call this; the first one writes.

    Args:
      config: see `defaults`.
      workdir: where everything of the run goes, see `runs`.
      allow_config_change: continue a run although its config differs.
      allow_other_classes: continue a run although the data's classes have other names.
      profile: write a trace of the steps of `config.profile` on the way.

    Returns:
      The scores of the last evaluation.

    Raises:
      UserError: wrong config, data or folder, before any training.
      NonFiniteLossError: the loss stopped being a number; the last good checkpoint stays.
      Stopped: a signal ended the run early, after a checkpoint was saved.
    """
    with Stop() as stop:  # outermost: no signal cuts the writing of the last checkpoint short
        with (
            hosts.failing_together(),
            locked(workdir) if hosts.is_first() else contextlib.nullcontext(),
        ):
            checked, first = check_config(config), hosts.is_first()
            with Progress(
                total=checked.total_steps, batch_size=checked.batch_size, silent=not first
            ) as progress:
                scores, where = _train(
                    checked,
                    workdir,
                    stop,
                    progress,
                    allow_config_change=allow_config_change,
                    allow_other_classes=allow_other_classes,
                    profile=profile and first,
                )
        if scores is None:
            raise stop.stopped(f"stopped {where}; the same command continues from there")
    return scores


def _train(
    config: Config,
    workdir: Path,
    stop: Stop,
    progress: Progress,
    *,
    allow_config_change: bool,
    allow_other_classes: bool,
    profile: bool,
) -> tuple[dict[str, Any] | None, str]:
    """The last scores; or None, and where training was stopped."""
    # Whatever is wrong with the config, the data or the folder shows here, before it is written to.
    splits = data.splits(config.dataset)
    train_source, val_source = _sources(config, splits)
    data_identity = data.identity(config.dataset)
    if not allow_config_change:
        check_unchanged(config, workdir)
        runs.check_same_data(data_identity, workdir)
    classes = train_source.classes
    sizes = Sizes.from_source(train_source, config.augment.scale)
    check_parts(config)  # class weights may take all images to be read
    weights = class_weights.for_training(config, train_source, splits.train, progress.say)
    facts = {
        "classes": classes.to_dict(),
        "sizes": sizes.to_dict() if sizes else None,
        "class_weights": weights,
    }
    first = hosts.is_first()
    canvas = pipeline.canvas_of(train_source) if config.augment.on_device else None
    cached = memory.cached_bytes(config, (train_source, val_source))
    program = build_program(
        config, classes, announce=progress.say, cached=cached, class_weights=weights
    )
    higher_is_better = evaluation.is_higher_better(program, config)
    check_batch_size(config.batch_size, program.parallel.num_devices, config.grad_accum_steps)
    weigh = borders.weigher(config.loss, classes)
    state, start = _begin_or_continue(
        program, config, workdir, train_source, allow_other_classes=allow_other_classes
    )
    traced = profiling.steps_of(config, start) if profile else range(0)

    # From here on the folder says what is run.
    store_config(config, workdir, write=first)
    checkpoints = checkpoint.Checkpoints(
        workdir / runs.CHECKPOINTS,
        keep=config.checkpoint.keep,
        announce=progress.say,
        metric=config.best_metric,
        higher_is_better=higher_is_better,
    )
    if not evaluation.scores_path(workdir, "val", start).exists():  # somebody deleted eval/
        checkpoints.evaluate_again(start)
    writer = MetricWriter(
        workdir, resume_step=start, evaluated=checkpoints.is_evaluated(start), silent=not first
    )
    record = runs.Record(
        workdir,
        step=start,
        data=data_identity,
        config=digest(config),
        sizes=facts["sizes"],
        class_weights=weights,
        write=first,
    )
    trace = profiling.Profile(traced, workdir, pause=progress.pause)
    tell = progress.say if first else hosts.tell
    skipped = pipeline.Skipped(tell)
    batches = pipeline.train_batches(
        train_source,
        start=start,
        batch_size=config.batch_size,
        seed=config.seed,
        augment=config.augment,
        mean=config.dataset.mean,
        bits=config.dataset.bits,
        workers=config.pipeline.workers,
        prefetch=config.pipeline.prefetch,
        weigh=weigh,
        context=program.model.context,
        canvas=canvas,
        skipped=skipped if config.pipeline.on_unreadable == "skip" else None,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )
    for note in summary.notes(config, program, splits):
        progress.say(note)
    progress.say(summary.opening(config, state, program, train_source, val_source, start, workdir))
    progress.begin(start)

    # The loop. At each step: save if due, then evaluate if due, stop if asked, and train on one
    # batch. The numbers of a step are read while the next one runs, so that the device never waits:
    # the batch after it goes to the device meanwhile, since neither `place` nor a step blocks.
    meta = {"config": to_dict(config), **facts}
    validate = Validation(program, config, val_source, workdir, stop, progress, writer, tell)
    scores: dict[str, Any] | None = None
    with contextlib.ExitStack() as closing:
        for resource in (trace, progress, writer, checkpoints, batches):
            closing.callback(resource.close)
        closing.enter_context(hosts.failing_together())  # closing waits for the other processes
        closing.enter_context(record)
        timing = forecast.FirstSteps(config, program, start, announce=progress.say)
        step_fn, schedule = program.train_step, program.schedule
        log = StepLog(config.log_every, schedule, step_fn, writer, progress, timing.computed)
        for step in itertools.count(start):
            at_end = step >= config.total_steps
            evaluate_now = (at_end or _due(step, config.eval.every)) and not (
                checkpoints.is_evaluated(step)
            )
            stop.poll()
            save_now = step > start and (stop.requested or _due(step, config.checkpoint.every))
            if evaluate_now or save_now:
                log.flush(batches.wait_seconds)
                progress.doing(f"saving step {step}")
                checkpoints.save(state, {**meta, "step": step})
                record.update(step)
            if evaluate_now and not stop.requested:
                scores = validate(state, step)
                if scores is None:
                    break
                checkpoints.record(step, scores)
            if at_end or stop.requested:
                break
            trace.begin(step + 1, state)
            progress.training(step + 1, waiting=True)
            with jax.profiler.StepTraceAnnotation("train", step_num=step + 1):
                with jax.profiler.TraceAnnotation("wait for data"):
                    batch = next(batches)
                progress.training(step + 1)
                arrays = program.parallel.place(batch.for_training())
                state, numbers = program.train_step(state, arrays)
            trace.end(step + 1, state)
            log.step(step + 1, numbers, batch.names, batches.wait_seconds)
            if (step + 1) % config.log_every == 0:
                # else its gaps grow: by 1 GB in 300 steps of CamVid on a CPU
                compilation.trim_heap()
            checkpoints.seal()
        finished = at_end and checkpoints.is_evaluated(step)
        record.end("finished" if finished else "stopped", step)

    if missed := hosts.add_up(len(skipped)):
        print(f"{missed} training examples could not be read and were skipped, see above")
    if not finished:
        saved = f"saved in {workdir}" if step else "before the first"
        return None, f"at step {step}, {saved}"
    if scores is None:  # a finished run says its scores again
        scores = evaluation.read_scores(workdir, "val", step)
    state = program.parallel.whole(state)
    if first:
        summary.finish(config, program, state, val_source, scores, workdir)
    return scores, ""


def _sources(config: Config, splits: data.Splits) -> tuple[Source, Source]:
    train_source = data.load(config.dataset, splits.train)
    val_source = data.load(config.dataset, splits.val)
    if not (len(train_source) and len(val_source)):
        raise UserError(
            f"{len(train_source)} images to train and {len(val_source)} to validate, expected some "
            "of both: change config.dataset.train_split and val_split"
        )
    return train_source, val_source


def _begin_or_continue(
    program: Program,
    config: Config,
    workdir: Path,
    train_source: Source,
    *,
    allow_other_classes: bool,
) -> tuple[TrainState, int]:
    """The state of the newest whole checkpoint, else a fresh one, and its step; on the devices.

    Nothing is written, so that a wrong source of weights leaves no trace.
    """
    folder = workdir / runs.CHECKPOINTS
    step = checkpoint.newest(folder)
    if step is None:
        return program.parallel.place_state(initial.create(program, config, train_source)), 0
    trained = Classes.from_dict(checkpoint.load_meta(folder, step)["classes"])
    runs.check_classes(
        trained, train_source.classes, what=f"data set {config.dataset.name}",
        allow=allow_other_classes,
    )  # fmt: skip
    like = program.state_shapes()
    state, meta = checkpoint.load(folder, step, like, sharding=program.parallel.sharding)
    if meta.get("folded"):  # `jaxseg weights convert` leaves that to training
        whole = program.parallel.whole(state)
        state = initial.measure_norms(program, config, whole, train_source)
        state = program.parallel.place_state(state)
    return state, step


def _due(step: int, every: int) -> bool:
    return every > 0 and step > 0 and step % every == 0
