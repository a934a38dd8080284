"""What every model promises, whatever its paper."""

import math
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import inference, models, zoo
from jaxseg.errors import UserError
from jaxseg.ops.conv import Conv
from jaxseg.ops.depthwise import DepthwiseConv
from jaxseg.ops.norm import BatchNorm, Statistics

CLASSES = 3
NARROW: dict[str, Any] = {"backbone": "resnet18", "width_multiplier": 4 / 64}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "unet": ("unet", {"width": 4, "depth": 3, "dropout": (0.1,)}),
    "unet_valid": ("unet", {"width": 4, "depth": 1, "padding": "valid", "batch_norm": False}),
    "unet_resnet": ("unet_resnet", {**NARROW, "decoder_channels": (6, 5, 4, 3, 2)}),
    "classifier": ("classifier", NARROW),
    "fcn32": ("fcn", {"stride": 32, "width_multiplier": 4 / 64, "fc_width": 8}),
    "fcn16_paper": (
        "fcn",
        {
            "stride": 16,
            "padding": "paper",
            "at_once": True,
            "width_multiplier": 2 / 64,
            "fc_width": 8,
        },
    ),
    "fcn8": (
        "fcn",
        {
            "width_multiplier": 4 / 64,
            "fc_width": 8,
            "batch_norm": True,
            "learned_upsampling": "all",
        },
    ),
    "fcn_resnet": ("fcn_resnet", NARROW),
    "deeplabv3": (
        "deeplabv3",
        {
            **NARROW,
            "atrous_rates": (6,),
            "aspp_channels": 6,
            "separable": True,
            "head_conv": True,
            "aux_head": True,
        },
    ),
    "deeplabv3_cascade_spp": (
        "deeplabv3",
        {**NARROW, "stages": 5, "multi_grid": (1, 2), "context_module": "spp", "aspp_channels": 6},
    ),
    "deeplabv3plus": (
        "deeplabv3plus",
        {
            **NARROW,
            "aspp_channels": 6,
            "low_level_channels": 5,
            "decoder_channels": 7,
            "aux_head": True,
        },
    ),
    "mobilenet_plus": (
        "deeplabv3plus",
        {
            "backbone": "mobilenet_v2",
            "width_multiplier": 0.1,
            "separable": True,
            "atrous_rates": (6,),
            "aspp_channels": 6,
            "low_level_channels": 5,
            "decoder_channels": 7,
        },
    ),
    "xception_v3": (
        "deeplabv3",
        {
            "backbone": "xception65",
            "width_multiplier": 0.05,
            "multi_grid": (1, 2, 4),
            "atrous_rates": (6,),
            "aspp_channels": 6,
        },
    ),
}
STRIDES = {
    "classifier": 32,
    "fcn_resnet": 8,
    "deeplabv3": 16,
    "deeplabv3_cascade_spp": 16,
    "deeplabv3plus": 4,
    "mobilenet_plus": 4,
    "xception_v3": 16,
}
WITHOUT_NORMS = ("unet_valid", "fcn32", "fcn16_paper")
# the encoders of the others have biases without a gradient in training: see test_encoders.py
TRAINED = [case for case in CASES if case not in ("mobilenet_plus", "xception_v3")]
# The same code is in the others.
SOME = ["unet", "deeplabv3plus"]


def build(case, dtype=jnp.float32):
    name, options = CASES[case]
    return models.build(name, CLASSES, dtype=dtype, **options)


def train_gradient(model, variables, images, key):
    """The gradient of a fixed mixture of all outputs; logits and statistics after."""

    def loss(params):
        (logits, out), updates = model.apply(
            {**variables, "params": params},
            images,
            train=True,
            mutable=["batch_stats"],
            rngs={"dropout": key},
        )
        outputs = [logits, out["aux_logits"]] if "aux_logits" in out else [logits]
        total = sum((x * jnp.cos(jnp.arange(x.size).reshape(x.shape))).sum() for x in outputs)
        return total, (logits, updates.get("batch_stats", {}))

    gradient, (logits, after) = jax.grad(loss, has_aux=True)(variables["params"])
    return logits, gradient, after


def pictures(model, b, h, w):
    """Images of this size, or for an unpadded model of the next larger one that goes in."""
    if model.context:
        h, w = model.fit(h), model.fit(w)
    return jnp.asarray(np.random.default_rng(0).normal(size=(b, h, w, 3)), jnp.float32)


