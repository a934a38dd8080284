import numpy as np
import pytest

from jaxseg.hatching import hatched


@pytest.mark.parametrize("ground", [0, 128, 255])
def test_hatching_shows_on_dark_and_bright_ground_and_nowhere_else(ground):
    picture = np.full((40, 60, 3), ground, np.uint8)
    where = np.zeros((40, 60), bool)
    where[10:30, 20:50] = True
    found = hatched(picture, where)
    assert (found[~where] == ground).all()
    changed = (found != ground).any(-1)
    for y in range(10, 18):
        for x in range(20, 38):  # wherever one looks
            window = changed[y : y + 12, x : x + 12]
            assert 0.15 < window.mean() < 0.7
    assert (picture == ground).all()
