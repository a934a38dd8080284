"""The EM challenge's scores against scikit-image and by their formulas."""

import numpy as np
import pytest
from skimage import measure
from skimage.metrics import adapted_rand_error, variation_of_information

from jaxseg.data.source import Classes
from jaxseg.errors import UserError
from jaxseg.evaluators import membranes

CLASSES = Classes(("membrane", "cell"), ((0, 0, 0), (255, 255, 255)))


def drawn(seed, blobs):
    """Cells between membranes, and a prediction that splits some and merges others."""
    rng = np.random.default_rng(seed)
    regions = blobs(rng, (40, 50), 6)
    label = np.ones((40, 50), np.int32)
    label[:, 1:][regions[:, 1:] != regions[:, :-1]] = 0
    label[1:][regions[1:] != regions[:-1]] = 0
    guess = np.where(rng.random(label.shape) < 0.05, 1 - label, label).astype(np.int32)
    guess[20] = 0
    return guess, label


@pytest.mark.parametrize("seed", range(3))
def test_scores_of_cells_are_those_of_scikit_image(seed, blobs, scores_of):
    """Which leaves out label 0 of the truth, the membranes, by default."""
    guess, label = drawn(seed, blobs)
    scores = scores_of(membranes.Evaluator(CLASSES), [(guess, label)])
    truth, found = (np.asarray(measure.label(x, connectivity=1)) for x in (label, guess))
    found = membranes.thinned(found.astype(np.int32))
    error, *parts = adapted_rand_error(truth, found)
    assert scores["membrane_rand_f"] == pytest.approx(1 - error)
    # it calls the two precision and recall, and some versions have swapped them
    ours = [scores["membrane_rand_split"], scores["membrane_rand_merge"]]
    assert sorted(ours) == pytest.approx(sorted(parts))
    # H(truth | found) and H(found | truth): what merges and what splits add
    added = sum(variation_of_information(truth, found, ignore_labels=(0,)))
    alone = [np.unique(x[truth > 0], return_counts=True)[1] for x in (truth, found)]
    in_truth, in_found = (-np.sum(n / n.sum() * np.log2(n / n.sum())) for n in alone)
    mutual = (in_truth + in_found - added) / 2
    assert scores["membrane_info_f"] == pytest.approx(2 * mutual / (in_truth + in_found))


def test_splits_and_merges_have_scores_of_their_own():
    truth = np.repeat([1, 2], 8)
    split, merged = np.repeat([1, 2, 3], [4, 4, 8]), np.ones(16, int)
    names = membranes.SCORES
    of = {
        name: dict(zip(names, membranes.compare(truth, found), strict=True))
        for name, found in (("split", split), ("merged", merged))
    }
    pairs = {"truth": 2 * 56, "split": 2 * 12 + 56, "merged": 240}
    assert of["split"]["rand_split"] == pytest.approx(pairs["split"] / pairs["truth"])
    assert of["split"]["rand_merge"] == 1
    assert of["merged"]["rand_split"] == 1
    assert of["merged"]["rand_merge"] == pytest.approx(pairs["truth"] / pairs["merged"])
    assert of["split"]["info_merge"] == pytest.approx(1)
    assert of["split"]["info_split"] == pytest.approx(1 / 1.5)  # bits
    assert of["merged"]["info_merge"] == pytest.approx(0)
    assert of["merged"]["info_f"] == pytest.approx(0)


def test_the_width_of_membranes_does_not_count(scores_of):
    label = np.ones((30, 30), np.int32)
    label[:, 15] = 0
    wide = label.copy()
    wide[:, 12:19] = 0
    evaluator = membranes.Evaluator(CLASSES)
    scores = scores_of(evaluator, [(wide, label)])
    assert scores["membrane_rand_f"] == scores["membrane_info_f"] == 1.0
    assert scores["membrane_pixel_error"] == pytest.approx(6 / 30)
    assert scores["membrane_pixel_f"] == pytest.approx(2 * 30 / (30 + 210))
    assert "Rand" in evaluator.table(scores)


def test_membranes_alone_cells_alone_and_void(scores_of):
    evaluator = membranes.Evaluator(CLASSES)
    all_cell, all_membrane = np.ones((6, 7), np.int32), np.zeros((6, 7), np.int32)
    assert scores_of(evaluator, [(all_membrane, all_cell)])["membrane_rand_f"] == 1.0
    scores = scores_of(evaluator, [(all_cell, all_membrane)])
    assert scores["membrane_rand_f"] is None
    assert scores["membrane_pixel_error"] == 1.0
    void = np.full((6, 7), 255, np.int32)
    assert set(scores_of(evaluator, [(all_cell, void)]).values()) == {None}
    half = np.where(np.arange(7) < 3, 255, all_cell).astype(np.int32)
    wrong = np.where(np.arange(7) < 3, 0, all_cell).astype(np.int32)
    assert scores_of(evaluator, [(wrong, half)])["membrane_pixel_error"] == 0


def test_other_classes_are_refused():
    with pytest.raises(UserError, match="expected 'membrane' and one other"):
        membranes.Evaluator(Classes(("cell", "rim"), CLASSES.palette))
