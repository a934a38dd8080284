"""The page of one run."""

import dataclasses
import datetime
import json
import statistics
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from jaxseg import data, inference, metrics, runs
from jaxseg.config import load_config
from jaxseg.data import pipeline
from jaxseg.data.source import Classes
from jaxseg.errors import UserError
from jaxseg.metrics import percent
from jaxseg.progress import clock
from jaxseg.report import evaluators, folder, predictions, ranked
from jaxseg.report.charts import COLOURS, line_chart
from jaxseg.report.confusion import confusion_matrix
from jaxseg.report.gallery import gallery
from jaxseg.report.page import Section, code, document, now, paragraph, tiles
from jaxseg.report.tables import fact_table, percent_table

CURVES = {"miou": "mIoU", "pixel_accuracy": "pixel accuracy", "mean_accuracy": "mean accuracy"}
MOST_CLASSES = 2 * COLOURS  # lines that can be told apart


@dataclasses.dataclass(frozen=True)
class Gallery:
    """The gallery as HTML; or why there is none. With it come the classes and, as `scores`."""

    content: str
    step: int | None = None
    classes: Classes | None = None
    scores: dict[str, Any] | None = None


def run_page(
    workdir: Path,
    *,
    split: str = "val",
    step: str = "best",
    images: int = 24,
    data_dir: str = "",
    announce: Callable[[str], None] = print,
) -> str:
    """The page of the run in `workdir`, as HTML.

    Args:
      workdir: a run, finished or not; nothing in it is changed.
      split: "train" or "val", as the config defines them, or a split of the data set.
      step: "best", "latest" or a number.
      images: how many the gallery shows at most; 0 for no gallery, and then nothing is computed.
      data_dir: where prepared data lives, if not where the run had it.
      announce: is told what compiles, and why there is no gallery.

    Raises:
      UserError: this is no run, or there is nothing of that step.
    """
    record = folder.record(workdir)
    config = load_config(workdir)
    scored = folder.scores(workdir, split)
    shown = _gallery(workdir, split, step, images, data_dir, announce)
    number = folder.choose_step(scored, step) if shown.step is None else shown.step
    scores, origin = shown.scores, "computed for this page"
    if number in scored:
        scores, origin = scored[number], f"eval/{split}/{number}.json"
        if scores.get("changes"):  # measured by `jaxseg evaluate --evals` alone
            origin = f"eval/{split}, {scores['changes'][0].lstrip('-')}"
    what = f"{split}, step {number}"
    lines = folder.rows(workdir)
    sections = [Section("curves", "Learning curves", _curves(lines, scored, split))]
    if scores is not None:
        sections = [
            Section("scores", "Scores", _numbers(scores, scored, what, number, origin)),
            *sections,
            Section("classes", "Classes", _classes(scores, shown.classes, what)),
            Section("confusion", "Confusion", _confusion(scores, what)),
            *evaluators.sections(scores, what),
        ]
    else:
        nothing = f"No scores on {split}: the run was not evaluated on it yet."
        sections.insert(0, Section("scores", "Scores", paragraph(nothing)))
    sections.append(Section("images", "Images", shown.content))
    sections.append(Section("run", "Run", _origins(record, config, lines)))
    return document(
        workdir.resolve().name,
        _heading(record, config),
        sections,
        f"Written by jaxseg report from {workdir.resolve()} on {now()}.",
    )


