"""What every model promises, whatever its paper."""

import math
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import models
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


# The encoders of the others have biases without a gradient in training: see test_encoders.py. With
# the paper's padding an image of one pixel is 199 pixels wide.
TRAINED = [
    pytest.param(case, marks=pytest.mark.slow if case == "fcn16_paper" else ())
    for case in CASES
    if case not in ("mobilenet_plus", "xception_v3")
]


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
