"""What every model promises, whatever its paper."""

import math
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import models
from jaxseg.errors import UserError

CLASSES = 3
CASES = {
    "unet": ("unet", {"width": 4, "depth": 3, "dropout": 0.1}),
    "fcn32": ("fcn", {"stride": 32, "width": 4, "fc_width": 8}),
    "fcn8": ("fcn", {"width": 4, "fc_width": 8, "batch_norm": True, "learn_final": True}),
    "deeplabv3plus": (
        "deeplabv3plus",
        {
            "backbone": "resnet18",
            "width": 4,
            "aspp_channels": 6,
            "low_level_channels": 5,
            "decoder_channels": 7,
            "aux_head": True,
        },
    ),
}


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
    stride = 4 if case == "deeplabv3plus" else 1
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
    assert bool(before) == (case != "fcn32")
    for old, new in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True):
        assert np.all(old != new)


@pytest.mark.parametrize("case", ["unet", "fcn8", "deeplabv3plus"])
def test_one_pixel_trains_without_nan(case, random_variables, run_compiled):
    # one image of one pixel: every batch norm sees one value a channel
    model, images = build(case), pictures(1, 1, 1)
    variables = random_variables(model, images)
    key = jax.random.key(0)
    result = run_compiled(partial(train_gradient, model), variables, images, key)
    assert result[0].shape == (1, 1, 1, CLASSES)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(result))


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_odd_size(case, train, random_variables, run_compiled):
    model, images = build(case), pictures(2, 7, 5)
    variables = random_variables(model, images)

    def forward(variables, images, key):
        rngs = {"dropout": key}
        return model.apply(variables, images, train=train, mutable=["batch_stats"], rngs=rngs)

    key = jax.random.key(0)
    (logits, _), updates = run_compiled(forward, variables, images, key)
    assert logits.shape == (2, *logits_size(case, 7, 5), CLASSES)
    assert np.isfinite(logits).all()
    if not train:  # evaluation leaves the statistics as they were
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
        is_scores = name in ("aux_logits", "score_fc7")
        assert endpoint.dtype == (jnp.float32 if is_scores else jnp.bfloat16), name


@pytest.mark.parametrize("case", ["unet", "fcn8", "deeplabv3plus"])
def test_settings_reach_every_batch_norm(case):
    model = build(case, dtype=jnp.bfloat16, axis_name="batch")
    seen = []

    def look(call, args, kwargs, context):
        if isinstance(context.module, nn.BatchNorm):
            seen.append(context.module)
        return call(*args, **kwargs)

    with nn.intercept_methods(look):
        jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.ones((1, 16, 16, 3)), train=True))
    assert seen
    for norm in seen:
        assert norm.axis_name == "batch"
        assert norm.dtype == jnp.bfloat16
        assert norm.use_running_average is False


@pytest.mark.parametrize("case", CASES)
def test_encoder_parameters_are_under_encoder(case, random_variables):
    variables = random_variables(build(case), pictures(1, 8, 8))
    assert "encoder" in variables["params"]


def test_options_are_the_models_own_fields():
    assert models.options("unet") == {"width": 64, "depth": 4, "dropout": 0.0}
    assert models.options("fcn")["stride"] == 8


def test_lists_become_tuples():
    model = models.build("deeplabv3plus", 2, dtype=jnp.float32, axis_name=None, atrous_rates=[1, 2])
    assert model.atrous_rates == (1, 2)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("unett", {}, "no model 'unett'.*did you mean 'unet'.*deeplabv3plus, fcn, unet"),
        ("resnet", {}, "no model 'resnet'"),  # an encoder, not a model
        ("unet", {"widht": 3}, "no option 'widht'.*did you mean 'width'"),
        ("fcn", {"stride": 4}, "stride is 4, expected 32, 16 or 8"),
        ("deeplabv3plus", {"output_stride": 7}, "output_stride is 7, expected 8, 16 or 32"),
        ("deeplabv3plus", {"backbone": "resnet51"}, "resnet101, resnet18, resnet34, resnet50"),
        ("deeplabv3plus", {"multi_grid": [1, 2]}, r"multi_grid \(1, 2\) has 2 rates.*3 blocks"),
        ("deeplabv3plus", {"corners": "round"}, "corners is 'round'"),
    ],
)
def test_wrong_options(name, options, message):
    with pytest.raises(UserError, match=message):
        models.build(name, 2, dtype=jnp.float32, axis_name=None, **options)


def test_sizes_below_one_are_refused():
    with pytest.raises(UserError, match="unet: width is 0, expected at least 1"):
        models.build("unet", 3, dtype=jnp.float32, axis_name=None, width=0)
