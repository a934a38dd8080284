"""Which views there are, at what sizes, and which are refused."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import inference
from jaxseg.defaults import Eval
from jaxseg.errors import UserError
from jaxseg.inference.views import PLAIN, Views, canvas_of, rescale, scaled
from jaxseg.models.unet import UNet


@pytest.fixture
def make(one_conv):
    return lambda **options: one_conv(**options)[0]


@pytest.mark.parametrize(
    ("scale", "side"),
    [(0.5, 257), (0.75, 385), (1.0, 513), (1.25, 641), (1.5, 769), (1.75, 897), (0.55, 289)],
)
def test_sides_of_deeplabs_canvas(make, scale, side):
    """Those of its code: 512 scale + 1; what is no 16 k + 1 is padded to the next."""
    model = make(stride=16, corners="aligned")
    assert canvas_of((513, 513), scale, model) == (side, side)


def test_sides_with_half_pixel_corners(make):
    assert canvas_of((480, 360), 0.75, make(stride=16)) == (368, 272)  # 360 and 270
    assert canvas_of((480, 360), 0.75, make(stride=1)) == (360, 270)
    assert canvas_of((7, 1), 0.5, make(stride=1, context=1)) == (4, 1)
    assert canvas_of((1, 1), 0.1, make(stride=16)) == (16, 16)
    assert scaled(1, 0.25, "aligned") == scaled(1, 0.25, "half_pixel") == 1


def test_an_image_is_rescaled_apart_from_its_padding(make, run_compiled):
    """A blank example of size 0 does no harm."""
    images = np.full((3, 12, 16, 3), 9.0, np.float32)
    images[0, 6:], images[1, :, 4:] = np.nan, np.nan
    images[2] = 0
    sizes = jnp.asarray([[6, 16], [12, 4], [0, 0]])
    seen, own = run_compiled(lambda x: rescale(x, sizes, 1.5, make()), jnp.asarray(images))
    assert own.tolist() == [[9, 24], [18, 6], [1, 1]]
    assert seen.shape == (3, 20, 24, 3)
    expected = np.zeros((3, 20, 24, 3), np.float32)
    expected[0, :9, :24] = expected[1, :18, :6] = 9
    np.testing.assert_array_equal(seen, expected)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"scales": ()}, r"config\.eval\.scales is \(\), expected at least one"),
        ({"window": ()}, r"config\.eval\.window is \(\), expected one number or rows and columns"),
        ({"window": (1, 2, 3)}, r"config\.eval\.window is \(1, 2, 3\), expected"),
        ({"window": (0, 64)}, r"config\.eval\.window is \(0, 64\), expected"),
    ],
)
def test_values_that_no_range_refuses(values, message):
    with pytest.raises(UserError, match=message):
        Views.from_config(Eval(**values))


def test_one_number_is_both_sides():
    assert Views.from_config(Eval(window=(64,))) == Views(window=(64, 64))
    assert Views.from_config(Eval(window=(64, 32))).window == (64, 32)
    assert Views.from_config(Eval()) == PLAIN
    assert PLAIN.is_plain
    assert Views(temperature=2.0).is_plain
    for other in ({"flip": True}, {"scales": (0.5,)}, {"scales": (1.0, 1.0)}, {"window": (8, 8)}):
        assert not dataclasses.replace(PLAIN, **other).is_plain


def test_windows_that_do_not_suit_the_model(make):
    views = Views(window=(40, 64))
    with pytest.raises(UserError, match=r"eval.window is .*unpadded.*use config.eval.tile_size"):
        inference.check(UNet(2, padding="valid"), (572, 572), 0, views)
    inference.check(UNet(2, padding="valid"), (572, 572), 0, Views((0.5, 1.0), flip=True))
    inference.check(UNet(2), (64, 64), 0, views)
    with pytest.raises(UserError, match=r"config.eval.window is \(40, 64\), but .* use \(32, 64\)"):
        inference.check(make(stride=16), (64, 64), 0, views)
    inference.check(make(stride=16, corners="aligned"), (64, 64), 0, Views(window=(33, 65)))
