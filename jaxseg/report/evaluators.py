"""What the evaluators beside mIoU found, on the page of a run: images, boundaries, calibration."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxseg.evaluators import boundary
from jaxseg.metrics import percent
from jaxseg.report.charts import Series, line_chart
from jaxseg.report.page import Section, paragraph, tiles
from jaxseg.report.tables import text_table


def sections(scores: Mapping[str, Any], what: str) -> list[Section]:
    """A section for each evaluator whose scores are there; `what` names split and step."""
    made = []
    if "image_miou" in scores:
        made.append(Section("per-image", "By image", _per_image(scores, what)))
    if "trimap" in scores:
        made.append(Section("boundaries", "Boundaries", _boundaries(scores, what)))
    if scores.get("reliability"):
        made.append(Section("calibration", "Calibration", _calibration(scores, what)))
    return made


def _per_image(scores: Mapping[str, Any], what: str) -> str:
    rows = [
        ("mIoU^D", "pixels of all images together", "miou"),
        ("mIoU^I", "mean over images", "image_miou"),
        ("mIoU^I, worst 5 %", "mean of the worst images", "image_miou_worst"),
        ("mIoU^C", "by class over images, then over classes", "class_miou"),
        ("mIoU^C, worst 5 %", "of each class's images", "class_miou_worst"),
    ]
    lines = [
        (name, about, percent(scores[key]), _interval(scores.get(f"{key}_interval")))
        for name, about, key in rows
    ]
    table = text_table(
        ("number", "what is averaged", "%", "95 % interval"),
        lines,
        caption=f"Three numbers that are called mIoU: {what}",
        words=(0, 1),
    )
    note = (
        "Wang et al. 2023. The first is the one that papers report. Intervals say how far another "
        "choice of such images would move a number, by bootstrap; training again with another seed "
        "moves it besides."
    )
    return table + paragraph(note, "note")


def _boundaries(scores: Mapping[str, Any], what: str) -> str:
    bands = [band for band in scores["trimap"] if band["miou"] is not None]
    radius, tolerance = (
        boundary.pixels(scores[key])
        for key in ("boundary_iou_radius_px", "boundary_f_tolerance_px")
    )
    numbers = [
        (
            "boundary IoU",
            f"{percent(scores['boundary_iou'])} %",
            f"radius {100 * boundary.RADIUS:g} % of the diagonal: {radius} px",
        ),
        (
            "boundary F-score",
            f"{percent(scores['boundary_f'])} %",
            f"tolerance {100 * boundary.TOLERANCE:g} %: {tolerance} px",
        ),
    ]
    if not bands:
        return tiles(numbers)
    intervals = [band["interval"] for band in bands]
    line = Series(
        "mIoU near contours",
        [band["width_px"] for band in bands],
        [100 * band["miou"] for band in bands],
        [100 * low for low, _ in intervals],
        [100 * high for _, high in intervals],
    )
    chart = line_chart(
        [line],
        name="trimap",
        title=f"mIoU near contours: {what}",
        x_label="band, pixels on each side of a contour",
        y_label="mIoU, %",
        value="{:.2f} %".format,
    )
    note = "The band is the 95 % interval over the choice of images."
    return tiles(numbers) + f'<div class="charts">{chart}</div>' + paragraph(note, "note")


def _calibration(scores: Mapping[str, Any], what: str) -> str:
    bins = scores["reliability"]
    right = Series(
        "the model",
        [100 * each["confidence"] for each in bins],
        [100 * each["accuracy"] for each in bins],
    )
    chart = line_chart(
        [right, Series("perfect calibration", [0, 100], [0, 100], dotted=True)],
        name="reliability",
        title=f"Reliability: {what}",
        x_label="confidence, %",
        y_label="accuracy, %",
        value="{:.2f} %".format,
    )
    total = sum(each["pixels"] for each in bins)
    lines = [
        (
            f"above {100 * each['above']:.0f} %",
            percent(each["confidence"]),
            percent(each["accuracy"]),
            percent(each["pixels"] / total),
        )
        for each in bins
    ]
    table = text_table(
        ("confidence", "mean confidence, %", "accuracy, %", "pixels, %"),
        lines,
        caption=f"Bins of confidence: {what}",
    )
    numbers = [
        (
            "calibration error of pixels",
            f"{percent(scores['ece'])} %",
            f"follows the largest class; interval {_interval(scores.get('ece_interval'))}",
        ),
        (
            "of classes, their mean",
            f"{percent(scores['class_ece'])} %",
            f"by predicted class; interval {_interval(scores.get('class_ece_interval'))}",
        ),
        ("mean confidence", f"{percent(scores['mean_confidence'])} %", "of the predicted class"),
    ]
    note = "Dotted: as many are right as the confidence says. Below it, the model is too sure."
    shown = f'<div class="charts">{chart}</div>' + paragraph(note, "note")
    return tiles(numbers) + shown + table


def _interval(interval: Sequence[float] | None) -> str:
    return "-" if interval is None else f"{percent(interval[0])} to {percent(interval[1])}"