def _gallery(
    workdir: Path,
    split: str,
    step: str,
    images: int,
    data_dir: str,
    announce: Callable[[str], None],
) -> Gallery:
    """Predict the split with the run's checkpoint, if there are both."""
    if not images:
        return Gallery(paragraph("No gallery: no images were asked for."))
    number, classes = None, None
    try:
        run = runs.open_run(workdir, step, command="report", announce=announce)
        number, classes = run.step, run.classes
        dataset = run.config.dataset
        if data_dir:
            dataset = dataclasses.replace(dataset, data_dir=data_dir)
        named = data.split_of(dataset, split)
        source = data.load(dataset, named)
        runs.check_classes(classes, source.classes, what=f"{dataset.name}, split {named}")
        runs.check_same_share(dataset, split, workdir)
        skip = run.config.pipeline.on_unreadable == "skip"
        skipped = pipeline.Skipped(announce) if skip else None
        announce(f"predicting the {len(source)} images of {named} with step {number}")

        def classify(image: Any) -> Any:
            step, variables = run.program.predict_step, run.state.eval_variables
            return inference.predict_image(step, variables, image, run.config)

        workers = run.config.pipeline.workers
        found = predictions.predict(classify, source, workers=workers, skipped=skipped)
        scores = metrics.scores(found.confusion, classes.names)
        scores |= {"examples": len(found.images), "skipped": len(skipped or ())}
        groups = [
            (title, list(predictions.items(source, chosen)))
            for title, chosen in predictions.choose(found.images, images)
        ]
        if regions := ranked.read(workdir, split, number):
            first = list(ranked.items(source, found.images, regions))
            groups = [(ranked.TITLE, first), *groups] if first else groups
    except (UserError, OSError) as error:
        reason = f"No gallery: {error}"
        announce(reason)
        return Gallery(paragraph(reason), number, classes)
    content = paragraph(_about(found, scores, named, number)) + gallery(groups, source.classes)
    return Gallery(content, number, source.classes, scores)


def _about(found: predictions.Predicted, scores: dict[str, Any], split: str, step: int) -> str:
    without = sum(image.miou is None for image in found.images)
    text = (
        f"Ranked by the mIoU of each image alone: the mean IoU of the classes in its own truth or "
        f"prediction. It is not the mIoU of the split, which is read off all {len(found.images)} "
        f"images of {split} together: {percent(scores['miou'])} % with these predictions of step "
        f"{step}."
    )
    if limits := predictions.interval(found.images):
        low, high = map(percent, limits)
        text += (
            f" Other images of the same kind would move it: 95 % interval {low} to {high} %, by "
            "bootstrap over images; training again with another seed moves it besides."
        )
    return text + (f" Left out: {without} in which every pixel is void." if without else "")


def _heading(record: dict[str, Any], config: Any) -> str:
    status, total = record["status"], config.total_steps
    text = f"{status} at step {record['step']:,} of {total:,}" if record["starts"] else status
    if record["reason"]:
        text += f": {record['reason']}"
    kind = status if status in ("finished", "running") else "ended"
    model = f"{config.model.name} on {config.dataset.name}"
    claim = folder.claim(record["starts"][-1]["command"]) if record["starts"] else []
    return f'<p><span class="status {kind}">{escape(text)}</span> {escape(model)}</p>' + "".join(
        paragraph(line, "claim") for line in claim
    )


def _numbers(
    scores: dict[str, Any],
    scored: dict[int, dict[str, Any]],
    what: str,
    step: int | None,
    origin: str,
) -> str:
    shown = [
        ("mIoU", scores["miou"]),
        ("pixel accuracy", scores["pixel_accuracy"]),
        ("mean accuracy", scores["mean_accuracy"]),
        ("frequency-weighted IoU", scores.get("frequency_weighted_iou")),
        ("mean Dice", scores.get("mean_dice")),
    ]
    numbers = [(name, f"{percent(value)} %", what) for name, value in shown]
    text = (
        f"One confusion matrix of all {scores.get('examples', '?')} images, at full size, void "
        f"left out ({origin})."
    )
    if scores.get("skipped"):
        text += f" {scores['skipped']} images could not be read and are not counted."
    last = max(scored, default=step)
    # The best of many steps, on the split that chose it, flatters the run.
    if last is not None and last != step:
        text += (
            f" The last of {len(scored)} evaluated steps, {last}, has "
            f"{percent(scored[last]['miou'])} % mIoU."
        )
    return tiles(numbers) + paragraph(text, "note")


