"""How well contours are found: mIoU near them, the boundary F-score, and boundary IoU.

Trimap: mIoU of the pixels near a contour of the truth, by the width of the band (Kohli, Ladicky,
Torr 2009, "Robust higher order potentials for enforcing label consistency", IJCV, section 5.2; the
plot of the DeepLab papers). A pixel on a contour has one of its four neighbours of another label; a
band of w holds the pixels less than w pixels (Euclidean, between centres) from one on a contour, so
that w = 1 is one pixel on each side. Void is a label: in VOC, whose contours are void, bands lie
around it, as in DeepLab's.

Boundary F-score (Csurka, Larlus, Perronnin 2013, "What is a good evaluation measure for semantic
segmentation?", BMVC, section 3.2): of each class's contour in an image, the share of the
prediction's within a tolerance of the truth's (precision), the reverse (recall), and their harmonic
mean. The tolerance is 0.75 % of the image's diagonal, at least one pixel, Euclidean. Where one of
both has no contour the score is 0, where neither has it is left out. Its mean over images, then
over classes. Nothing is a contour for lying at the image's border.

Boundary IoU (Cheng et al. 2021, "Boundary IoU: improving object-centric image segmentation
evaluation", CVPR, section 4): IoU of the pixels of a class's mask that have a pixel outside of the
mask within a radius: 2 % of the diagonal, rounded, at least one pixel. As in the authors' code the
distance is the chessboard's (a square erodes the mask), and what lies beyond the image is outside.
Pixels are added up over the split first, as for mIoU.

Void: the prediction is taken to be void where the label is. So void never counts, a prediction that
changes its class somewhere inside of a void contour is right, and the border of a void region is a
contour in both.

Kept of each image: k = 2 + c (3 + 2 + 3 x 6) numbers for c classes and six bands.
"""

from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int

from jaxseg import metrics
from jaxseg.data.source import Classes
from jaxseg.evaluators import _shapes
from jaxseg.metrics import interval_text, percent

WIDTHS = (1, 2, 4, 8, 16, 32)  # pixels
TOLERANCE = 0.0075  # of the diagonal
RADIUS = 0.02  # of the diagonal


