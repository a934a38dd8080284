"""Each change of colour against the host's, of the same pixels."""

import jax
import numpy as np
import pytest

from jaxseg.augmentation import colour
from jaxseg.data.pipeline import planned
from jaxseg.data.transforms import Draw, make_plan
from jaxseg.data.transforms import colour as host


@pytest.fixture
def image():
    noise = np.random.default_rng(0).integers(20, 240, (31, 42, 3), np.uint8)
    noise[:4] = noise[:4, :, :1]  # grey, which has no hue
    noise[5, :, 0] = noise[5, :, 1]  # two highest
    return noise


def test_hue_moves_to_the_nearest_level(image):
    turn = jax.jit(colour.turn_hue)
    for turns in (-0.5, -0.1, 1 / 3, 0.45):
        want = host.turn_hue(image, turns)
        assert np.abs(np.asarray(turn(image, np.float32(turns))).astype(int) - want).max() <= 1
    np.testing.assert_array_equal(turn(image, np.float32(1 / 3)), np.roll(image, 1, -1))


def test_gamma_moves_to_the_nearest_level(image):
    bend = jax.jit(colour.bend)
    for exponent in (0.4, 1.0, 2.5):
        want = host.bend(image, exponent)
        assert np.abs(np.asarray(bend(image, np.float32(exponent))).astype(int) - want).max() <= 1
    flat = np.full((2, 3, 3), 7, np.uint8)
    np.testing.assert_array_equal(bend(flat, np.float32(2)), flat)


def test_blurs_are_equal(image):
    blur = jax.jit(colour.blur)
    for sigma in (0.0, 0.3, 0.8, 1.9):
        kernel = np.pad(found := planned._kernel(sigma), 6 - len(found) // 2)
        want = host.blur(image, sigma) if sigma else image
        np.testing.assert_array_equal(blur(image, kernel), want)


def test_factors_are_equal(image):
    inside = np.ones(image.shape[:2], bool)
    inside[:, 30:] = False
    drawn = Draw(1.0, (0.0, 0.0), False, False, 0, brightness=1.3, contrast=0.6, saturation=0.2)
    plan = make_plan(np.zeros((31, 42), np.int32), drawn, crop_size=(31, 42), void=255)
    want = host.jitter(image, inside.view(np.uint8), plan)
    factors = np.array([1.3, 0.6, 0.2], np.float32)
    got = np.asarray(jax.jit(colour.jitter)(image, inside, factors))
    assert np.abs(got.astype(int) - want).max() <= 1
    assert np.mean(got != want) < 0.01