def _curves(lines: list[dict[str, Any]], scored: dict[int, dict[str, Any]], split: str) -> str:
    charts = []
    losses = folder.loss_curves(lines)
    if split == "val":
        losses += folder.val_loss_curve(scored)
    if losses:
        charts.append(line_chart(losses, name="loss", title="Loss", x_label="step", y_label="loss"))
    classes = folder.class_curves(scored, MOST_CLASSES)
    known = {name for at in scored.values() for name in at["iou"]}
    some = f", the {MOST_CLASSES} lowest" * (len(known) > MOST_CLASSES)
    for name, title, curves in (
        ("by-step", f"Scores on {split}", folder.score_curves(scored, CURVES)),
        ("by-class", f"IoU by class on {split}{some}", classes),
    ):
        if curves:
            labels = {"x_label": "step", "y_label": "score, %"}
            charts.append(
                line_chart(curves, name=name, title=title, **labels, value="{:.2f} %".format)
            )
    if rates := [line for line in folder.rate_curve(lines) if line.x]:
        charts.append(
            line_chart(
                rates,
                name="rate",
                title="Learning rate",
                x_label="step",
                y_label="learning rate",
                value="{:.3g}".format,
            )
        )
    if not charts:
        return paragraph("No step was logged yet.")
    banded = any(len(line.low) for line in losses)
    note = "The line is the mean of equal parts of the run, the band goes from the lowest to the "
    note += "highest logged value in each."
    return f'<div class="charts">{"".join(charts)}</div>' + paragraph(note, "note") * banded


def _classes(scores: dict[str, Any], classes: Classes | None, what: str) -> str:
    matrix = scores["confusion"]
    truth = [sum(row) for row in matrix]
    total = max(sum(truth), 1)
    rows = [
        (name, (iou, scores["accuracy"][name], scores["dice"][name], truth[i] / total))
        for i, (name, iou) in enumerate(scores["iou"].items())
    ]
    mean = (scores["miou"], scores["mean_accuracy"], scores["mean_dice"])
    table = percent_table(
        ("class", "IoU", "accuracy", "Dice", "pixels"),
        rows,
        caption=f"By class, in %: {what}",
        bars={0},
        colours=classes.palette if classes is not None else (),
        last=("mean", mean),
    )
    absent = ", ".join(scores["absent"])
    note = f"In neither truth nor prediction, and left out of the means: {absent}."
    return table + (paragraph(note, "note") if absent else "")


def _confusion(scores: dict[str, Any], what: str) -> str:
    names = list(scores["iou"])
    note = (
        f"{what}. Shading goes with the square root of the share, so that small confusions show; "
        "cells below 0.5 % have no number."
    )
    matrix = np.array(scores["confusion"], np.int64)
    return paragraph(note, "note") + confusion_matrix(matrix, names, name="matrix")


def _origins(record: dict[str, Any], config: Any, lines: list[dict[str, Any]]) -> str:
    parts = []
    if record["starts"]:
        last = record["starts"][-1]
        devices = f"{last['devices']['count']} {last['devices']['kind']}"
        if last["hosts"]["processes"] > 1:
            devices += f" in {last['hosts']['processes']} processes"
        facts = [
            ("commit", folder.commit(last)),
            ("devices", devices),
            ("time", _times(record["starts"])),
        ]
        if speeds := [line["images_per_second"] for line in lines if "images_per_second" in line]:
            facts.append(("speed", f"{statistics.median(speeds):,.1f} images/s, median of the log"))
        versions = ", ".join(f"{name} {version}" for name, version in last["versions"].items())
        facts.append(("versions", versions))
        parts.append("<h3>Command</h3>" + code(last["command"]) + fact_table(facts))
        parts.append("<h3>Starts</h3>" + fact_table([*map(_start, record["starts"])]))
    else:
        parts.append(paragraph("No training is recorded here: weights were converted into a run."))
    text = json.dumps(config.to_dict(), indent=2, sort_keys=True)
    return "".join(parts) + f"<details><summary>Config</summary>{code(text)}</details>"


def _start(start: dict[str, Any]) -> tuple[str, str]:
    text = f"from step {start['from_step']:,}, {start['status']} at step {start['step']:,}"
    return start["started"], text + (f": {start['reason']}" if start["reason"] else "")


def _times(starts: list[dict[str, Any]]) -> str:
    ended = [start for start in starts if start.get("ended")]
    time = datetime.datetime.fromisoformat
    seconds = sum((time(s["ended"]) - time(s["started"])).total_seconds() for s in ended)
    text = f"{clock(seconds)}, compiling and evaluation included"
    return text + (", without starts that did not end by themselves" if ended != starts else "")
