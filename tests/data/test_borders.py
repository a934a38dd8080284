import numpy as np
import pytest
from ml_collections import ConfigDict

from jaxseg.data import borders
from jaxseg.data.source import Classes
from jaxseg.errors import UserError

CLASSES = Classes(("ground", "cell", "other"), ((0, 0, 0), (9, 9, 9), (5, 5, 5)))


def cells_by_flood(label, objects):
    """The pixels of each 4-connected component, found one neighbour at a time."""
    left = {tuple(p) for p in np.argwhere(np.isin(label, objects))}
    while left:
        component, front = set(), [left.pop()]
        while front:
            y, x = front.pop()
            component.add((y, x))
            for near in ((y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)):
                if near in left and label[near] == label[y, x]:
                    left.remove(near)
                    front.append(near)
        yield np.array(sorted(component))


def by_definition(label, objects, weight, sigma):
    """Equation 2, every pixel against every pixel of every cell."""
    cells = list(cells_by_flood(label, objects))
    term = np.zeros(label.shape)
    for y, x in np.argwhere(~np.isin(label, objects)):
        distances = sorted(np.hypot(*(cell - (y, x)).T).min() for cell in cells)
        if len(distances) > 1:
            term[y, x] = weight * np.exp(-((distances[0] + distances[1]) ** 2) / (2 * sigma**2))
    return term


@pytest.mark.parametrize("sigma", [1.5, 5.0])
@pytest.mark.parametrize("objects", [(1,), (1, 2)])
@pytest.mark.parametrize("seed", range(3))
def test_equals_the_definition(seed, objects, sigma):
    """Sigma 1.5 reaches 9 pixels of the 34: cells beyond the reach, and at the crop's edges."""
    rng = np.random.default_rng(seed)
    label = np.where(rng.random((34, 29)) < 0.02, 255, 0).astype(np.int32)
    for _ in range(16):
        y, x, h, w = *rng.integers(0, 30, 2), *rng.integers(1, 7, 2)
        label[y : y + h, x : x + w] = rng.integers(1, 3)
    got = borders.border_term(label, objects=objects, weight=10.0, sigma=sigma)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, by_definition(label, objects, 10.0, sigma), atol=3e-6)
    assert got.max() > 1


def test_a_gap_by_hand():
    """Two cells, three pixels of gap: distances 1 + 3, 2 + 2, 3 + 1, all of sum 4."""
    label = np.ones((5, 13), np.int32)
    label[:, 5:8] = 0
    term = borders.border_term(label, objects=(1,), weight=10.0, sigma=5.0)
    np.testing.assert_allclose(term[:, 5:8], 10 * np.exp(-16 / 50), rtol=1e-6)
    assert (np.delete(term, [5, 6, 7], axis=1) == 0).all()


def test_a_diagonal_gap_of_one_pixel_separates():
    label = (1 - np.eye(12)).astype(np.int32)
    term = borders.border_term(label, objects=(1,), weight=10.0, sigma=5.0)
    np.testing.assert_allclose(np.diag(term), 10 * np.exp(-4 / 50), rtol=1e-6)


@pytest.mark.parametrize("cells", [0, 1])
def test_fewer_than_two_cells_weigh_nothing(cells):
    label = np.zeros((20, 20), np.int32)
    label[5:9, 5 : 5 + cells] = 1
    assert (borders.border_term(label, objects=(1,), weight=10.0, sigma=5.0) == 0).all()


def loss_config(**changes):
    values = {"border_weight": 10.0, "border_sigma": 5.0, "border_classes": ()}
    return ConfigDict({**values, **changes})


def test_the_config_chooses_the_classes():
    label = np.zeros((6, 14), np.int32)
    label[:, :4], label[:, 6:8], label[:, 10:] = 1, 2, 1
    every = borders.weigher(loss_config(), CLASSES)
    ones = borders.weigher(loss_config(border_classes=(1,)), CLASSES)
    assert every is not None
    assert ones is not None
    np.testing.assert_allclose(every(label)[:, 4], 10 * np.exp(-9 / 50), rtol=1e-6)
    np.testing.assert_allclose(ones(label)[:, 4], 10 * np.exp(-49 / 50), rtol=1e-6)
    assert borders.weigher(loss_config(border_weight=0.0), CLASSES) is None


def test_a_class_that_the_data_set_lacks_is_refused():
    with pytest.raises(UserError, match=r"names class 3: expected classes of 0\.\.2"):
        borders.weigher(loss_config(border_classes=(1, 3)), CLASSES)
