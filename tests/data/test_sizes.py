"""What is far from the sizes of training, and how images are resized to one."""

import json

import numpy as np
import pytest

from jaxseg.data.sizes import Sizes, fitted, with_longer_side
from jaxseg.data.source import Classes, Example
from jaxseg.errors import UserError

CLASSES = Classes(("a",), ((0, 0, 0),))


class Headers:
    """A source of which only headers can be read, and not all of these."""

    classes = CLASSES

    def __init__(self, sizes):
        self._sizes, self.asked = sizes, 0

    def __len__(self):
        return len(self._sizes)

    def __getitem__(self, index: int, /) -> Example:
        raise AssertionError("the pixels are not needed")

    def size(self, index: int, /) -> tuple[int, int]:
        self.asked += 1
        if self._sizes[index] is None:
            raise UserError("damaged")
        return self._sizes[index]


def test_sizes_of_a_source():
    source = Headers([(30, 40), None, (50, 20), (10, 90)])
    found = Sizes.from_source(source, (0.5, 2.0))
    assert found is not None
    assert found == Sizes((10, 50), (20, 90), (40, 50, 90), (0.5, 2.0))
    assert Sizes.from_dict(json.loads(json.dumps(found.to_dict()))) == found


def test_no_more_than_some_hundred_headers_are_read():
    source = Headers([(10 + i // 1000, 10) for i in range(5000)])
    found = Sizes.from_source(source, (1.0, 1.0))
    assert source.asked <= 200
    assert found is not None
    assert found.height == (10, 14)  # spread over all of them


def test_a_source_that_can_not_be_read_has_none():
    assert Sizes.from_source(Headers([None]), (1.0, 1.0)) is None


@pytest.mark.parametrize(
    ("longer", "is_far"), [(19, True), (20, False), (100, False), (800, False), (801, True)]
)
def test_far_is_twice_beyond_what_training_showed(longer, is_far):
    """Images of 100 to 200 pixels, scaled by 0.4 to 2: objects as in 40 to 400."""
    assert Sizes((50, 90), (100, 200), (100, 150, 200), (0.4, 2.0)).is_far(longer) == is_far


def test_the_warning_names_the_ratio_the_sizes_and_the_fix():
    sizes = Sizes((50, 90), (100, 200), (100, 150, 200), (0.5, 2.0))
    text = sizes.warning("a.jpg", 1050, "use --resize")
    for part in ("a.jpg has 1050 pixels", "7 times", "100 to 200", "0.5 to 2", "large", "--resize"):
        assert part in text
    assert "1/5 of" in sizes.warning("a.jpg", 30, "")
    assert "small" in sizes.warning("a.jpg", 30, "")
    plain = Sizes((64, 64), (64, 64), (64, 64, 64), (1.0, 1.0)).warning("a.jpg", 448, "")
    assert "7 times what training images have (64)" in plain


@pytest.mark.parametrize(
    ("size", "longer", "wanted"),
    [((30, 60), 20, (10, 20)), ((60, 30), 120, (120, 60)), ((1, 1000), 10, (1, 10)),
     ((7, 9), None, (7, 9)), ((7, 9), 9, (7, 9))],
)  # fmt: skip
def test_an_image_keeps_its_proportions(size, longer, wanted):
    assert fitted(size, longer) == wanted
    image = np.full((*size, 3), 77, np.uint8)
    resized = with_longer_side(image, longer)
    assert resized.shape == (*wanted, 3)
    assert (resized == 77).all()


@pytest.mark.parametrize(
    ("channels", "dtype"), [(3, np.uint8), (1, np.uint8), (5, np.uint16), (13, np.uint8)]
)
def test_shrinking_averages(channels, dtype):
    """A chessboard of single pixels becomes grey, not one of its colours, in every channel."""
    board = (np.indices((64, 64)).sum(0) % 2)[..., None] * np.arange(100, 100 + channels)
    image = board.astype(dtype)
    small = with_longer_side(image, 16)
    assert (small.shape, small.dtype) == ((16, 16, channels), dtype)
    assert np.abs(small - np.arange(100, 100 + channels) / 2).max() < 1
    assert with_longer_side(image, 80).shape == (80, 80, channels)
