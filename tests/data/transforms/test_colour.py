import colorsys

import numpy as np
import pytest
from scipy import ndimage

from jaxseg.errors import UserError

GREY = [0.299, 0.587, 0.114]


@pytest.mark.parametrize("elastic", [None, np.zeros((3, 3, 2))])
def test_jitter_follows_torchvisions_definitions(elastic, random_pair, run):
    image, label = random_pair(20, 20)
    image = image // 4 + 90  # far from 0 and 255: clipping at the end or in between agree
    image[:, 0] = 200  # what is repeated outside is no part of the mean
    changes = {"brightness": 1.1, "contrast": 0.8, "saturation": 1.3, "elastic": elastic}
    out = run(image, label, (20, 40), 0, offset=(0.0, 1.0), **changes)[0][:, 20:]
    x = 1.1 * image.astype(float)
    x = 0.8 * x + 0.2 * (x @ GREY).mean()
    x = 1.3 * x - 0.3 * (x @ GREY)[..., None]
    assert np.abs(out - np.clip(x, 0, 255)).max() <= 0.55  # OpenCV's weights have 10 bits


@pytest.mark.parametrize(("channels", "dtype"), [(1, np.uint8), (5, np.uint8), (5, np.uint16)])
def test_each_of_other_channels_moves_to_its_own_mean(channels, dtype, random_pair, run):
    image, label = random_pair(20, 20, channels=channels, dtype=dtype)
    image = image // 4 + np.iinfo(dtype).max // 3
    out = run(image, label, (20, 20), brightness=1.1, contrast=0.8)[0]
    assert out.dtype == dtype
    x = 1.1 * image.astype(float)
    x = 0.8 * x + 0.2 * x.mean((0, 1))
    assert np.abs(out - x).max() <= 0.55


def test_16_bits_are_changed_as_8_are_and_clipped_at_their_ends(random_pair, run):
    image, label = random_pair(20, 20)
    changes = {"brightness": 1.3, "contrast": 1.2, "saturation": 0.6, "hue": 0.1, "gamma": 1.3}
    coarse = run(image, label, (20, 20), **changes)[0].astype(float)
    fine = run(257 * image.astype(np.uint16), label, (20, 20), **changes)[0]
    assert fine.dtype == np.uint16
    assert fine.max() == 65535
    assert np.abs(fine / 257 - coarse).max() < 4  # rounded three times


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("turns", [0.17, -0.4, 0.5])
def test_hue_is_turned_in_hsv(turns, dtype, random_pair, run):
    image, label = random_pair(12, 12, dtype=dtype)
    white = float(np.iinfo(dtype).max)
    out = run(image, label, (12, 12), hue=turns)[0]
    for pixel, ours in zip(image.reshape(-1, 3), out.reshape(-1, 3), strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*(pixel / white).tolist())
        expected = white * np.array(colorsys.hsv_to_rgb((hue + turns) % 1, saturation, value))
        assert np.abs(ours - expected).max() <= 0.5 + 1e-5 * white


def test_a_third_of_a_turn_exchanges_the_channels(random_pair, run):
    image, label = random_pair(12, 12)
    np.testing.assert_array_equal(
        run(image, label, (12, 12), hue=1 / 3)[0], np.roll(image, 1, axis=-1)
    )


@pytest.mark.parametrize(("dtype", "low", "high"), [(np.uint8, 30, 200), (np.uint16, 90, 4095)])
@pytest.mark.parametrize("exponent", [0.6, 1.7])
def test_gamma_bends_between_the_extremes(exponent, dtype, low, high, random_pair, run):
    image = np.linspace(low, high, 20 * 20 * 2).reshape(20, 20, 2).astype(dtype)
    out = run(image, random_pair(20, 20)[1], (20, 30), gamma=exponent, offset=(0.0, 0.0))[0]
    expected = low + (high - low) * ((image.astype(float) - low) / (high - low)) ** exponent
    assert np.abs(out[:, :20] - expected).max() <= 0.5 + 1e-9  # the mean outside is no extreme
    assert (out[:, :20].min(), out[:, :20].max()) == (low, high)
    flat = np.full((8, 8, 3), 77, dtype)
    assert (run(flat, random_pair(8, 8)[1], (8, 8), gamma=exponent)[0] == 77).all()


def test_grey_is_luma_in_every_channel(random_pair, run):
    image, label = random_pair(20, 20)
    out = run(image, label, (20, 20), saturation=1.4, grey=True)[0]
    assert np.abs(out - (image @ GREY)[..., None]).max() <= 0.55
    assert (out == out[..., :1]).all()


@pytest.mark.parametrize(("channels", "dtype"), [(3, np.uint8), (1, np.uint8), (5, np.uint16)])
@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.7])
def test_blur_is_a_gaussian_cut_off_at_three_deviations(sigma, channels, dtype, random_pair, run):
    image, label = random_pair(24, 30, channels=channels, dtype=dtype)
    out, out_label = run(image, label, (24, 30), blur=sigma)
    options = {"radius": int(np.ceil(3 * sigma)), "mode": "mirror", "axes": (0, 1)}
    expected = ndimage.gaussian_filter(image.astype(float), sigma, **options)
    assert np.abs(out - expected).max() <= 2  # OpenCV rounds the weights
    np.testing.assert_array_equal(out_label, label)


def test_blur_keeps_padding_and_image_apart(random_pair, run):
    label = random_pair(10, 10)[1]
    out = run(np.full((10, 10, 3), 200, np.uint8), label, (10, 20), offset=(0.0, 0.0), blur=2.0)[0]
    assert (out[:, :10] == 200).all()
    assert (out[:, 10:] == [11, 22, 33]).all()


@pytest.mark.parametrize("change", [{"hue": 0.1}, {"grey": True}, {"saturation": 1.2}])
def test_what_needs_rgb_is_refused_for_other_channels(change, random_pair, run):
    image, label = random_pair(8, 8, channels=4)
    with pytest.raises(UserError, match="the images have 4 channels, not 3: set hue, saturation"):
        run(image, label, (8, 8), **change)
