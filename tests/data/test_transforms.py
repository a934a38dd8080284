import dataclasses

import cv2
import numpy as np
import pytest

from jaxseg.data import transforms
from jaxseg.data.transforms import Draw

MEAN = np.array([11, 22, 33], np.uint8)
STILL = {
    "scale": 1.0,
    "offset": (0.5, 0.5),
    "flip": False,
    "vertical_flip": False,
    "quarter_turns": 0,
    "brightness": 1.0,
    "contrast": 1.0,
    "saturation": 1.0,
}


def random_pair(h, w, seed=0):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (h, w, 3), np.uint8)
    return image, rng.integers(0, 9, (h, w), np.int32)


def run(image, label, crop_size, context=0, **changes):
    drawn = Draw(**{**STILL, **changes})  # pyright: ignore[reportArgumentType]
    return transforms.apply(
        image, label, drawn, crop_size=crop_size, mean=MEAN, void=255, context=context
    )


def test_nothing_drawn_is_the_identity():
    image, label = random_pair(23, 31)
    out_image, out_label = run(image, label, (23, 31))
    np.testing.assert_array_equal(out_image, image)
    np.testing.assert_array_equal(out_label, label)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("vertical_flip", [False, True])
@pytest.mark.parametrize("turns", range(4))
def test_flips_and_turns_copy_pixels(flip, vertical_flip, turns):
    image, label = random_pair(23, 32)  # an odd and an even side: half a pixel off would show

    def reference(array):
        array = array[:, ::-1] if flip else array
        array = array[::-1] if vertical_flip else array
        return np.rot90(array, turns)

    size = reference(label).shape
    changes = {"flip": flip, "vertical_flip": vertical_flip, "quarter_turns": turns}
    out_image, out_label = run(image, label, size, **changes)
    np.testing.assert_array_equal(out_image, reference(image))
    np.testing.assert_array_equal(out_label, reference(label))


def test_crop_copies_a_window():
    image, label = random_pair(20, 30)
    out_image, out_label = run(image, label, (8, 10), offset=(0.25, 1.0))
    np.testing.assert_array_equal(out_image, image[3:11, 20:30])
    np.testing.assert_array_equal(out_label, label[3:11, 20:30])


@pytest.mark.parametrize("room", [-4, 4, 1, -63, 0])
def test_every_position_is_equally_likely(room):
    offset = np.random.default_rng(0).random(100_000)
    places = np.sign(room) * transforms.position(np.full(offset.shape, room), offset)
    observed = np.bincount(places)
    assert len(observed) == abs(room) + 1
    expected = len(places) / len(observed)
    chi_square = ((observed - expected) ** 2 / expected).sum()  # its mean: abs(room)
    assert chi_square <= abs(room) + 4 * np.sqrt(2 * abs(room))


@pytest.mark.parametrize(("side", "crop_side"), [(12, 8), (8, 12)])
def test_crops_take_their_positions_in_equal_shares_of_the_offset(side, crop_side):
    image, label = random_pair(side, side)
    padding = max(crop_side - side, 0)
    padded = np.pad(label, padding, constant_values=255)
    for place in range(5):
        for offset in (place / 5 + 0.01, place / 5 + 0.19):
            out = run(image, label, (crop_side, crop_side), offset=(offset, 1 - offset))[1]
            rows, columns = (place, 4 - place) if side > crop_side else (4 - place, place)
            expected = padded[rows : rows + crop_side, columns : columns + crop_side]
            np.testing.assert_array_equal(out, expected)


def test_padding_is_the_mean_pixel_and_void_and_nothing_else_is():
    image, label = random_pair(8, 10)
    out_image, out_label = run(image, label, (12, 20), offset=(0.0, 1.0), brightness=1.2, scale=1.0)
    assert (out_label[:8, 10:] == label).all()
    outside = np.ones((12, 20), bool)
    outside[:8, 10:] = False
    assert (out_label[outside] == 255).all()
    assert (out_image[outside] == MEAN).all()  # the photometric changes leave padding alone


@pytest.mark.parametrize("elastic", [None, np.zeros((3, 3, 2))])
def test_context_is_mirrored_and_its_label_void(elastic):
    image, label = random_pair(8, 10)
    out_image, out_label = run(image, label, (12, 14), context=2, elastic=elastic)
    np.testing.assert_array_equal(out_image, np.pad(image, ((2, 2), (2, 2), (0, 0)), "reflect"))
    np.testing.assert_array_equal(out_label, np.pad(label, 2, constant_values=255))