def logits_shape(case, model, images):
    stride, lost = STRIDES.get(case, 1), 2 * model.context
    b, h, w, _ = images.shape
    return b, math.ceil((h - lost) / stride), math.ceil((w - lost) / stride), CLASSES


@pytest.mark.usefixtures("shallow")
@pytest.mark.parametrize("case", TRAINED)
def test_every_parameter_has_a_gradient_and_every_statistic_moves(
    case, random_variables, run_compiled
):
    model = build(case)
    images = pictures(model, 3, 33, 47)
    variables = random_variables(model, images)
    key = jax.random.key(0)
    logits, gradient, after = run_compiled(partial(train_gradient, model), variables, images, key)
    assert logits.shape == logits_shape(case, model, images)
    for path, leaf in jax.tree.leaves_with_path(gradient):
        assert np.isfinite(leaf).all(), jax.tree_util.keystr(path)
        assert np.abs(leaf).max() > 1e-4, jax.tree_util.keystr(path)
    before = variables.get("batch_stats", {})
    assert bool(before) == (case not in WITHOUT_NORMS)
    for old, new in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True):
        assert np.all(old != new)


@pytest.mark.usefixtures("shallow")
@pytest.mark.parametrize("case", SOME)
def test_one_pixel_trains_without_nan(case, random_variables, run_compiled):
    # one image of one pixel: every batch norm sees one value a channel
    model = build(case)
    images = pictures(model, 1, 1, 1)
    variables = random_variables(model, images)
    key = jax.random.key(0)
    result = run_compiled(partial(train_gradient, model), variables, images, key)
    assert result[0].shape == (1, 1, 1, CLASSES)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(result))


@pytest.mark.usefixtures("shallow")
@pytest.mark.parametrize("case", CASES)
def test_evaluation_takes_odd_sizes_and_changes_nothing(case, random_variables, run_compiled):
    model = build(case)
    images = pictures(model, 2, 7, 5)
    variables = random_variables(model, images)

    def forward(variables, images):
        return model.apply(variables, images, train=False, mutable=["batch_stats"])

    (logits, _), updates = run_compiled(forward, variables, images)
    assert logits.shape == logits_shape(case, model, images)
    assert np.isfinite(logits).all()
    before, after = (tree.get("batch_stats", {}) for tree in (variables, updates))
    jax.tree.map(np.testing.assert_array_equal, before, after)


NARROWEST: dict[str, Any] = {
    **{"width_multiplier": 0.05, "width": 4, "fc_width": 8, "low_level_channels": 5},
    **{"aspp_channels": 6, "decoder_channels": 7},
}


def narrow(entry):
    """A model of the zoo with few channels; `shallow` leaves two blocks to ResNet's last stage."""
    known = models.options(entry.model)
    options = {**entry.options, **{k: v for k, v in NARROWEST.items() if k in known}}
    if entry.model == "unet_resnet":
        options["decoder_channels"] = (6, 5, 4, 3, 2)
    if options.get("multi_grid") and "resnet" in options["backbone"]:
        options["multi_grid"] = options["multi_grid"][:2]
    return models.build(entry.model, CLASSES, dtype=jnp.float32, **options)


# of patches, logits come back where 7x7 features are inside the image
ODD = {True: (37, 53), False: (225, 263)}


def scores_of(model):
    """A function of variables and an image, and arguments for it."""
    h, w = ODD[model.labels_pixels]
    images = np.random.default_rng(0).normal(size=(1, h, w, 3)).astype(np.float32)

    def scores(variables, images):
        if not model.labels_pixels:
            return model.apply(variables, images, train=False)[0]
        return inference.scores(model, variables, images, jnp.array([[h, w]], jnp.int32))

    return scores, images, (1, h, w, CLASSES) if model.labels_pixels else (1, 2, 3, CLASSES)


@pytest.mark.usefixtures("shallow")
@pytest.mark.parametrize("entry", zoo.ZOO, ids=lambda entry: entry.argument)
def test_every_model_of_the_zoo_takes_odd_sizes(entry):
    """Scores have the image's size."""
    model = narrow(entry)
    scores, images, expected = scores_of(model)
    inputs = jnp.zeros((1, *(model.fit(n) for n in images.shape[1:3]), 3))
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0), inputs, train=False))
    assert jax.eval_shape(scores, variables, images).shape == expected


