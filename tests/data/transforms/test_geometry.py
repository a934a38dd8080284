import cv2
import numpy as np
import pytest
from scipy import ndimage

from jaxseg.data import transforms


def test_nothing_drawn_is_the_identity(random_pair, run):
    image, label = random_pair(23, 31)
    out_image, out_label = run(image, label, (23, 31))
    np.testing.assert_array_equal(out_image, image)
    np.testing.assert_array_equal(out_label, label)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("vertical_flip", [False, True])
@pytest.mark.parametrize("turns", range(4))
def test_flips_and_turns_copy_pixels(flip, vertical_flip, turns, random_pair, run):
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


def test_padding_is_the_mean_pixel_and_void_and_nothing_else_is(random_pair, run, mean):
    image, label = random_pair(8, 10)
    out_image, out_label = run(image, label, (12, 20), offset=(0.0, 1.0), brightness=1.2, scale=1.0)
    assert (out_label[:8, 10:] == label).all()
    outside = np.ones((12, 20), bool)
    outside[:8, 10:] = False
    assert (out_label[outside] == 255).all()
    assert (out_image[outside] == mean).all()  # the photometric changes leave padding alone


@pytest.mark.parametrize("elastic", [None, np.zeros((3, 3, 2))])
def test_context_is_mirrored_and_its_label_void(elastic, random_pair, run):
    image, label = random_pair(8, 10)
    out_image, out_label = run(image, label, (12, 14), context=2, elastic=elastic)
    np.testing.assert_array_equal(out_image, np.pad(image, ((2, 2), (2, 2), (0, 0)), "reflect"))
    np.testing.assert_array_equal(out_label, np.pad(label, 2, constant_values=255))


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
def test_scaling_is_half_pixel_bilinear_up_to_the_edge(scale, random_pair, run):
    image, label = random_pair(24, 36)
    h, w = round(24 * scale), round(36 * scale)
    out, out_label = run(image, label, (h, w), scale=scale)
    # OpenCV interpolates in steps of 1/32 pixel
    assert np.abs(out - resized(image.astype(float), h, w)).max() < 16
    assert np.abs(out - resized(image.astype(float), h, w)).mean() < 1.5
    assert (out_label < 9).all()  # no padding inside


