"""Calibration errors against loops over pixels, and of probabilities whose error is known."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.data.palettes import voc_palette
from jaxseg.data.source import Classes
from jaxseg.evaluators import calibration

CLASSES = Classes(("a", "b", "c"), voc_palette(3))


def measure(scores, label):
    evaluator = calibration.Evaluator(CLASSES)
    batch = {
        "confidence": jnp.asarray(np.max(scores, -1), jnp.float32),
        "label": jnp.asarray(label, jnp.int32),
        "mask": jnp.ones(len(label), bool),
    }
    prediction = jnp.asarray(np.argmax(scores, -1), jnp.int32)
    rows = np.asarray(evaluator.rows(prediction, batch), np.float64)
    return evaluator.compute(rows), rows


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def loop(scores, label, of=None):
    """ECE of the pixels predicted to be of class `of`, or of all."""
    bins = [[] for _ in range(15)]
    for p, truth in zip(scores.reshape(-1, 3), label.ravel(), strict=True):
        if truth == 255 or (of is not None and p.argmax() != of):
            continue
        bins[min(max(int(np.ceil(p.max() * 15)) - 1, 0), 14)].append((p.max(), p.argmax() == truth))
    total = sum(map(len, bins))
    gaps = [abs(np.sum([sure - right for sure, right in found])) for found in bins if found]
    return sum(gaps) / total


def test_errors_are_those_of_loops_over_pixels():
    rng = np.random.default_rng(0)
    scores = softmax(2 * rng.normal(size=(2, 20, 25, 3)) + (1, 0, -1)).astype(np.float32)
    label = rng.choice([0, 1, 2, 255], (2, 20, 25), p=[0.5, 0.2, 0.1, 0.2])
    found, rows = measure(scores, label)
    assert found["ece"] == pytest.approx(loop(scores, label), abs=1e-5)
    classes = [loop(scores, label, of) for of in range(3)]
    assert list(found["ece_by_class"].values()) == pytest.approx(classes, abs=1e-5)
    assert found["class_ece"] == pytest.approx(np.mean(classes), abs=1e-5)
    assert found["mean_confidence"] == pytest.approx(scores.max(-1)[label != 255].mean(), abs=1e-5)
    assert sum(each["pixels"] for each in found["reliability"]) == (label != 255).sum()
    for each in found["reliability"]:
        assert each["above"] <= each["confidence"] <= each["above"] + 1 / 15 + 1e-5
    # an image's numbers do not depend on the others
    for i in range(2):
        np.testing.assert_array_equal(
            rows[i : i + 1], measure(scores[i : i + 1], label[i : i + 1])[1]
        )
    for key in ("ece", "class_ece"):
        low, high = found[f"{key}_interval"]
        assert low <= found[key] <= high


def test_intervals_are_those_of_the_images():
    """At confidence 0.7, half of them are right by chance and half always: 0.2 and 0.3 off."""
    rng = np.random.default_rng(0)
    scores = np.broadcast_to(np.array([0.7, 0.2, 0.1], np.float32), (40, 20, 20, 3))
    label = np.zeros((40, 20, 20), int)
    label[:20] = rng.random((20, 20, 20)) < 0.5
    found, _ = measure(scores, label)
    assert found["ece"] == pytest.approx(0.05, abs=0.01)
    low, high = found["ece_interval"]
    # the share of right pixels has a standard error of 0.25 / sqrt(40) = 0.04; errors are above 0
    assert low < 0.02
    assert high == pytest.approx(0.05 + 2 * 0.04, abs=0.02)
    alike, _ = measure(scores[20:], label[20:])
    assert alike["ece_interval"] == pytest.approx((0.3, 0.3), abs=1e-4)


def test_large_images_and_full_confidence_lose_nothing():
    """Four million pixels in one bin; and probabilities of 1."""
    large = np.broadcast_to(np.array([0.9, 0.1, 0.0], np.float32), (1, 2000, 2000, 3))
    found, _ = measure(large, np.zeros((1, 2000, 2000)))
    assert found["ece"] == pytest.approx(0.1, abs=1e-5)
    certain = np.broadcast_to(np.array([1, 0, 0], np.float32), (1, 30, 30, 3))
    found, _ = measure(certain, np.zeros((1, 30, 30)))
    assert found["ece"] == 0
    assert found["mean_confidence"] == 1


def test_void_alone_gives_none():
    found, _ = measure(np.full((1, 2, 2, 3), 1 / 3), np.full((1, 2, 2), 255))
    assert found["ece"] is found["class_ece"] is found["mean_confidence"] is None
    assert found["ece_interval"] is found["class_ece_interval"] is None
    assert found["reliability"] == []
    assert "-" in calibration.Evaluator(CLASSES).table(found)
    assert calibration.Evaluator(CLASSES).compute(np.zeros((0, 0)))["ece"] is None
