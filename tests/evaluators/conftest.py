"""Splits of noisy label maps, and what an evaluator makes of them by its three ways in."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.evaluators import OnHost, PerImage, Summed


@pytest.fixture(scope="session")
def blobs():
    """Label maps of smooth regions: `blobs(rng, size, classes, void share)`."""

    def draw(rng, size, classes, void=0.0):
        import cv2

        planes = [
            cv2.GaussianBlur(rng.normal(size=size).astype(np.float32), (0, 0), 3)
            for _ in range(classes)
        ]
        labels = np.argmax(planes, 0).astype(np.int32)
        labels[rng.random(size) < void] = 255
        return labels

    return draw


@pytest.fixture(scope="session")
def scores_of():
    """The scores of an evaluator on (prediction, label) pairs, each of any size."""

    def score(evaluator, pairs):
        if isinstance(evaluator, OnHost):
            rows = [np.float64(evaluator.measure(*pair)) for pair in pairs]
            return evaluator.compute(np.array(rows) if rows else np.zeros((0, 0)))
        found = []
        for prediction, label in pairs:
            batch = {"label": jnp.asarray(label[None]), "mask": jnp.ones(1, bool)}
            found.append((jnp.asarray(prediction[None]), batch))
        if isinstance(evaluator, PerImage):
            rows = [np.float64(evaluator.rows(*each))[0] for each in found]
            return evaluator.compute(np.array(rows) if rows else np.zeros((0, 0)))
        assert isinstance(evaluator, Summed)
        total = evaluator.init()
        for each in found:
            total = total + np.asarray(evaluator.update(*each))
        return evaluator.compute(total)

    return score
