"""Calibration errors against loops over pixels, and of probabilities whose error is known."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.data.palettes import voc_palette
from jaxseg.data.source import Classes
from jaxseg.evaluators import calibration

CLASSES = Classes(("a", "b", "c"), voc_palette(3))


def measure(scores, label, mask=None):
    evaluator = calibration.Evaluator(CLASSES)
    batch = {
        "scores": jnp.asarray(scores, jnp.float32),
        "label": jnp.asarray(label, jnp.int32),
        "mask": jnp.ones(len(label), bool) if mask is None else jnp.asarray(mask),
    }
    prediction = jnp.asarray(np.argmax(scores, -1), jnp.int32)
    sums = np.asarray(evaluator.update(prediction, batch))
    return evaluator.compute(evaluator.init() + sums), sums


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
    found, sums = measure(scores, label)
    assert found["ece"] == pytest.approx(loop(scores, label), abs=1e-5)
    classes = [loop(scores, label, of) for of in range(3)]
    assert list(found["ece_by_class"].values()) == pytest.approx(classes, abs=1e-5)
    assert found["class_ece"] == pytest.approx(np.mean(classes), abs=1e-5)
    assert found["mean_confidence"] == pytest.approx(scores.max(-1)[label != 255].mean(), abs=1e-5)
    assert sum(each["pixels"] for each in found["reliability"]) == (label != 255).sum()
    for each in found["reliability"]:
        assert each["above"] <= each["confidence"] <= each["above"] + 1 / 15 + 1e-5
    # sums of parts, and of masked examples
    parts = [measure(scores[i : i + 1], label[i : i + 1])[1] for i in range(2)]
    np.testing.assert_array_equal(sums, parts[0] + parts[1])
    np.testing.assert_array_equal(measure(scores, label, [True, False])[1], parts[0])


def test_the_error_over_pixels_follows_the_majority():
    """A class of 1 % of the pixels whose confidence is off by 0.6."""
    scores = np.zeros((1, 10, 100, 3))
    scores[..., 0] = 1.0
    label = np.zeros((1, 10, 100), int)
    scores[0, 0, :10] = (0.1, 0.9, 0)
    label[0, 0, 3:10] = 0
    label[0, 0, :3] = 1
    found, _ = measure(scores, label)
    assert found["ece_by_class"] == pytest.approx({"a": 0, "b": 0.6, "c": None}, abs=1e-4)
    assert found["ece"] == pytest.approx(0.006, abs=1e-5)
    assert found["class_ece"] == pytest.approx(0.3, abs=1e-4)


def test_void_alone_gives_none():
    found, _ = measure(np.full((1, 2, 2, 3), 1 / 3), np.full((1, 2, 2), 255))
    assert found["ece"] is found["class_ece"] is found["mean_confidence"] is None
    assert found["reliability"] == []
    assert "-" in calibration.Evaluator(CLASSES).table(found)