@pytest.mark.slow
@pytest.mark.usefixtures("shallow")
@pytest.mark.parametrize("entry", zoo.ZOO, ids=lambda entry: entry.argument)
def test_every_model_of_the_zoo_computes_at_odd_sizes(entry, random_variables, run_compiled):
    model = narrow(entry)
    scores, images, _ = scores_of(model)
    inputs = jnp.zeros((1, *(model.fit(n) for n in images.shape[1:3]), 3))
    found = run_compiled(scores, random_variables(model, inputs), images)
    assert np.isfinite(found).all()
    if model.labels_pixels:
        np.testing.assert_allclose(found.sum(-1), 1.0, rtol=1e-5)


@pytest.mark.usefixtures("shallow")
@pytest.mark.parametrize("case", CASES)
def test_bfloat16_computes_between_float32_parameters_and_float32_logits(case):
    model = build(case, dtype=jnp.bfloat16)
    images = pictures(model, 1, 1, 1)  # the smallest image goes through all of them
    (logits, endpoints), variables = jax.eval_shape(
        lambda: model.init_with_output(jax.random.key(0), images, train=False)
    )
    assert logits.shape == logits_shape(case, model, images)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    assert logits.dtype == jnp.float32
    for name, endpoint in endpoints.items():
        is_scores = name == "aux_logits" or name.startswith("score_")
        assert endpoint.dtype == (jnp.float32 if is_scores else jnp.bfloat16), name


@pytest.mark.usefixtures("shallow")
@pytest.mark.parametrize("case", CASES)
def test_settings_reach_every_layer(case):
    name, options = CASES[case]
    settings = {"padding": "tf_same", "norm_epsilon": 1e-3, "norm_momentum": 0.5}
    if name in ("unet", "fcn"):  # their paddings are their own
        settings.pop("padding")
    settings = {k: v for k, v in settings.items() if k in models.options(name)}
    statistics = Statistics(axis_name="batch")
    model = models.build(
        name, CLASSES, dtype=jnp.bfloat16, statistics=statistics, **{**options, **settings}
    )
    images = pictures(model, 2, 16, 16)[:, None]
    norms, convs = [], []

    def record(call, args, kwargs, context):
        if isinstance(context.module, BatchNorm):
            norms.append(context.module)
        if isinstance(context.module, Conv | DepthwiseConv):
            convs.append(context.module)
        return call(*args, **kwargs)

    def init(images):
        return model.init(jax.random.key(0), images, train=True)

    with nn.intercept_methods(record):
        jax.eval_shape(jax.vmap(init, axis_name="batch"), images)
    assert convs
    assert bool(norms) == (case not in WITHOUT_NORMS)
    for norm in norms:
        assert norm.statistics == statistics
        assert norm.dtype == jnp.bfloat16
        assert norm.use_running_average is False
        assert norm.epsilon == settings.get("norm_epsilon", 1e-5)
        assert norm.momentum == settings.get("norm_momentum", 0.9)
    for conv in convs:
        assert conv.dtype == jnp.bfloat16
        assert conv.padding == settings.get("padding", conv.padding)


@pytest.mark.parametrize("case", ["unet_resnet", "deeplabv3_cascade_spp", "deeplabv3plus"])
def test_corners_reach_every_resize(case, monkeypatch):
    from jaxseg.ops import resize

    seen, matrix = [], resize.interpolation_matrix

    def record(old, new, corners, method="bilinear"):
        seen.append((method, corners))
        return matrix(old, new, corners, method)

    monkeypatch.setattr(resize, "interpolation_matrix", record)
    name, options = CASES[case]
    aligned = {"corners": "aligned", "upsampling_corners": "aligned", "upsampling": "bilinear"}
    options = {**options, **aligned}
    options = {k: v for k, v in options.items() if k in models.options(name)}
    model = models.build(name, CLASSES, dtype=jnp.float32, **options)
    jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.ones((1, 32, 32, 3)), train=False))
    assert set(seen) == {("bilinear", "aligned")}


@pytest.mark.usefixtures("shallow")
@pytest.mark.parametrize("case", CASES)
def test_encoder_parameters_are_under_encoder(case, random_variables):
    model = build(case)
    assert "encoder" in random_variables(model, pictures(model, 1, 8, 8))["params"]


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
