"""Models by name: their options, and values and sizes that are refused."""

import math

import jax
import jax.numpy as jnp
import pytest

from jaxseg import models
from jaxseg.errors import UserError

CLASSES = 3


@pytest.mark.parametrize(
    ("name", "options", "smallest"),
    [
        ("classifier", {"backbone": "vgg16"}, 193),
        ("classifier", {"backbone": "vgg16", "rounding": "floor"}, 224),
        ("classifier", {"backbone": "vgg16", "rounding": "floor", "fc_padding": "symmetric"}, 32),
        ("classifier", {"backbone": "xception"}, 7),
        ("deeplabv3", {"backbone": "xception"}, 7),
    ],
)
def test_models_that_do_not_take_every_size(name, options, smallest):
    """As the docstring of jaxseg/models says; those of CASES take one pixel."""
    options = {**options, "width_multiplier": 0.05}
    model = models.build(name, CLASSES, dtype=jnp.float32, **options)

    def logits(*size):
        images = jnp.ones((1, *size, 3))
        key = jax.random.key(0)
        return jax.eval_shape(lambda: model.init_with_output(key, images, train=False)[0][0])

    assert logits(smallest, smallest).shape == (1, 1, 1, CLASSES)
    for size in ((smallest, smallest - 1), (smallest - 1, smallest)):
        with pytest.raises(UserError, match="expected at least"):
            logits(*size)


def test_options_are_the_models_own_fields():
    assert models.options("fcn") == {
        "stride": 8,
        "padding": "same",
        "at_once": False,
        "learned_upsampling": "skips",
        "width_multiplier": 1.0,
        "fc_width": 4096,
        "dropout": 0.5,
        "batch_norm": False,
        "norm_epsilon": 1e-5,
        "norm_momentum": 0.9,
    }
    assert models.options("deeplabv3plus")["atrous_rates"] == (6, 12, 18)  # inherited


def test_zero_is_a_rate():
    unet = models.build("unet", 2, dtype=jnp.float32, dropout=[0.0, 0.5])
    assert unet.dropout == (0.0, 0.5)
    models.build("fcn", 2, dtype=jnp.float32, dropout=0.0, norm_momentum=0.0)


def test_lists_become_tuples():
    model = models.build("deeplabv3plus", 2, dtype=jnp.float32, atrous_rates=[1, 2])
    assert model.atrous_rates == (1, 2)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("unett", {}, "no model 'unett'.*did you mean 'unet'"),
        ("encoders", {}, "no model 'encoders'"),  # a file, but not a model
        ("unet", {"widht": 3}, "no option 'widht'.*did you mean 'width'"),
        ("fcn", {"stride": 4}, "stride is 4, expected 32, 16 or 8"),
        ("deeplabv3plus", {"output_stride": 7}, "output_stride is 7, expected one of 8, 16, 32"),
        ("deeplabv3plus", {"backbone": "resnet51"}, "did you mean 'resnet50'.*resnet101, "),
        ("deeplabv3plus", {"multi_grid": [1, 2]}, r"multi_grid \(1, 2\) has 2 rates.*3 blocks"),
        ("deeplabv3plus", {"corners": "round"}, "corners is 'round'"),
    ],
)
def test_wrong_options(name, options, message):
    with pytest.raises(UserError, match=message):
        models.build(name, 2, dtype=jnp.float32, **options)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("deeplabv3", {"atrous_rates": (6.5, 12)}, r"\(6.5, 12\), expected whole numbers, such as"),
        ("deeplabv3", {"atrous_rates": 6}, "atrous_rates is 6, expected whole numbers, such as"),
        ("deeplabv3", {"multi_grid": (True, 2, 4)}, r"multi_grid is \(True, 2, 4\), expected who"),
        ("unet", {"width": 4.0}, "width is 4.0, expected a whole number"),
        ("unet", {"batch_norm": "no"}, "batch_norm is 'no', expected True or False"),
        ("unet", {"padding": 3}, "padding is 3, expected a text"),
        ("fcn", {"dropout": "0.5"}, "dropout is '0.5', expected a number"),
        ("unet", {"dropout": ("0.5",)}, r"dropout is \('0.5',\), expected numbers, such as"),
    ],
)
def test_values_of_another_type_are_refused(name, options, message):
    with pytest.raises(UserError, match=message):
        models.build(name, 3, dtype=jnp.float32, **options)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("unet", {"width": 0}, "unet: width is 0, expected at least 1"),
        ("deeplabv3", {"atrous_rates": [6, 0]}, r"atrous_rates is \(6, 0\), expected at least 1"),
        ("deeplabv3", {"width_multiplier": 0.0}, "width_multiplier is 0.0, expected more than 0"),
        ("fcn", {"width_multiplier": -1.0}, "width_multiplier is -1.0, expected more than 0"),
        ("unet_resnet", {"width_multiplier": math.nan}, "width_multiplier is nan"),
        ("fcn", {"dropout": 1.0}, "fcn: dropout is 1.0, expected at least 0 and less than 1"),
        ("fcn", {"dropout": -0.1}, "dropout is -0.1, expected"),
        ("unet", {"dropout": [0.5, 1.5]}, r"dropout is \(0.5, 1.5\), expected"),
        ("unet", {"dropout": ["0.5"]}, r"dropout is \('0.5',\), expected"),
        ("classifier", {"norm_momentum": 1.0}, "norm_momentum is 1.0, expected at least 0 and les"),
        ("deeplabv3", {"norm_momentum": -0.5}, "norm_momentum is -0.5, expected"),
        ("unet_resnet", {"norm_epsilon": 0.0}, "norm_epsilon is 0.0, expected more than 0"),
        ("fcn_resnet", {"norm_epsilon": math.nan}, "norm_epsilon is nan, expected more than 0"),
        ("fcn_resnet", {"norm_epsilon": math.inf}, "norm_epsilon is inf, expected more than 0"),
    ],
)
def test_numbers_out_of_range_are_refused(name, options, message):
    with pytest.raises(UserError, match=message):
        models.build(name, 3, dtype=jnp.float32, **options)
