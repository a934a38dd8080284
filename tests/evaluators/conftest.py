"""Noisy label maps."""

import numpy as np
import pytest


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
