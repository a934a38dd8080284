import numpy as np
import pytest

from jaxseg.data.palettes import default_palette
from jaxseg.data.source import Classes
from jaxseg.legend import LEGEND_ENTRIES, entries, legend

SKY = Classes(("sky", "a rather long name"), ((10, 20, 30), (200, 100, 0)))


def has(picture, colour):
    return (np.asarray(picture) == colour).all(-1).any()


def numbered(count):
    names = ("background", *(f"thing {i}" for i in range(1, count)))
    return Classes(names, default_palette(names), void=65535)


def ink(picture):
    """Where text is: dark and without colour."""
    pixels = np.asarray(picture)
    return (pixels.max(-1) < 90) & (pixels.max(-1) - pixels.min(-1) < 10)


def test_it_has_the_classes_of_the_mask_alone_and_wraps():
    both = legend(np.array([[0, 1]]), SKY, 600)
    assert has(both, SKY.palette[0])
    assert has(both, SKY.palette[1])
    assert not has(legend(np.array([[0, 255]]), SKY, 600), SKY.palette[1])
    assert legend(np.array([[0, 1]]), SKY, 150).height > both.height


def test_entries_are_in_order_with_shares_of_the_picture():
    mask = np.full((20, 20), 255, np.int32)
    mask[:10, :15], mask[0, 0] = 1, 0
    assert entries(mask, SKY) == [(0, "sky", "<1 %"), (1, "a rather long name", "37 %")]


def test_the_background_has_no_entry():
    classes = numbered(3)
    assert entries(np.array([[0, 0, 2, 65535]]), classes) == [(2, "thing 2", "25 %")]
    assert entries(np.array([[0, 65535]]), classes) == [(None, "nothing painted", "")]


def test_void_comes_last_if_asked_for():
    classes = numbered(3)
    mask = np.array([[0, 65535, 65535, 2]])
    thing = (2, "thing 2", "25 %")
    assert entries(mask, classes, with_void=True) == [thing, (3, "void", "50 %")]
    assert entries(mask[:, :1], classes, with_void=True) == [(None, "nothing painted", "")]
    box = np.asarray(legend(mask[:, 1:3], classes, 600, with_void=True)).astype(int)
    assert (abs(box - 128).max(-1) == 0).any()  # grey between the lines of its box


def test_of_many_classes_the_largest_are_named_largest_first():
    classes = numbered(1000)
    sizes = np.random.default_rng(0).permutation(LEGEND_ENTRIES + 37) + 1
    labels = np.arange(1, len(sizes) + 1) * 17  # up to 969
    mask = np.repeat(labels, sizes)[None].astype(np.int32)
    *named, last = entries(mask, classes)
    assert last == (None, "and 37 more", "")
    largest = labels[np.argsort(-sizes)][:LEGEND_ENTRIES]
    assert [index for index, _, _ in named] == largest.tolist()
    assert named[0][1] == f"thing {largest[0]}"
    assert legend(mask, classes, 512).height < 512
    assert len(entries(mask[mask <= 17 * LEGEND_ENTRIES][None], classes)) == LEGEND_ENTRIES


@pytest.mark.parametrize("width", [342, 512, 1000, 3000])
def test_text_is_readable_when_a_picture_is_shown_at_600_pixels(width):
    rows = ink(legend(np.array([[1]]), SKY, width)).any(1).nonzero()[0]
    height = np.ptp(rows) + 1  # from the top of an l to the bottom of a g
    assert 11 <= height * 600 / width <= 30


def test_a_long_name_is_shortened_and_its_share_is_seen():
    classes = Classes(("x" * 300, "y"), SKY.palette)
    picture = ink(legend(np.array([[0] * 9 + [1]]), classes, 400))
    assert not picture[:, -4:].any()
    columns = picture[: picture.shape[0] // 2].any(0).nonzero()[0]
    assert columns.max() > 360  # it takes the line


def test_boxes_have_the_fills_inside():
    fills = np.array([[1, 200, 3], [250, 5, 6]], np.uint8)
    picture = legend(np.array([[0, 1]]), SKY, 600, fills)
    for colour in (*SKY.palette, *fills):
        assert has(picture, colour)
