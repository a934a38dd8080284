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
from jaxseg.errors import UserError
from jaxseg.ops.conv import Conv, DepthwiseConv
from jaxseg.ops.norm import BatchNorm

CLASSES = 3
NARROW: dict[str, Any] = {"backbone": "resnet18", "width_multiplier": 4 / 64}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "unet": ("unet", {"width": 4, "depth": 3, "dropout": (0.1,)}),
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
        {**NARROW, "aspp_channels": 6, "separable": True, "head_conv": True, "aux_head": True},
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
}
STRIDES = {
    "classifier": 32,
    "fcn_resnet": 8,
    "deeplabv3": 16,
    "deeplabv3_cascade_spp": 16,
    "deeplabv3plus": 4,
}
# One of each: the same code is in the others.
SOME = ["unet", "fcn8", "deeplabv3plus"]


def build(case, dtype=jnp.float32, axis_name=None):
    name, options = CASES[case]
    return models.build(name, CLASSES, dtype=dtype, axis_name=axis_name, **options)


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


def pictures(b, h, w):
    return jnp.asarray(np.random.default_rng(0).normal(size=(b, h, w, 3)), jnp.float32)


def logits_size(case, h, w):
    stride = STRIDES.get(case, 1)
    return math.ceil(h / stride), math.ceil(w / stride)


@pytest.mark.parametrize("case", CASES)
def test_every_parameter_has_a_gradient_and_every_statistic_moves(
    case, random_variables, run_compiled
):
    model, images = build(case), pictures(3, 33, 47)
    variables = random_variables(model, images)
    key = jax.random.key(0)
    logits, gradient, after = run_compiled(partial(train_gradient, model), variables, images, key)
    assert logits.shape == (3, *logits_size(case, 33, 47), CLASSES)
    for path, leaf in jax.tree.leaves_with_path(gradient):
        assert np.isfinite(leaf).all(), jax.tree_util.keystr(path)
        assert np.abs(leaf).max() > 1e-4, jax.tree_util.keystr(path)
    before = variables.get("batch_stats", {})
    assert bool(before) == (case not in ("fcn32", "fcn16_paper"))
    for old, new in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True):
        assert np.all(old != new)


@pytest.mark.parametrize("case", SOME)
def test_one_pixel_trains_without_nan(case, random_variables, run_compiled):
    # one image of one pixel: every batch norm sees one value a channel
    model, images = build(case), pictures(1, 1, 1)
    variables = random_variables(model, images)
    key = jax.random.key(0)
    result = run_compiled(partial(train_gradient, model), variables, images, key)
    assert result[0].shape == (1, 1, 1, CLASSES)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(result))


@pytest.mark.parametrize("case", CASES)
def test_evaluation_takes_odd_sizes_and_changes_nothing(case, random_variables, run_compiled):
    model, images = build(case), pictures(2, 7, 5)
    variables = random_variables(model, images)

    def forward(variables, images):
        return model.apply(variables, images, train=False, mutable=["batch_stats"])

    (logits, _), updates = run_compiled(forward, variables, images)
    assert logits.shape == (2, *logits_size(case, 7, 5), CLASSES)
    assert np.isfinite(logits).all()
    before, after = (tree.get("batch_stats", {}) for tree in (variables, updates))
    jax.tree.map(np.testing.assert_array_equal, before, after)


@pytest.mark.parametrize("case", CASES)
def test_bfloat16_computes_between_float32_parameters_and_float32_logits(case):
    model = build(case, dtype=jnp.bfloat16)
    (logits, endpoints), variables = jax.eval_shape(
        lambda: model.init_with_output(jax.random.key(0), jnp.ones((1, 16, 16, 3)), train=False)
    )
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    assert logits.dtype == jnp.float32
    for name, endpoint in endpoints.items():
        is_scores = name == "aux_logits" or name.startswith("score_")
        assert endpoint.dtype == (jnp.float32 if is_scores else jnp.bfloat16), name


@pytest.mark.parametrize("case", CASES)
def test_settings_reach_every_layer(case):
    name, options = CASES[case]
    settings = {"padding": "tf_same", "norm_epsilon": 1e-3, "norm_momentum": 0.5}
    if name in ("unet", "fcn"):  # their paddings are their own
        settings.pop("padding")
    settings = {k: v for k, v in settings.items() if k in models.options(name)}
    model = models.build(
        name, CLASSES, dtype=jnp.bfloat16, axis_name="batch", **{**options, **settings}
    )
    norms, convs = [], []

    def look(call, args, kwargs, context):
        if isinstance(context.module, BatchNorm):
            norms.append(context.module)
        if isinstance(context.module, Conv | DepthwiseConv):
            convs.append(context.module)
        return call(*args, **kwargs)

    def init(images):
        return model.init(jax.random.key(0), images, train=True)

    with nn.intercept_methods(look):
        jax.eval_shape(jax.vmap(init, axis_name="batch"), jnp.ones((2, 1, 16, 16, 3)))
    assert convs
    assert bool(norms) == (case not in ("fcn32", "fcn16_paper"))
    for norm in norms:
        assert norm.axis_name == "batch"
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

    def look(old, new, corners, method="bilinear"):
        seen.append((method, corners))
        return matrix(old, new, corners, method)

    monkeypatch.setattr(resize, "interpolation_matrix", look)
    name, options = CASES[case]
    options = {**options, "corners": "aligned", "upsampling": "bilinear"}
    options = {k: v for k, v in options.items() if k in models.options(name)}
    model = models.build(name, CLASSES, dtype=jnp.float32, axis_name=None, **options)
    jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.ones((1, 32, 32, 3)), train=False))
    assert set(seen) == {("bilinear", "aligned")}


@pytest.mark.parametrize("case", CASES)
def test_encoder_parameters_are_under_encoder(case, random_variables):
    variables = random_variables(build(case), pictures(1, 8, 8))
    assert "encoder" in variables["params"]


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


def test_lists_become_tuples():
    model = models.build("deeplabv3plus", 2, dtype=jnp.float32, axis_name=None, atrous_rates=[1, 2])
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
        models.build(name, 2, dtype=jnp.float32, axis_name=None, **options)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("unet", {"width": 0}, "unet: width is 0, expected at least 1"),
        ("deeplabv3", {"atrous_rates": [6, 0]}, r"atrous_rates is \(6, 0\), expected at least 1"),
        ("deeplabv3", {"width_multiplier": 0.0}, "width_multiplier is 0.0, expected more than 0"),
    ],
)
def test_sizes_below_one_are_refused(name, options, message):
    with pytest.raises(UserError, match=message):
        models.build(name, 3, dtype=jnp.float32, axis_name=None, **options)