class Evaluator:
    """Measures bands, contours and rims of every image."""

    higher_is_better = dict.fromkeys(("boundary_iou", "boundary_f"), True)
    protocol = (
        f"trimap: mIoU of pixels less than {WIDTHS} px from a contour of the truth, void being a "
        f"label; F-score: contours within {100 * TOLERANCE:g} % of the diagonal (Csurka et al. "
        f"2013), Euclidean, the image's border is none; boundary IoU: radius {100 * RADIUS:g} % of "
        "the diagonal (Cheng et al. 2021), chessboard, beyond the image is outside; predictions "
        "are void where labels are; intervals by bootstrap over images, 2000 draws"
    )

    def __init__(self, classes: Classes) -> None:
        self._names, self._void = classes.names, classes.void

    def measure(
        self, prediction: Int[np.ndarray, "h w"], label: Int[np.ndarray, "h w"]
    ) -> Float[np.ndarray, " k"]:
        number = len(self._names)
        void = label == self._void
        truth, found = np.where(void, number, label), np.where(void, number, prediction)
        diagonal = float(np.hypot(*label.shape))
        radius, tolerance = max(1, round(RADIUS * diagonal)), max(1.0, TOLERANCE * diagonal)
        distance = _shapes.distance_to(_shapes.edges(truth))
        bands = [
            _shapes.counts(truth[distance < width], found[distance < width], number)
            for width in WIDTHS
        ]
        truth_rim, found_rim = (np.where(rim(x, radius), x, number) for x in (truth, found))
        f_scores = self._f_scores(truth, found, tolerance)
        parts = (_shapes.counts(truth_rim, found_rim, number), f_scores, *bands)
        return np.concatenate([[radius, tolerance], *(part.ravel() for part in parts)])

    def _f_scores(
        self, truth: Int[np.ndarray, "h w"], found: Int[np.ndarray, "h w"], tolerance: float
    ) -> Float[np.ndarray, "c 2"]:
        """Each class's F-score and 1, or zeros where neither has a contour."""
        scores = np.zeros((len(self._names), 2))
        for index in np.union1d(truth, found):
            if index < len(self._names):
                one, other = (_shapes.contour(x == index, at_border=False) for x in (truth, found))
                score = f_score(one, other, tolerance)
                scores[index] = (0, 0) if score is None else (score, 1)
        return scores

    def compute(self, rows: Float[np.ndarray, "n k"]) -> dict[str, Any]:
        number = len(self._names)
        rows = rows.reshape(len(rows), 2 + number * (5 + 3 * len(WIDTHS)))
        sizes, rims, f_scores, bands = np.split(
            rows, np.cumsum([2, 3 * number, 2 * number]), axis=1
        )
        bands = bands.reshape(len(rows), len(WIDTHS), number, 3)
        rims, f_scores = rims.reshape(-1, number, 3), f_scores.reshape(-1, number, 2)
        iou = metrics.class_iou(rims.sum(0))
        f = metrics.ratio(*np.moveaxis(f_scores.sum(0), -1, 0))
        return {
            "boundary_iou": metrics.mean(iou),
            "boundary_iou_interval": metrics.bootstrap_miou(rims),
            "boundary_iou_by_class": metrics.by_name(iou, self._names),
            "boundary_iou_radius_px": _range(sizes[:, 0]),
            "boundary_f": metrics.mean(f),
            "boundary_f_interval": metrics.bootstrap_means(
                metrics.ratio(*np.moveaxis(f_scores, -1, 0))
            ),
            "boundary_f_by_class": metrics.by_name(f, self._names),
            "boundary_f_tolerance_px": _range(sizes[:, 1]),
            "trimap": [
                {
                    "width_px": width,
                    "miou": metrics.mean(metrics.class_iou(band.sum(0))),
                    "interval": metrics.bootstrap_miou(band),
                    "pixels": int(band[..., 1].sum()),
                }
                for width, band in zip(WIDTHS, np.moveaxis(bands, 1, 0), strict=True)
            ],
        }

    def table(self, scores: dict[str, Any]) -> str:
        width = max(len("class"), *map(len, self._names))
        radius = pixels(scores["boundary_iou_radius_px"])
        tolerance = pixels(scores["boundary_f_tolerance_px"])
        lines = ["mIoU of the pixels near contours of the truth (trimap), all images together"]
        for band in scores["trimap"]:
            miou = f"{percent(band['miou']):>6} %{interval_text(band['interval'])}"
            lines.append(f"  less than {band['width_px']:>2} px  {miou}")
        lines += [
            f"boundary IoU, radius {100 * RADIUS:g} % of the diagonal = {radius} px: "
            f"{percent(scores['boundary_iou'])} %{interval_text(scores['boundary_iou_interval'])}",
            f"boundary F-score, tolerance {100 * TOLERANCE:g} % of the diagonal = {tolerance} px: "
            f"{percent(scores['boundary_f'])} %{interval_text(scores['boundary_f_interval'])}",
            f"{'class':<{width}}  boundary IoU %  boundary F %",
        ]
        for name, iou in scores["boundary_iou_by_class"].items():
            f = percent(scores["boundary_f_by_class"][name])
            lines.append(f"{name:<{width}}  {percent(iou):>14}  {f:>12}")
        return "\n".join(lines)


def rim(labels: Int[np.ndarray, "h w"], radius: int) -> Bool[np.ndarray, "h w"]:
    """The pixels with another label, or the end of the image, within `radius` rows and columns."""
    values = (labels + 1).astype(np.uint8 if labels.max() < 255 else np.float32)
    square = np.ones((2 * radius + 1,) * 2, np.uint8)
    lowest = cv2.erode(values, square, borderType=cv2.BORDER_CONSTANT, borderValue=(0,))
    return lowest != cv2.dilate(values, square)


def f_score(
    truth: Bool[np.ndarray, "h w"], found: Bool[np.ndarray, "h w"], tolerance: float
) -> float | None:
    """Of two contours; None if both are empty."""
    if not (truth.any() or found.any()):
        return None
    precise = np.count_nonzero(_shapes.distance_to(truth)[found] <= tolerance)
    recalled = np.count_nonzero(_shapes.distance_to(found)[truth] <= tolerance)
    if not (precise and recalled):
        return 0.0
    precision, recall = precise / np.count_nonzero(found), recalled / np.count_nonzero(truth)
    return 2 * precision * recall / (precision + recall)


def _range(values: Float[np.ndarray, " n"]) -> list[float] | None:
    return [float(values.min()), float(values.max())] if values.size else None


def pixels(values: list[float] | None) -> str:
    """Such as 12, or 3.4 to 7.5 where images differ."""
    return "-" if values is None else " to ".join(f"{v:.3g}" for v in sorted(set(values)))