def test_without_its_context_a_crop_lies_where_one_without_lies():
    image, label = random_pair(20, 30)
    for offset in ((0.0, 0.0), (0.25, 1.0)):
        out_image, out_label = run(image, label, (14, 16), context=3, offset=offset)
        want_image, want_label = run(image, label, (8, 10), offset=offset)
        np.testing.assert_array_equal(out_image[3:-3, 3:-3], want_image)
        np.testing.assert_array_equal(out_label[3:-3, 3:-3], want_label)


def resized(array, h, w):
    """Half-pixel bilinear by hand, edges replicated."""

    def taps(n_in, n_out):
        x = (np.arange(n_out) + 0.5) * n_in / n_out - 0.5
        low = np.floor(x).astype(int)
        return np.clip(low, 0, n_in - 1), np.clip(low + 1, 0, n_in - 1), x - low

    y0, y1, fy = taps(array.shape[0], h)
    x0, x1, fx = taps(array.shape[1], w)
    fy, fx = fy[:, None, None], fx[None, :, None]
    top = array[y0][:, x0] * (1 - fx) + array[y0][:, x1] * fx
    return top * (1 - fy) + (array[y1][:, x0] * (1 - fx) + array[y1][:, x1] * fx) * fy


@pytest.mark.parametrize("scale", [0.5, 0.77, 1.6, 2.0])
def test_scaling_is_half_pixel_bilinear_up_to_the_edge(scale):
    image, label = random_pair(24, 36)
    h, w = round(24 * scale), round(36 * scale)
    out, out_label = run(image, label, (h, w), scale=scale)
    # OpenCV interpolates in steps of 1/32 pixel
    assert np.abs(out - resized(image.astype(float), h, w)).max() < 16
    assert np.abs(out - resized(image.astype(float), h, w)).mean() < 1.5
    assert (out_label < 9).all()  # no padding inside


