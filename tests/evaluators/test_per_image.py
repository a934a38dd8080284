"""Per-image mIoU against loops over images and classes."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import metrics
from jaxseg.data.palettes import voc_palette
from jaxseg.data.source import Classes
from jaxseg.evaluators import miou, per_image

CLASSES = Classes(("a", "b", "c", "never"), voc_palette(4))


def by_hand(pairs):
    """{(image, class): IoU} of the classes in the image's truth."""
    found = {}
    for i, (prediction, label) in enumerate(pairs):
        for c in range(4):
            truth, guess = label == c, (prediction == c) & (label != 255)
            if truth.any():
                found[i, c] = (truth & guess).sum() / (truth | guess).sum()
    return found


def test_means_and_worst_are_those_of_loops(blobs, scores_of):
    rng = np.random.default_rng(0)
    pairs = [(blobs(rng, (9, 14), 3), blobs(rng, (9, 14), 3, 0.2)) for _ in range(45)]
    pairs[3][1][:] = 255  # an image of void alone
    pairs[4][1][pairs[4][1] == 2] = 0  # a class that is predicted, but not there
    scores = scores_of(per_image.Evaluator(CLASSES), pairs)
    iou = by_hand(pairs)
    images = sorted(
        np.mean([v for (j, _), v in iou.items() if j == i]) for i in {i for i, _ in iou}
    )
    classes = [sorted(v for (_, d), v in iou.items() if d == c) for c in range(3)]
    assert len(images) == 44
    assert scores["image_miou"] == pytest.approx(np.mean(images))
    assert scores["image_miou_worst"] == pytest.approx(np.mean(images[:2]))
    assert scores["class_miou"] == pytest.approx(np.mean([np.mean(x) for x in classes]))
    assert scores["class_miou_worst"] == pytest.approx(
        np.mean([np.mean(x[: max(1, len(x) // 20)]) for x in classes])
    )
    assert scores["image_iou"] == pytest.approx(
        {
            "a": np.mean(classes[0]),
            "b": np.mean(classes[1]),
            "c": np.mean(classes[2]),
            "never": None,
        }
    )
    assert scores["images_with"] == {
        **{n: len(x) for n, x in zip("abc", classes, strict=True)},
        "never": 0,
    }
    assert scores["image_miou_quantiles"]["0.5"] == pytest.approx(np.median(images))
    # another number than the split's, which lies in its own interval
    split = scores_of(miou.Evaluator(CLASSES), pairs)["miou"]
    assert abs(split - scores["image_miou"]) > 0.001
    for key in ("miou", "image_miou", "image_miou_worst", "class_miou", "class_miou_worst"):
        low, high = scores[f"{key}_interval"]
        assert low <= {**scores, "miou": split}[key] <= high, key


def test_intervals_are_narrow_where_images_agree(scores_of):
    label = np.repeat([[0, 1]], 4, 0).astype(np.int32)
    guess = np.zeros_like(label)
    scores = scores_of(per_image.Evaluator(CLASSES), [(guess, label)] * 5)
    assert scores["image_miou_interval"] == pytest.approx((0.25, 0.25))
    assert scores["class_miou"] == 0.25


@pytest.mark.parametrize("count", [0, 3])
def test_without_a_counted_pixel_nothing_is_known(scores_of, count):
    void = np.full((4, 5), 255, np.int32)
    evaluator = per_image.Evaluator(CLASSES)
    scores = scores_of(evaluator, [(np.zeros_like(void), void)] * count)
    for key, value in scores.items():
        if key.endswith(("miou", "worst", "interval")) and key != "image_iou_worst":
            assert value is None, key
    assert "mIoU^I" in evaluator.table({"miou": None, **scores})


def test_many_classes_and_one_pixel(scores_of):
    names = tuple(map(str, range(255)))
    evaluator = per_image.Evaluator(Classes(names, voc_palette(255)))
    label = np.full((1, 1), 254, np.int32)
    scores = scores_of(evaluator, [(label, label)])
    assert scores["image_miou"] == scores["class_miou"] == 1.0


def test_rows_of_a_batch_are_those_of_its_images(blobs):
    rng = np.random.default_rng(1)
    label = np.stack([blobs(rng, (8, 8), 4, 0.1) for _ in range(3)])
    guess = np.stack([blobs(rng, (8, 8), 4) for _ in range(3)])
    rows = per_image.Evaluator(CLASSES).rows(jnp.asarray(guess), {"label": jnp.asarray(label)})
    both, truth, predicted = np.moveaxis(np.asarray(rows).reshape(3, 4, 3), -1, 0)
    mask = jnp.ones(1, bool)
    for i in range(3):
        matrix = metrics.confusion_matrix(
            jnp.asarray(guess[i : i + 1]),
            jnp.asarray(label[i : i + 1]),
            mask,
            num_classes=4,
            void=255,
        )
        np.testing.assert_array_equal(both[i], np.diag(matrix))
        np.testing.assert_array_equal(truth[i], matrix.sum(1))
        np.testing.assert_array_equal(predicted[i], matrix.sum(0))
