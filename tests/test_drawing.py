import cv2
import numpy as np
import pytest
from PIL import Image

from jaxseg import drawing
from jaxseg.data.mask_files import read_mask
from jaxseg.data.palettes import default_palette
from jaxseg.data.pipeline import Skipped
from jaxseg.data.pixels import displayed
from jaxseg.data.source import Classes, Example
from jaxseg.errors import UserError

CLASSES = Classes(("sky", "a rather long name"), ((10, 20, 30), (200, 100, 0)))
NAMES = ("background", "vessel", "disc")
THINGS = Classes(NAMES, default_palette(NAMES))
RNG = np.random.default_rng(0)
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


def test_index_png_of_more_classes_than_a_palette_holds_is_16_bit_grey(tmp_path):
    names = tuple(map(str, range(1000)))
    classes = Classes(names, default_palette(names), void=65535)
    mask = np.array([[0, 999, 65535], [256, 255, 1]], np.int32)
    path = tmp_path / "m.png"
    drawing.write_index_png(path, mask, classes)
    assert Image.open(path).mode == "I;16"
    np.testing.assert_array_equal(read_mask(path, "m.png"), mask)
    # all masks of a data set are of one kind, whatever is in them
    drawing.write_index_png(path, np.zeros((2, 2), np.int32), classes)
    assert Image.open(path).mode == "I;16"


@pytest.mark.parametrize(("values", "said"), [([0, 65536], "0..65536"), ([-1, 3], "-1..3")])
def test_index_png_refuses_what_it_cannot_hold(tmp_path, values, said):
    with pytest.raises(UserError, match=rf"m\.png: mask values {said}, a PNG holds 0\.\.65535"):
        drawing.write_index_png(tmp_path / "m.png", np.array([values]), CLASSES)