@pytest.mark.parametrize("elastic", [0.0, 6.0])
@pytest.mark.parametrize("seed", range(12))
def test_image_and_label_stay_aligned(seed, elastic, make_augment):
    """Both hold their pixels' coordinates, the label in whole pixels, the image in quarters."""
    y, x = np.mgrid[:50, :60]
    image = np.stack([4 * y, 4 * x, 0 * x], -1).astype(np.uint8)
    label = (100 * y + x).astype(np.int32)
    augment = make_augment(
        scale=(0.5, 2.0), flip=True, vertical_flip=True, rotate90=True, elastic=elastic
    )
    out_image, out_label = transforms.apply(
        image,
        label,
        transforms.draw(np.random.default_rng(seed), augment),
        crop_size=(64, 80),
        mean=MEAN,
        void=10000,
    )
    valid = out_label != 10000
    assert valid.mean() > 0.1
    said_y, said_x = out_image[valid][:, 0] / 4, out_image[valid][:, 1] / 4
    # nearest is within half a pixel of bilinear; an eighth and 1/32 more by rounding
    assert np.abs(said_y - out_label[valid] // 100).max() < 0.5 + 0.2
    assert np.abs(said_x - out_label[valid] % 100).max() < 0.5 + 0.2
    assert (out_image[~valid] == MEAN).all()


@pytest.mark.parametrize("scale", [0.6, 1.0, 1.7])
@pytest.mark.parametrize("turns", range(4))
def test_no_displacement_is_the_affine_map(scale, turns):
    image, label = random_pair(40, 47)
    image = cv2.GaussianBlur(image, (0, 0), 2)  # OpenCV's two warps round places differently
    changes = {"scale": scale, "quarter_turns": turns, "flip": True, "offset": (0.3, 0.8)}
    still, still_label = run(image, label, (44, 50), **changes, contrast=1.2)
    out, out_label = run(
        image, label, (44, 50), **changes, contrast=1.2, elastic=np.zeros((3, 3, 2))
    )
    np.testing.assert_array_equal(out_label == 255, still_label == 255)
    assert np.abs(out.astype(int) - still).max() <= 2
    # nearest at halfway places may go to either side
    assert (out_label != still_label).mean() < (0 if scale == 1 else 0.15) + 1e-9


def test_displacements_are_met_at_the_grids_points_and_bicubic_between():
    """The label says where each pixel came from, to half a pixel; the crop lies well inside."""
    y, x = np.mgrid[:301, :401]
    drawn = np.random.default_rng(0).normal(0, 10, (3, 4, 2))
    _, label = run(
        random_pair(301, 401)[0], (1000 * y + x).astype(np.int32), (61, 91), elastic=drawn
    )
    moved = np.stack([label % 1000 - x[:61, :91] - 155, label // 1000 - y[:61, :91] - 120], -1)
    assert np.abs(moved[::30, ::30] - drawn).max() <= 0.5 + 1e-3
    first, second, third = drawn
    # Keys's weights halfway between two points are -1/16, 9/16, 9/16, -1/16; the ends repeat
    halfway = first / 2 + 9 / 16 * second - third / 16
    assert np.abs(moved[15, ::30] - halfway).max() <= 0.5 + 1e-3
    halfway = third / 2 + 9 / 16 * second - first / 16
    assert np.abs(moved[45, ::30] - halfway).max() <= 0.5 + 1e-3
    assert np.abs(np.diff(moved, axis=0)).max() < 4  # smooth: no folds, no steps


def test_one_displacement_everywhere_is_a_shift_with_void_behind_it():
    image, label = random_pair(23, 31)
    five_right = np.tile([5.0, -3.0], (3, 3, 1))  # x, y of the place each pixel is taken from
    out_image, out_label = run(image, label, (23, 31), elastic=five_right, contrast=0.9)
    np.testing.assert_array_equal(out_label[3:, :-5], label[:-3, 5:])
    outside = np.ones((23, 31), bool)
    outside[3:, :-5] = False
    assert (out_label[outside] == 255).all()
    assert (out_image[outside] == MEAN).all()
    assert (out_image[~outside] != MEAN).any(-1).mean() > 0.9
    gone = np.full((3, 3, 2), 1000.0)
    out_image, out_label = run(image, label, (8, 8), elastic=gone, contrast=0.9)
    assert (out_image == MEAN).all()
    assert (out_label == 255).all()


def test_displacements_are_gaussian_and_change_no_other_draw(make_augment):
    still = make_augment(scale=(0.5, 2.0), flip=True, rotate90=True, contrast=0.5)
    elastic = make_augment(
        scale=(0.5, 2.0), flip=True, rotate90=True, contrast=0.5, elastic=10.0, elastic_grid=4
    )
    draws = [transforms.draw(np.random.default_rng(seed), elastic) for seed in range(300)]
    drawn = np.stack([np.asarray(d.elastic) for d in draws])
    assert drawn.shape == (300, 4, 4, 2)
    assert abs(drawn.std() - 10) < 0.3
    assert abs(drawn.mean()) < 0.3
    again = transforms.draw(np.random.default_rng(7), elastic)
    np.testing.assert_array_equal(again.elastic, drawn[7])
    for seed in range(8):
        without = transforms.draw(np.random.default_rng(seed), still)
        assert dataclasses.replace(draws[seed], elastic=None) == without


@pytest.mark.parametrize("elastic", [None, np.zeros((3, 3, 2))])
def test_jitter_follows_torchvisions_definitions(elastic):
    image, label = random_pair(20, 20)
    image = image // 4 + 90  # far from 0 and 255: clipping at the end or in between agree
    image[:, 0] = 200  # what is repeated outside is no part of the mean
    changes = {"brightness": 1.1, "contrast": 0.8, "saturation": 1.3, "elastic": elastic}
    out = run(image, label, (20, 40), 0, offset=(0.0, 1.0), **changes)[0][:, 20:]
    grey = [0.299, 0.587, 0.114]
    x = 1.1 * image.astype(float)
    x = 0.8 * x + 0.2 * (x @ grey).mean()
    x = 1.3 * x - 0.3 * (x @ grey)[..., None]
    assert np.abs(out - np.clip(x, 0, 255)).max() <= 0.55  # OpenCV's weights have 10 bits


def test_switching_one_option_off_leaves_the_other_draws(make_augment):
    full = make_augment(scale=(0.5, 2.0), flip=True, rotate90=True, contrast=0.5)
    without = make_augment(scale=(0.5, 2.0), flip=False, rotate90=True, contrast=0.5)
    for seed in range(8):
        a = transforms.draw(np.random.default_rng(seed), full)
        b = transforms.draw(np.random.default_rng(seed), without)
        assert (a.scale, a.offset, a.quarter_turns, a.contrast) == (
            b.scale,
            b.offset,
            b.quarter_turns,
            b.contrast,
        )


def test_draws_cover_their_ranges(make_augment):
    augment = make_augment(
        scale=(0.5, 2.0), flip=True, vertical_flip=True, rotate90=True, brightness=0.4
    )
    rng = np.random.default_rng(0)
    draws = [transforms.draw(rng, augment) for _ in range(800)]
    scales = np.array([d.scale for d in draws])
    assert scales.min() < 0.52
    assert scales.max() > 1.98
    assert abs(np.mean([d.flip for d in draws]) - 0.5) < 0.06
    assert abs(np.mean([d.vertical_flip for d in draws]) - 0.5) < 0.06
    np.testing.assert_allclose(np.bincount([d.quarter_turns for d in draws]) / 800, 0.25, atol=0.06)
    brightness = np.array([d.brightness for d in draws])
    assert 0.6 <= brightness.min() < 0.62
    assert 1.38 < brightness.max() <= 1.4
