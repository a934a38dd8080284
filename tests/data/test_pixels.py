"""Channels and bits: how images are converted, checked against the config and shown."""

import dataclasses

import numpy as np
import pytest

from jaxseg.data import pixels
from jaxseg.data.pixels import PixelFormat, displayed
from jaxseg.defaults import Dataset
from jaxseg.errors import UserError

RNG = np.random.default_rng(0)
RAMP = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1)


def test_grey_survives_the_way_to_rgb_and_back_at_both_depths():
    for ramp, bits in ((RAMP, 16), (RAMP[:1].astype(np.uint8), 8)):
        rgb = PixelFormat(3, bits).convert(ramp, "a")
        assert (rgb == ramp).all()
        np.testing.assert_array_equal(PixelFormat(1, bits).convert(rgb, "a"), ramp)


def test_depths_are_scaled_to_the_nearest():
    deep = PixelFormat(1, 16).convert(RAMP[:1].astype(np.uint8), "a")
    assert (deep[0, 0, 0], deep[0, 255, 0]) == (0, 65535)
    np.testing.assert_array_equal(PixelFormat(1, 8).convert(deep, "a"), RAMP[:1])
    np.testing.assert_array_equal(PixelFormat(1, 8).convert(RAMP, "a"), np.round(RAMP / 257))


def test_other_numbers_of_channels_are_taken_as_they_are():
    image = RNG.integers(0, 65536, (4, 5, 13), np.uint16)
    np.testing.assert_array_equal(PixelFormat(13, 16).convert(image, "a"), image)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bits": 12}, "dataset.bits is 12, expected 8, or 16"),
        (
            {"channels": 1},
            r'mean is .*, expected one value for each .* is 1: .*dataset\.mean="\(127\.5,\)"',
        ),
        (
            {"channels": 1, "mean": (9.0,)},
            r'std is .*, expected one value for each .* is 1: .*std="\(63\.75,\)"',
        ),
        ({"mean": (256.0, 0.0, 0.0)}, r"mean is .*, expected at most 255, .*bits=8"),
    ],
)
def test_a_config_whose_parts_do_not_fit_is_refused(changes, message):
    with pytest.raises(UserError, match=message):
        pixels.check(dataclasses.replace(Dataset(), **changes))


def test_what_the_error_says_to_begin_with_is_accepted():
    five = dataclasses.replace(Dataset(), channels=5, bits=16)
    with pytest.raises(UserError) as caught:
        pixels.check(five)
    mean, std = (part.split('"')[0] for part in str(caught.value).split('="')[1:])
    pixels.check(dataclasses.replace(five, mean=eval(mean), std=eval(std)))
    pixels.check(Dataset())


def test_pictures_show_three_channels_or_grey():
    image = RNG.integers(0, 256, (4, 5, 7), np.uint8)
    np.testing.assert_array_equal(displayed(image), image[..., :3])
    for channels in (1, 2):
        np.testing.assert_array_equal(
            displayed(image[..., :channels]), image[..., :1].repeat(3, axis=-1)
        )


def test_pictures_of_16_bits_are_stretched_and_flat_ones_are_black():
    """Any two images that differ by an affine map of their values look the same."""
    dim = RNG.integers(300, 900, (40, 50, 4), np.uint16)
    shown, brighter = displayed(dim), displayed(dim * np.uint16(50) + np.uint16(1000))
    assert np.abs(shown.astype(int) - brighter).max() <= 1
    assert (shown == 0).mean() == pytest.approx(0.02, abs=0.01)
    assert (shown == 255).mean() == pytest.approx(0.02, abs=0.01)
    order = np.argsort(dim[..., 0], axis=None)
    assert (np.diff(shown[..., 0].ravel()[order].astype(int)) >= 0).all()
    assert not displayed(np.full((3, 3, 1), 4000, np.uint16)).any()
