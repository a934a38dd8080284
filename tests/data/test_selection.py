import numpy as np
import pytest

from jaxseg.data.palettes import voc_palette
from jaxseg.data.pipeline import Skipped
from jaxseg.data.selection import LEAST, choose, select
from jaxseg.data.source import Classes


def random_shares(seed, images=60, classes=9):
    """Classes of which the last are rare, each in some image."""
    rng = np.random.default_rng(seed)
    shares = rng.random((images, classes)) * 0.4 ** np.arange(classes)
    shares *= rng.random((images, classes)) < np.linspace(0.9, 0.05, classes)
    shares[rng.integers(0, images, classes), np.arange(classes)] += 0.01
    return shares / shares.sum(1, keepdims=True).clip(1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_every_class_is_shown_and_the_rarest_come_first(seed):
    shares = random_shares(seed)
    chosen = choose(shares, None)
    rows = [row for row, _ in chosen]
    assert shares[rows].any(0).all()
    assert len(set(rows)) == len(rows) >= LEAST
    rarest = int(shares.sum(0).argmin())
    assert chosen[0] == (int(shares[:, rarest].argmax()), rarest)
    # each was chosen where it is largest among those that were left
    for i, (row, reason) in enumerate(chosen):
        left = np.delete(shares[:, reason], rows[:i])
        assert shares[row, reason] == left.max()
    fewer = choose(shares, 2)
    assert fewer == chosen[:2]
    more = choose(shares, 40)
    assert more[: len(chosen)] == chosen[: len(more)]
    assert len(more) == 40


def test_classes_take_turns_once_all_are_shown():
    shares = np.tile([0.5, 0.2, 0.3], (7, 1))
    assert [reason for _, reason in choose(shares, 7)] == [1, 2, 0, 1, 2, 0, 1]


def test_there_are_no_more_than_there_are_images():
    shares = np.array([[0.5, 0.0], [0.0, 0.0], [1.0, 0.0]])
    assert choose(shares, None) == [(2, 0), (0, 0), (1, None)]
    assert choose(shares, 1) == [(2, 0)]
    assert choose(shares[:0], None) == []


def test_of_a_source(array_source):
    class Sparse(array_source):
        """Class 1 in example 3 alone, class 2 in 3 and 7; 5 can't be read."""

        classes = Classes(("background", "a", "b", "c"), ((0, 0, 0), *voc_palette(4)[1:]))

        def __getitem__(self, index):
            if index == 5:
                raise ValueError("damaged")
            label = np.zeros((4, 4), np.int32)
            if index == 3:
                label[:2, 0], label[2, 0] = 1, 2
            if index == 7:
                label[:3] = 2
            image = np.zeros((4, 4, 3), np.uint8)
            return {"image": image, "label": label, "name": str(index)}

        def __init__(self):
            self.sizes = [(4, 4)] * 9

    found = select(Sparse(), 1, Skipped(print))
    assert (found.indices, found.reasons, found.read) == ((3,), (1,), 8)
    assert (found.absent, found.missing) == ((3,), ())
    said = found.about(Sparse.classes.names, 9)
    assert said.splitlines()[1:] == ["in none of the 8 that were looked at: c"]
    found = select(Sparse(), None, Skipped(print))
    assert found.indices[:2] == (3, 7)
    assert found.reasons == (1, 2, None, None, None, None)  # of background alone
