"""What a training says at its beginning and at its end."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxseg import data, drawing, inference
from jaxseg.data import pipeline
from jaxseg.data.source import Source
from jaxseg.defaults import Config
from jaxseg.models.contract import corner_mismatch, evaluation_mismatch
from jaxseg.program import Program
from jaxseg.state import TrainState


def notes(config: Config, program: Program, splits: data.Splits) -> Iterator[str]:
    """What is worth knowing before the first step, a line each."""
    for mismatch in (
        corner_mismatch(program.model, config.augment.crop_size),
        evaluation_mismatch(program.model, config.eval.canvas, config.eval.size_multiple),
    ):
        if mismatch:
            yield f"warning: {mismatch}"
    if splits.note:
        yield splits.note
    if left_out := program.loss.left_out:
        yield f"no validation loss: {', '.join(left_out)} does not add up over the split"
    if leak := data.leak(config.dataset):
        yield f"warning: {leak}"


def opening(
    config: Config,
    state: TrainState,
    program: Program,
    train_source: Source,
    val_source: Source,
    start: int,
    workdir: Path,
) -> str:
    """The model, the data, the devices, and where training begins, in one line."""
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


def finish(
    config: Config,
    program: Program,
    state: TrainState,
    source: Source,
    scores: dict[str, Any],
    workdir: Path,
) -> None:
    """The last words: a table, pictures, and what to do next."""
    print(f"\nvalidation after {int(state.step)} steps, {scores['examples']} images")
    for evaluator in program.evaluators.values():
        print(evaluator.table(scores))
    variables = state.eval_variables

    def predict(image: np.ndarray) -> np.ndarray:
        return inference.predict_image(program.predict_step, variables, image, config)

    folder = workdir / "predictions"
    skipped = pipeline.Skipped(print) if config.pipeline.on_unreadable == "skip" else None
    pictures = drawing.draw_examples(source, predict, config.num_predictions, folder, skipped)
    print(f"\npictures:  {pictures}" if pictures else "")
    beside = os.path.relpath(Path(sys.executable).parent / "jaxseg")
    jaxseg = "jaxseg" if shutil.which("jaxseg") else beside
    print(f"next:      {jaxseg} evaluate --workdir {workdir} --split train")
    print(f"your own:  {jaxseg} predict --workdir {workdir} --out masks IMAGE_OR_FOLDER ...")
