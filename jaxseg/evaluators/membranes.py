"""The scores of the ISBI 2012 challenge on electron micrographs: of pixels, and of cells.

Arganda-Carreras et al. 2015, "Crowdsourcing the creation of image segmentation algorithms for
connectomics", Frontiers in Neuroanatomy, sections 2.3 (pixel error) and 2.4 (Rand and information
scores, alpha = 1/2). One of the two classes is "membrane".

Cells are the connected components (four neighbours) of what is not membrane, in each image by
itself. Cells of truth and prediction are compared over the pixels inside the truth's cells alone
("foreground-restricted"), with p_ij the share of pixels in cell i of the prediction and j of the
truth:

- Rand F-score: 2 sum p_ij^2 / (sum s_i^2 + sum t_j^2), of pairs of different pixels; "split" is
  the share of the truth's pairs that stay together, "merge" of the prediction's that belong there.
- Information F-score: 2 I(S; T) / (H(S) + H(T)); "split" is I / H(S), "merge" I / H(T).

Membranes of the prediction are thinned away first: each of their pixels goes to the nearest cell
(by OpenCV's distances, Euclidean within 2 %), so that their width does not count. The challenge's
"thinned" scores leave a line of one pixel there. Where a whole prediction is membrane, it is one
cell. Void never counts. Each score is the mean over images.

Kept of each image: k = 10.
"""

from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int

from jaxseg import metrics
from jaxseg.data.source import Classes
from jaxseg.errors import UserError
from jaxseg.metrics import interval_text, percent

SCORES = ("rand_f", "rand_split", "rand_merge", "info_f", "info_split", "info_merge")


class Evaluator:
    """Compares membranes pixel by pixel, and the cells between them."""

    higher_is_better = dict.fromkeys(
        ("membrane_rand_f", "membrane_info_f", "membrane_pixel_f"), True
    ) | dict.fromkeys(("membrane_pixel_error",), False)
    protocol = (
        "ISBI 2012 (Arganda-Carreras et al. 2015): foreground-restricted Rand and information "
        "F-scores, alpha 1/2, after thinning the prediction's membranes to nothing; cells are "
        "components of four neighbours in each image; pixel error is the share of wrong pixels; "
        "means over images; intervals by bootstrap over images, 2000 draws"
    )

    def __init__(self, classes: Classes) -> None:
        if len(classes) != 2 or "membrane" not in classes.names:
            raise UserError(
                f"config.evals names 'membranes', but the classes are {list(classes.names)}: "
                "expected 'membrane' and one other"
            )
        self._membrane, self._void = classes.names.index("membrane"), classes.void

    def measure(
        self, prediction: Int[np.ndarray, "h w"], label: Int[np.ndarray, "h w"]
    ) -> Float[np.ndarray, " k"]:
        """Wrong, counted; the membrane's F-score; whether cells were compared, and their scores."""
        valid = label != self._void
        is_membrane = [x == self._membrane for x in (label, prediction)]
        wrong = valid & (is_membrane[0] != is_membrane[1])
        both = np.count_nonzero(valid & is_membrane[0] & is_membrane[1])
        all_membranes = sum(np.count_nonzero(valid & x) for x in is_membrane)
        pixel_f = 2 * both / all_membranes if all_membranes else 1.0
        truth, found = cells(valid & ~is_membrane[0]), thinned(cells(~is_membrane[1]))
        inside = truth > 0
        scores = compare(truth[inside], found[inside]) if inside.any() else np.zeros(len(SCORES))
        return np.array([wrong.sum(), valid.sum(), pixel_f, inside.any(), *scores])

    def compute(self, rows: Float[np.ndarray, "n k"]) -> dict[str, Any]:
        rows = rows.reshape(len(rows), 4 + len(SCORES))
        seen = rows[:, 1] > 0
        columns = {
            "pixel_error": (rows[:, 0], rows[:, 1]),
            "pixel_f": (rows[:, 2] * seen, seen),
            **{name: (rows[:, 4 + i], rows[:, 3]) for i, name in enumerate(SCORES)},
        }
        scores: dict[str, Any] = {}
        for name, (total, count) in columns.items():
            kept = np.stack([total, count], axis=1).astype(float)
            value = metrics.ratio(*kept.sum(0)[:, None])[0]
            scores[f"membrane_{name}"] = None if np.isnan(value) else float(value)
            scores[f"membrane_{name}_interval"] = metrics.bootstrap(
                kept, lambda totals: metrics.ratio(totals[:, 0], totals[:, 1])
            )
        return scores

    def table(self, scores: dict[str, Any]) -> str:
        names = {
            "rand_f": "Rand F-score of cells",
            "rand_split": "  pairs kept together (split)",
            "rand_merge": "  pairs rightly together (merge)",
            "info_f": "information F-score of cells",
            "info_split": "  split",
            "info_merge": "  merge",
            "pixel_f": "F-score of membrane pixels",
            "pixel_error": "pixel error",
        }
        lines = []
        for key, name in names.items():
            value = percent(scores[f"membrane_{key}"])
            interval = interval_text(scores[f"membrane_{key}_interval"])
            lines.append(f"{name:<32}{value:>6} %{interval}")
        return "\n".join(lines)


def cells(inside: Bool[np.ndarray, "h w"]) -> Int[np.ndarray, "h w"]:
    """Components of four neighbours, from 1 on; 0 where nothing is inside."""
    return cv2.connectedComponents(inside.astype(np.uint8), connectivity=4)[1]


def thinned(labels: Int[np.ndarray, "h w"]) -> Int[np.ndarray, "h w"]:
    """Cells grown until they touch: each pixel that is in none goes to the nearest."""
    if not labels.any():
        return labels
    outside = (labels == 0).astype(np.uint8)
    _, nearest = cv2.distanceTransformWithLabels(
        outside, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    cell_at = np.zeros(nearest.max() + 1, np.int32)
    cell_at[nearest[labels > 0]] = labels[labels > 0]
    return cell_at[nearest]


def compare(truth: Int[np.ndarray, " n"], found: Int[np.ndarray, " n"]) -> Float[np.ndarray, "6"]:
    """`SCORES` of the cells that the same pixels belong to."""
    size = len(truth)
    _, pairs = np.unique(truth.astype(np.int64) << 32 | found, return_counts=True)
    by_truth, by_found = (np.unique(x, return_counts=True)[1] for x in (truth, found))
    together, in_truth, in_found = (np.sum(n * (n - 1.0)) for n in (pairs, by_truth, by_found))
    rand = _shares(together, in_truth, in_found)
    joint, in_truth, in_found = (_entropy(n / size) for n in (pairs, by_truth, by_found))
    mutual = max(0.0, in_truth + in_found - joint)
    # what splits add is in the prediction's entropy, what merges lose in the truth's
    f, merge, split = _shares(mutual, in_truth, in_found)
    return np.array([*rand, f, split, merge])


def _shares(common: float, in_truth: float, in_found: float) -> tuple[float, float, float]:
    """The F-score, and what is common of the truth's and of the prediction's; 1 of nothing."""
    total = in_truth + in_found
    return (
        2 * common / total if total > 0 else 1.0,
        common / in_truth if in_truth > 0 else 1.0,
        common / in_found if in_found > 0 else 1.0,
    )


def _entropy(shares: Float[np.ndarray, " n"]) -> float:
    return float(-(shares * np.log(shares)).sum())
