"""What the rows of a sweep make of the same images."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from jaxseg import data, inference, metrics, runs
from jaxseg.data import pipeline
from jaxseg.data.source import Classes, Example
from jaxseg.errors import UserError
from jaxseg.report import predictions
from jaxseg.report.gallery import Item, Prediction, gallery
from jaxseg.report.page import bullets, paragraph
from jaxseg.sweeps.plan import Task


@dataclasses.dataclass(frozen=True)
class Gallery:
    """The gallery, or why there is none, as HTML; and the classes, if any row could be opened."""

    content: str
    classes: Classes | None = None


class _Comparison:
    """Collects the predictions of one row after another: one model is in memory at a time."""

    def __init__(self, split: str, images: int, data_dir: str, announce: Callable[[str], None]):
        self._split, self._images, self._data_dir = split, images, data_dir
        self._announce = announce
        self._examples: list[Example] = []
        self.classes: Classes | None = None
        self.predictions: list[list[Prediction]] = []  # by row, then by image

    def add(self, task: Task) -> None:
        """The predictions of the last checkpoint of the task's run.

        Raises:
          UserError, OSError: no checkpoint, no data, or other classes than the rows before.
        """
        command = "sweep report"
        run = runs.open_run(
            task.workdir, "latest", changes=task.changes, command=command, announce=self._announce
        )
        if self.classes is None:
            self._read(run)
        assert self.classes is not None
        runs.check_classes(run.classes, self.classes, what="the images")
        name = task.row
        if run.step != task.total_steps:
            name += f" (step {run.step:,} of {task.total_steps:,})"
        self._announce(f"{name}: predicting {len(self._examples)} images of {self._split}")
        found = []
        for example in self._examples:
            step, variables = run.program.predict_step, run.state.eval_variables
            labels = inference.predict_image(step, variables, example["image"], run.config)
            found.append(Prediction(name, _note(labels, example, self.classes), labels))
        self.predictions.append(found)

    def _read(self, run: runs.Run) -> None:
        """Images spread evenly over the split, and the classes of their labels."""
        dataset = run.config.dataset
        if self._data_dir:
            dataset = dataclasses.replace(dataset, data_dir=self._data_dir)
        source = data.load(dataset, data.split_of(dataset, self._split))
        skip = run.config.pipeline.on_unreadable == "skip"
        skipped = pipeline.Skipped(self._announce) if skip else None
        read = (pipeline.read(source, i, skipped) for i in spread(len(source), self._images))
        self._examples = [example for example in read if example is not None]
        self.classes = source.classes

    def items(self) -> list[Item]:
        return [
            Item(example["name"], example["image"], example["label"], found)
            for example, found in zip(
                self._examples, zip(*self.predictions, strict=True), strict=True
            )
        ]


def side_by_side(
    tasks: Sequence[Task],
    split: str,
    *,
    images: int,
    data_dir: str,
    announce: Callable[[str], None],
) -> Gallery:
    """Images of the split with a prediction of each task's run.

    Args:
      tasks: one for each row; those that can't be opened are named with the reason.
      split: "train" or "val", as the first row's config defines them, or a split of the data set.
      images: how many at most; 0 for none, and then nothing is computed.
      data_dir: where prepared data lives, if not where the runs had it.
      announce: is told what is predicted, what compiles, and what is left out.
    """
    if not images:
        return Gallery(paragraph("No images were asked for."))
    found, missing = _Comparison(split, images, data_dir, announce), []
    for task in tasks:
        try:
            found.add(task)
        except (UserError, OSError) as error:
            missing.append(f"{task.row}: {error}")
            announce(f"no predictions of {missing[-1]}")
    content = ""
    if missing:
        content = paragraph("Left out, for they could not be predicted:") + bullets(missing)
    if not found.predictions or found.classes is None:
        return Gallery(content or paragraph("No run has a checkpoint yet."), found.classes)
    items = found.items()
    title = f"{len(items)} images spread evenly over {split}, seed {tasks[0].seed}"
    return Gallery(content + gallery([(title, items)], found.classes), found.classes)


def spread(size: int, count: int) -> list[int]:
    """The middles of `count` equal parts of `size` examples; all of them if there are no more."""
    count = min(count, size)
    return [(2 * i + 1) * size // (2 * count) for i in range(count)]


def _note(labels: Int[np.ndarray, "h w"], example: Any, classes: Classes) -> str:
    matrix = predictions.confusion(labels, example["label"], len(classes), classes.void)
    scores = metrics.scores(matrix, classes.names)
    return predictions.note(scores["miou"], scores["pixel_accuracy"])