@pytest.mark.parametrize("elastic", [0.0, 6.0])
@pytest.mark.parametrize("seed", range(12))
def test_image_and_label_stay_aligned(seed, elastic, make_augment, mean):
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
        mean=mean,
        void=10000,
    )
    valid = out_label != 10000
    assert valid.mean() > 0.1
    said_y, said_x = out_image[valid][:, 0] / 4, out_image[valid][:, 1] / 4
    # nearest is within half a pixel of bilinear; an eighth and 1/32 more by rounding
    assert np.abs(said_y - out_label[valid] // 100).max() < 0.5 + 0.2
    assert np.abs(said_x - out_label[valid] % 100).max() < 0.5 + 0.2
    assert (out_image[~valid] == mean).all()


@pytest.mark.parametrize("scale", [0.6, 1.0, 1.7])
@pytest.mark.parametrize("turns", range(4))
def test_no_displacement_is_the_affine_map(scale, turns, random_pair, run):
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


def test_displacements_are_met_at_the_grids_points_and_bicubic_between(random_pair, run):
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


def test_one_displacement_everywhere_is_a_shift_with_void_behind_it(random_pair, run, mean):
    image, label = random_pair(23, 31)
    five_right = np.tile([5.0, -3.0], (3, 3, 1))  # x, y of the place each pixel is taken from
    out_image, out_label = run(image, label, (23, 31), elastic=five_right, contrast=0.9)
    np.testing.assert_array_equal(out_label[3:, :-5], label[:-3, 5:])
    outside = np.ones((23, 31), bool)
    outside[3:, :-5] = False
    assert (out_label[outside] == 255).all()
    assert (out_image[outside] == mean).all()
    assert (out_image[~outside] != mean).any(-1).mean() > 0.9
    gone = np.full((3, 3, 2), 1000.0)
    out_image, out_label = run(image, label, (8, 8), elastic=gone, contrast=0.9)
    assert (out_image == mean).all()
    assert (out_label == 255).all()


def test_rotation_by_a_right_angle_is_a_quarter_turn(random_pair, run):
    image, label = random_pair(24, 24)
    for turns in (1, 2, 3):
        out_image, out_label = run(image, label, (24, 24), angle=90.0 * turns)
        inner = np.s_[1:-1, 1:-1]  # a border pixel may be a hair's breadth outside
        np.testing.assert_array_equal(out_image[inner], np.rot90(image, turns)[inner])
        np.testing.assert_array_equal(out_label[inner], np.rot90(label, turns)[inner])


@pytest.mark.parametrize(("h", "w"), [(40, 51), (37, 30)])
@pytest.mark.parametrize("angle", [-70.0, 10.0, 133.0])
def test_rotation_is_about_the_centre_by_its_angle(angle, h, w, random_pair, run, mean):
    image, label = random_pair(h, w)
    image = cv2.GaussianBlur(image, (0, 0), 2)
    out, out_label = run(image, label, (h, w), angle=angle)
    options = {"angle": angle, "reshape": False}
    expected = ndimage.rotate(image.astype(float), order=1, mode="nearest", **options)
    whole = ndimage.rotate(np.ones((h, w)), order=0, mode="constant", **options) == 1
    # where the nearest pixel is outside, it is void; at the very edge rounding decides
    sure = ndimage.minimum_filter(whole, 3) == ndimage.maximum_filter(whole, 3)
    np.testing.assert_array_equal((out_label != 255)[sure], whole[sure])
    assert 0.5 < whole.mean() < 0.99
    inside = out_label != 255
    assert np.abs(out - expected)[inside].max() <= 3  # positions in steps of 1/32 pixel
    assert (out[~inside] == mean).all()
    nearest = ndimage.rotate(label, order=0, mode="nearest", **options)
    assert (out_label == nearest)[inside].mean() > 0.97


def test_rotation_composes_with_flip_scale_and_crop(random_pair, run):
    image, label = random_pair(40, 40)
    image = cv2.GaussianBlur(image, (0, 0), 3)
    changes = {"flip": True, "quarter_turns": 1, "scale": 1.5}
    out = run(image, label, (20, 24), **changes, angle=30.0, offset=(0.2, 0.7))[0]
    whole = run(image, label, (60, 60), **changes)[0]  # before it is rotated and cropped
    turned = ndimage.rotate(whole.astype(float), 30, reshape=False, order=1, mode="nearest")
    top, left = int(0.2 * 41), int(0.7 * 37)
    window = turned[top : top + 20, left : left + 24]
    assert np.abs(out - window).max() <= 4


@pytest.mark.parametrize("angle", [0.0, 25.0])
@pytest.mark.parametrize(("channels", "dtype"), [(1, np.uint8), (5, np.uint8), (13, np.uint16)])
def test_each_channel_is_warped_alike_and_keeps_its_depth(channels, dtype, angle, random_pair, run):
    image, label = random_pair(20, 26, channels=channels, dtype=dtype)
    changes = {"scale": 0.9, "angle": angle, "offset": (0.1, 0.8)}
    for context in (0, 2):
        out, out_label = run(image, label, (24, 20), context, **changes)
        assert out.dtype == dtype
        assert out.shape == (24, 20, channels)
        for channel in range(0, channels, 4):
            one, its_label = run(image[..., [channel]], label, (24, 20), context, **changes)
            inside = (its_label != 255) if not context else np.ones((24, 20), bool)
            apart = np.abs(out[..., channel].astype(int) - one[..., 0])[inside]
            # OpenCV samples some numbers of channels at steps of 1/32 pixel
            assert apart.max() <= np.iinfo(dtype).max / 32
            np.testing.assert_array_equal(out_label, its_label)
