import numpy as np
import pytest

from jaxseg.data.contact_sheet import GAP, SIDE, TEXT, contact_sheet
from jaxseg.data.selection import Selection
from jaxseg.data.source import Classes

TOP = 4 * TEXT  # below the titles and the first caption
CLASSES = Classes(("background", "thing"), ((0, 0, 0), (230, 30, 30)))


@pytest.fixture
def source(array_source):
    class Halves(array_source):
        """A dark, a grey and a bright image; left background, middle thing, right void."""

        classes = CLASSES

        def __init__(self):
            self.sizes = [(20, 40)] * 3

        def __getitem__(self, index):
            label = np.zeros((20, 40), np.int32)
            label[:, 10:20], label[:, 20:] = 1, 255
            image = np.full((20, 40, 3), (5, 120, 250)[index], np.uint8)
            return {"image": image, "label": label, "name": f"example{index}"}

    return Halves()


def cell(picture, column, height, top=TOP):
    left = GAP + column * (SIDE + GAP)
    return np.asarray(picture)[top : top + height, left : left + SIDE].astype(int)


def draw(source, make_augment, index=0, **options):
    selection = Selection((index,), (1,), 3, (), ())
    augment = make_augment(crop_size=(20, 40), **options.pop("changes", {}))
    return contact_sheet(source, selection, augment=augment, mean=(0, 0, 0), seed=0, **options)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_labels_tint_the_image_and_void_is_hatched_on_any_ground(index, source, make_augment):
    picture = draw(source, make_augment, index)
    ground = (5, 120, 250)[index]
    photograph, labelled = cell(picture, 0, 200), cell(picture, 1, 200)
    assert (photograph == ground).all()
    assert (labelled[:, :90] == ground).all()  # background
    thing = labelled[20:180, 120:180].mean((0, 1))
    assert thing[0] > thing[1] + 20
    void = labelled[:, 210:]
    lines = np.abs(void - ground).max(-1) > 60
    assert 0.15 < lines.mean() < 0.7
    np.testing.assert_array_equal(cell(picture, 2, 200), photograph)  # nothing is augmented
    np.testing.assert_array_equal(cell(picture, 3, 200), labelled)


def test_the_legend_is_below_the_picture_and_names_void(source, make_augment):
    picture = draw(source, make_augment)
    below = cell(picture, 1, 40, TOP + 200)
    red = (np.abs(below - (230, 30, 30)).max(-1) < 3).any()
    ink = (below.max(-1) < 60).any(0).nonzero()[0]
    assert red
    assert ink.max() > 100  # "thing: 25 %", a box and "void: 50 %" follow each other
    assert (cell(picture, 0, 40, TOP + 200) == 255).all()


def test_rows_are_those_chosen_in_their_order_and_augmented(source, make_augment):
    selection = Selection((2, 0, 1), (1, None, 1), 3, (), ())
    augment = make_augment(crop_size=(40, 40), scale=(0.5, 0.5))
    picture = contact_sheet(source, selection, augment=augment, mean=(60, 60, 60), seed=0)
    height = 2 * TEXT + 400 + GAP
    tops = [TOP]
    legend_height = (picture.height - 2 * TEXT) // 3 - height
    for _ in range(2):
        tops.append(tops[-1] + height + legend_height)
    for top, ground in zip(tops, (250, 5, 120), strict=True):
        assert (cell(picture, 0, 200, top) == ground).all()
        augmented = cell(picture, 2, 400, top)
        nearer = np.abs(augmented - ground) < np.abs(augmented - 60)
        assert nearer.mean() == pytest.approx(1 / 8, abs=0.02)  # scaled by a half, on a square
        assert (augmented == 60).all(-1).mean() > 0.8


def test_weights_have_a_column(source, make_augment):
    def weigh(label):
        return np.where(np.arange(label.shape[1]) < 20, 0, 5).astype(np.float32) + 0 * label

    picture = draw(source, make_augment, weigh=lambda label: weigh(label).astype(np.float32))
    assert picture.width == GAP + 5 * (SIDE + GAP)
    added = cell(picture, 4, 200)
    assert (added[:, :195] == 0).all()
    assert (added[:, 205:] == 255).all()
