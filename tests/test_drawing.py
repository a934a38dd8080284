import numpy as np
import pytest
from PIL import Image

from jaxseg import drawing
from jaxseg.data.pipeline import Skipped
from jaxseg.data.source import Classes, Example
from jaxseg.errors import UserError

CLASSES = Classes(("sky", "a rather long name"), ((10, 20, 30), (200, 100, 0)))
MASK = np.array([[0, 1, 255], [1, 1, 0]], np.int32)


def test_colourise():
    coloured = drawing.colourise(MASK, CLASSES)
    assert coloured.dtype == np.uint8
    expected = {0: (10, 20, 30), 1: (200, 100, 0), 255: drawing.VOID_COLOUR}
    for (y, x), value in np.ndenumerate(MASK):
        assert tuple(coloured[y, x]) == expected[int(value)]


def test_index_png_holds_indices_and_shows_colours(tmp_path):
    drawing.write_index_png(tmp_path / "m.png", MASK, CLASSES)
    image = Image.open(tmp_path / "m.png")
    assert image.mode == "P"
    np.testing.assert_array_equal(np.asarray(image), MASK)
    np.testing.assert_array_equal(
        np.asarray(image.convert("RGB")), drawing.colourise(MASK, CLASSES)
    )


def test_index_png_refuses_what_it_cannot_hold(tmp_path):
    with pytest.raises(UserError, match=r"m\.png: mask values 0\.\.300"):
        drawing.write_index_png(tmp_path / "m.png", np.array([[0, 300]]), CLASSES)


@pytest.mark.parametrize("size", [(1, 1), (40, 30), (300, 700), (200, 2000)])
def test_overlay_is_large_enough_to_read_and_keeps_the_shape(size):
    image = np.full((*size, 3), 100, np.uint8)
    picture = drawing.overlay(image, np.zeros(size, np.int32), CLASSES)
    assert picture.width >= 350
    height = size[0] * picture.width // size[1]
    assert picture.height > height  # the legend is below
    # one class everywhere: half image, half colour
    assert picture.getpixel((picture.width // 2, height // 2)) == (55, 60, 65)


def test_overlay_leaves_void_pixels_alone():
    image = np.full((8, 512, 3), 100, np.uint8)
    mask = np.full((8, 512), 255, np.int32)
    picture = np.asarray(drawing.overlay(image, mask, CLASSES))
    assert (picture[:8] == 100).all()


def test_the_legend_has_present_classes_only_and_wraps():
    def has(picture, colour):
        return (np.asarray(picture) == colour).all(-1).any()

    both = drawing.legend([0, 1], CLASSES, 600)
    assert has(both, CLASSES.palette[0])
    assert has(both, CLASSES.palette[1])
    assert not has(drawing.legend([0], CLASSES, 600), CLASSES.palette[1])
    assert drawing.legend([0, 1], CLASSES, 150).height > both.height


def test_grid_aligns_columns():
    small, wide = np.zeros((5, 512, 3), np.uint8), np.zeros((5, 600, 3), np.uint8)
    picture = drawing.grid([[small, wide], [wide, small, small]], titles=("a", "b"))
    assert picture.width == 600 + 600 + 512 + 4 * 6
    assert (np.asarray(picture)[30, [7, 613]] == 0).all()


class FirstDamaged:
    classes = Classes(("ground", "thing"), ((0, 0, 0), (255, 0, 0)))

    def __len__(self):
        return 3

    def size(self, index, /):
        return 8, 8

    def __getitem__(self, index, /):
        if index == 0:
            raise OSError("truncated")
        label = np.zeros((8, 8), np.int32)
        return Example(image=np.zeros((8, 8, 3), np.uint8), label=label, name=str(index))


def test_pictures_leave_out_what_cannot_be_read(tmp_path):
    def predict(image):
        return np.zeros(image.shape[:2], np.int32)

    with pytest.raises(UserError, match="example 0 can't be read"):
        drawing.draw_examples(FirstDamaged(), predict, 2, tmp_path)
    last = drawing.draw_examples(FirstDamaged(), predict, 2, tmp_path, Skipped(print))
    assert last == tmp_path / "2.png"
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["1", "2"]


class Numbered:
    """Examples "0", "1", ... whose images and labels hold their number."""

    classes = CLASSES

    def __len__(self):
        return 5

    def size(self, index: int, /) -> tuple[int, int]:
        return 4, 6

    def __getitem__(self, index: int, /) -> Example:
        image = np.full((4, 6, 3), index, np.uint8)
        return {"image": image, "label": np.zeros((4, 6), np.int32), "name": str(index)}


def test_examples_are_drawn_from_all_of_the_split(tmp_path):
    seen = []

    def predict(image):
        seen.append(int(image[0, 0, 0]))
        return np.ones(image.shape[:2], np.int32)

    folder = tmp_path / "predictions"
    last = drawing.draw_examples(Numbered(), predict, 3, folder)
    assert seen == [0, 2, 4]
    assert last == folder / "4.png"
    assert {path.stem for path in folder.iterdir()} == {"0", "2", "4"}
    assert drawing.draw_examples(Numbered(), predict, 0, tmp_path / "none") is None
    assert not (tmp_path / "none").exists()
