import re

import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.metrics import (
    bootstrap_lowest,
    bootstrap_miou,
    confusion_matrix,
    lowest,
    scores,
    table,
)

TRUTH = np.repeat(np.arange(4), 4).reshape(1, 4, 4).astype(np.int32)
PREDICTION = np.array([[[1, 0, 0, 0], [1, 3, 0, 1], [2, 2, 2, 3], [3, 1, 0, 0]]], np.int32)
NAMES = ("a", "b", "c", "d")


def confusion(prediction, label, mask=None, classes=4, void=255):
    mask = np.ones(len(label), bool) if mask is None else np.asarray(mask)
    arrays = map(jnp.asarray, (prediction, label, mask))
    return np.asarray(confusion_matrix(*arrays, num_classes=classes, void=void))


def test_worked_by_hand():
    result = scores(confusion(PREDICTION, TRUTH), NAMES)
    want = [3 / 7, 2 / 6, 3 / 4, 1 / 6]
    np.testing.assert_allclose(list(result["iou"].values()), want)
    np.testing.assert_allclose(result["miou"], np.mean(want))
    assert round(result["miou"], 3) == 0.420
    assert result["pixel_accuracy"] == 9 / 16
    np.testing.assert_allclose(result["mean_accuracy"], np.mean([3, 2, 3, 1]) / 4)
    np.testing.assert_allclose(result["frequency_weighted_iou"], np.mean(want))  # equal shares
    np.testing.assert_allclose(result["dice"]["a"], 2 * 3 / (4 + 6))


def test_rows_are_truth_and_columns_prediction():
    matrix = confusion(np.full((1, 2, 2), 1, np.int32), np.full((1, 2, 2), 3, np.int32))
    assert matrix[3, 1] == 4
    assert matrix.sum() == 4


def test_void_pixels_and_masked_examples_never_count():
    label = np.concatenate([TRUTH, TRUTH])
    prediction = np.concatenate([PREDICTION, PREDICTION])
    label[0, 0] = 255
    matrix = confusion(prediction, label, mask=[True, False])
    assert matrix.sum() == 12
    assert matrix[0].sum() == 0


def test_a_void_id_inside_the_class_range_of_a_byte():
    """CamVid's void is 11, one past its last class: it must not land in another row."""
    matrix = confusion(PREDICTION, np.where(TRUTH == 0, 4, TRUTH), void=4)
    assert matrix.sum() == 12


def test_absent_class_is_left_out_and_named():
    matrix = np.diag([5, 0, 3])
    matrix[0, 2] = 1
    result = scores(matrix, ("x", "never", "z"))
    assert result["absent"] == ["never"]
    assert result["iou"]["never"] is None
    np.testing.assert_allclose(result["miou"], (5 / 6 + 3 / 4) / 2)
    assert "never" in table(result).splitlines()[-1]


def test_class_predicted_but_never_true_counts_as_zero():
    result = scores(np.array([[4, 1], [0, 0]]), ("x", "y"))
    assert result["iou"] == {"x": 0.8, "y": 0.0}
    assert result["miou"] == 0.4
    assert result["mean_accuracy"] == 0.8  # recall of y is not defined


def test_without_a_valid_pixel_every_number_is_undefined():
    result = scores(np.zeros((2, 2)), ("x", "y"))
    for key in ("miou", "pixel_accuracy", "mean_accuracy", "mean_dice", "frequency_weighted_iou"):
        assert result[key] is None
    assert re.search(r"mean +- +- +-\n", table(result))


def test_many_pixels_do_not_overflow():
    matrix = np.full((2, 2), 2**40, np.int64)
    assert scores(matrix, ("x", "y"))["miou"] == 1 / 3


def test_images_drawn_again_scatter_as_much_as_test_sets_do():
    rng = np.random.default_rng(0)

    def test_set():
        accuracy = rng.beta(8, 2, 60)
        right = rng.binomial(50, accuracy[:, None].repeat(2, 1))
        return np.array([[[a, 50 - a], [50 - b, b]] for a, b in right])

    def counts(matrices):
        diagonal = np.diagonal(matrices, axis1=1, axis2=2)
        return np.stack([diagonal, matrices.sum(2), matrices.sum(1)], axis=-1)

    def miou(matrices):
        return scores(matrices.sum(0), ["a", "b"])["miou"]

    truth = miou(np.concatenate([test_set() for _ in range(500)]))
    intervals = [bootstrap_miou(counts(test_set()), draws=400) or (1, 0) for _ in range(300)]
    assert 0.9 < np.mean([low <= truth <= high for low, high in intervals]) < 0.98
    one = test_set()[:1]
    assert bootstrap_miou(counts(one)) == pytest.approx((miou(one),) * 2)


def test_a_class_that_few_images_hold_is_left_out_of_the_draws_that_lack_it():
    common, rare = [[8, 8, 8], [0, 0, 0]], [[0, 0, 8], [0, 8, 0]]  # the rare class is missed
    # k rare images of 4 drawn give (4 - k) / 8, none gives 1; k >= 3 in 5 % of the draws
    assert bootstrap_miou(np.array([common] * 3 + [rare])) == (1 / 8, 1.0)
    assert bootstrap_miou(np.array([common] * 3)) == (1.0, 1.0)
    assert bootstrap_miou(np.zeros((3, 2, 3), int)) is None


def test_the_lowest_of_a_draw_are_those_of_its_images_one_by_one():
    rng = np.random.default_rng(0)
    values = np.sort(rng.random(30))
    counts = rng.multinomial(30, [1 / 30] * 30, size=50)
    counts[0] = 0
    for share in (0.01, 0.1, 0.5, 1.0):
        found = lowest(values, counts, share)
        assert np.isnan(found[0])
        for row, value in zip(counts[1:], found[1:], strict=True):
            drawn = np.repeat(values, row)
            assert value == pytest.approx(drawn[: max(1, int(share * 30))].mean())


def test_the_interval_of_the_lowest_holds_the_lowest_of_the_population():
    """Two classes of 100 images each, half of the images; 95 % up to the bias of a minimum."""
    rng = np.random.default_rng(0)

    def images():
        values = rng.random((200, 2))
        values[:100, 0] = values[100:, 1] = np.nan
        return values

    intervals = [bootstrap_lowest(images(), 0.2) or (1, 0) for _ in range(40)]
    assert np.mean([low <= 0.1 <= high for low, high in intervals]) > 0.85
    assert bootstrap_lowest(np.full((3, 2), np.nan), 0.2) is None
    assert bootstrap_lowest(np.full((3, 2), 0.5), 0.2) == (0.5, 0.5)
