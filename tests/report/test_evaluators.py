"""Sections of what was measured besides mIoU; each is there if its numbers are."""

import numpy as np
import pytest

from jaxseg.data.palettes import voc_palette
from jaxseg.data.source import Classes
from jaxseg.evaluators import boundary, calibration, per_image
from jaxseg.report import evaluators
from jaxseg.report.page import document

CLASSES = Classes(("a", "b", "c"), voc_palette(3))


@pytest.fixture(scope="module")
def scores(scores_of):
    rng = np.random.default_rng(0)
    pairs = []
    for _ in range(6):
        label = np.repeat(np.repeat(rng.integers(0, 3, (4, 5)), 12, 0), 12, 1).astype(np.int32)
        pairs.append((np.roll(label, 2, 1), label))
    pixels = rng.integers(50, 900, (6, 3, calibration.BINS))
    confidence = (np.arange(calibration.BINS) + 0.5) / calibration.BINS
    right = np.round(pixels * confidence**1.6)
    gaps = (right - pixels * confidence).reshape(6, -1)
    rows = np.concatenate([gaps, pixels.sum(2), pixels.sum(1), right.sum(1)], axis=1)
    return {
        "miou": 0.71,
        **scores_of(per_image.Evaluator(CLASSES), pairs),
        **scores_of(boundary.Evaluator(CLASSES), pairs),
        **calibration.Evaluator(CLASSES).compute(rows),
    }


def test_sections_are_those_of_the_numbers(scores, check_html):
    made = evaluators.sections(scores, "val, step 3")
    page = document("page", "", made, "")
    assert {"per-image", "boundaries", "calibration"} <= check_html(page).ids
    for key in ("image_miou", "class_miou_worst", "boundary_iou", "ece", "class_ece"):
        assert f"{100 * scores[key]:.2f}" in page
    for key in ("image_miou_interval", "ece_interval", "class_ece_interval"):
        low, high = scores[key]
        assert f"{100 * low:.2f} to {100 * high:.2f}" in page
    for band in scores["trimap"]:
        assert f"of a contour {band['width_px']}: {100 * band['miou']:.2f} %" in page
    assert "radius 2 % of the diagonal: 2 px" in page
    assert evaluators.sections({"miou": 0.5}, "val") == []


def test_undefined_numbers_have_a_page(scores_of, check_html):
    void = [(np.zeros((3, 3), np.int32), np.full((3, 3), 255, np.int32))]
    empty = {
        "miou": None,
        **scores_of(per_image.Evaluator(CLASSES), void),
        **scores_of(boundary.Evaluator(CLASSES), void),
    }
    check_html(document("page", "", evaluators.sections(empty, "val"), ""))


def test_the_diagrams_open_in_a_browser(scores, browser, tmp_path):
    path = tmp_path / "page.html"
    path.write_text(document("page", "", evaluators.sections(scores, "val, step 3"), ""))
    for width in (1280, 390):
        browser.open(path, width=width)
        assert browser.trouble() == []
        assert browser.value("document.documentElement.scrollWidth") <= width
    marks = "document.querySelectorAll('#reliability .mark').length"
    assert browser.value(marks) == len(scores["reliability"]) + 2