@pytest.mark.parametrize("size", [(1, 1), (40, 30), (300, 700), (200, 2000)])
def test_overlay_is_large_enough_to_read_and_keeps_the_shape(size):
    image = np.full((*size, 3), 100, np.uint8)
    picture = drawing.overlay(image, np.zeros(size, np.int32), CLASSES)
    assert picture.width >= 340
    height = size[0] * picture.width // size[1]
    assert picture.height > height  # the legend is below
    # one class everywhere: no outline, and a dark blue between the grey and its colour
    red, green, blue = np.asarray(picture)[height // 2, picture.width // 2].tolist()
    assert red < green < blue < 100


def test_pictures_of_any_channels_and_depth():
    """Bands of 16 bits as three stretched ones, grey as grey; in overlays and in grids alike."""
    bands = RNG.integers(500, 900, (40, 600, 5), np.uint16)
    mask = np.zeros((40, 600), np.int32)
    shown = displayed(bands)
    picture = np.asarray(drawing.overlay(bands, mask, THINGS))[:40]
    np.testing.assert_array_equal(picture, shown)
    grey = np.asarray(drawing.overlay(shown[..., :1], mask, THINGS))[:40]
    np.testing.assert_array_equal(grey, shown[..., :1].repeat(3, -1))
    row = np.asarray(drawing.grid([[bands, shown]]))
    np.testing.assert_array_equal(row[:, 6:606], row[:, 612:1212])


def test_background_and_void_show_the_image_itself():
    image = RNG.integers(0, 256, (90, 600, 3), np.uint8)
    mask = np.zeros((90, 600), np.int32)
    mask[:, 200:400] = 1
    mask[:, 400:] = 255
    picture = np.asarray(drawing.overlay(image, mask, THINGS))[:90]
    np.testing.assert_array_equal(picture[mask != 1], image[mask != 1])
    assert (picture[mask == 1] != image[mask == 1]).any(-1).mean() > 0.99
    # a class 0 in another colour than black is painted
    picture = np.asarray(drawing.overlay(image, mask, CLASSES))[:90]
    assert (picture[mask == 0] != image[mask == 0]).any(-1).mean() > 0.99


@pytest.mark.parametrize(("width", "outline"), [(512, 2), (1000, 3), (3000, 8)])
def test_outlines_are_inside_in_the_class_colour_and_as_wide_as_a_pixel_at_400(width, outline):
    image = np.full((width // 4, width, 3), 120, np.uint8)
    mask = np.zeros((width // 4, width), np.int32)
    mask[:, width // 2 :] = 1
    mask[:, width // 2 + 100 :] = 2
    picture = np.asarray(drawing.overlay(image, mask, THINGS))[width // 8]
    solid = [(picture == colour).all(-1).nonzero()[0].tolist() for colour in THINGS.palette]
    left, right = width // 2, width // 2 + 100
    assert solid[1] == [*range(left, left + outline), *range(right - outline, right)]
    assert solid[2] == [*range(right, right + outline)]
    assert (picture[:left] == 120).all()


def lab(colours):
    encoded = np.asarray(colours, np.float32).reshape(1, -1, 3) / 255
    return cv2.cvtColor(encoded, cv2.COLOR_RGB2LAB)[0]


@pytest.mark.parametrize("thickness", [1, 2])
@pytest.mark.parametrize("width", [999, 1000, 1199, 1200, 2000, 3000])
def test_vessels_of_1_and_2_pixels_stay_visible_at_400_pixels(width, thickness):
    """In every row, for any position on the coarser grid, and for any vessel."""
    retina = np.full((60, width, 3), (190, 90, 40), np.uint8)
    columns = np.arange(20, width - 20, 47)  # every offset to the grid of 400
    mask = np.zeros((60, width), np.int32)
    for x in columns:
        mask[:, x : x + thickness] = 1
    retina[mask == 1] = 120, 50, 20  # darker, as vessels are
    picture = np.asarray(drawing.overlay(retina, mask, THINGS))[:60]
    small = cv2.resize(picture, (400, 60 * 400 // width), interpolation=cv2.INTER_AREA)
    # lightness and colour, where 2 is just noticeable, against the retina beside the vessel
    difference = np.linalg.norm(lab(small) - lab((190, 90, 40)), axis=-1)
    at = (columns * 400 // width)[:, None] + np.arange(-1, 3)
    seen = difference.reshape(small.shape[:2])[:, at].max(-1)
    assert seen.min() > 20
    # and towards blue, the class's colour, not as a shadow
    assert (lab(small)[:, 2].reshape(small.shape[:2])[:, at].min(-1) < 40).all()


def test_what_is_widened_neither_covers_void_nor_other_thin_objects():
    mask = np.zeros((40, 40), np.int32)
    mask[:, 10], mask[:, 11], mask[:, 12], mask[:, 20:30] = 1, 2, 255, 1
    label = drawing.widened(drawing.dense(mask, THINGS), THINGS, 2)
    void = len(THINGS)
    assert label[5, 7:16].tolist() == [0, 1, 1, 1, 2, void, 0, 0, 0]
    assert label[5, 18:32].tolist() == [0, 0, *[1] * 10, 0, 0]  # wide enough as it is
    np.testing.assert_array_equal(drawing.widened(label, THINGS, 0), label)


def test_a_fill_has_the_colour_in_the_legend_and_the_detail_of_the_image():
    grain = RNG.integers(60, 200, (300, 600, 1), np.uint8).repeat(3, -1)
    mask = np.zeros((300, 600), np.int32)
    mask[:, 300:] = 1
    picture = np.asarray(drawing.overlay(grain, mask, THINGS))
    inside = picture[10:290, 310:]
    legend = picture[300:].reshape(-1, 3)
    mean = inside.reshape(-1, 3).mean(0)
    assert np.abs(legend - mean).max(-1).min() < 3
    assert (legend == THINGS.palette[1]).all(-1).any()  # its rim, as the region's outline
    before = lab(grain[10:290, 310:])[:, 0]
    after = lab(inside)[:, 0]
    assert np.corrcoef(before, after)[0, 1] > 0.98
    assert after.std() > 0.45 * before.std()


@pytest.mark.parametrize("brightness", [40, 120, 230])
def test_fills_on_dark_and_bright_images_read_as_their_own_colour(brightness):
    names = tuple(map(str, range(7)))
    classes = Classes(names, default_palette(names))
    image = np.full((140, 700, 3), brightness, np.uint8)
    mask = np.arange(700)[None].repeat(140, 0) // 100
    picture = np.asarray(drawing.overlay(image, mask.astype(np.int32), classes))
    hues = lab(classes.palette)[:, 1:]
    hues /= np.linalg.norm(hues, axis=-1, keepdims=True)
    for i in range(7):
        fill = lab(picture[70, 50 + 100 * i])[0, 1:]
        assert (hues @ fill / np.linalg.norm(fill))[i] > np.cos(np.radians(20))
        assert np.linalg.norm(fill) > 20  # not grey


def test_grid_aligns_columns():
    small, wide = np.zeros((5, 512, 3), np.uint8), np.zeros((5, 600, 3), np.uint8)
    picture = drawing.grid([[small, wide], [wide, small, small]], titles=("a", "b"))
    assert picture.width == 600 + 600 + 512 + 4 * 6
    assert (np.asarray(picture)[30, [7, 613]] == 0).all()


def test_titles_grow_with_the_columns():
    def letters(width):
        cell = np.full((5, width, 3), 255, np.uint8)
        dark = np.asarray(drawing.grid([[cell]], titles=("H",))) < 128
        return np.ptp(np.flatnonzero(dark.any((1, 2)))) + 1

    assert 8 <= letters(512) <= 14
    assert 4 < letters(3000) / letters(512) < 8


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
