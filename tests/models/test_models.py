"""What every model promises, whatever its paper."""

import math

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


def run(case, images, seed=0):
    """Perturbed variables, one training pass with its gradient, one evaluation pass: one compile.

    The perturbation moves what starts at zero (score layers, the last scale of a residual branch),
    behind which every gradient would be zero.
    """
    model = build(case)

    @jax.jit
    def everything(key, images):
        variables = model.init(key, images, train=False)
        leaves, tree = jax.tree.flatten(variables["params"])
        keys = jax.random.split(key, len(leaves))
        noisy = [x + 0.1 * jax.random.normal(k, x.shape) for k, x in zip(keys, leaves, strict=True)]
        variables = {**variables, "params": jax.tree.unflatten(tree, noisy)}
        stats = variables.get("batch_stats", {})

        def loss(params):
            (logits, out), updates = model.apply(
                {"params": params, "batch_stats": stats},
                images,
                train=True,
                mutable=["batch_stats"],
                rngs={"dropout": key},
            )
            outputs = [logits, out["aux_logits"]] if "aux_logits" in out else [logits]
            total = sum((x * jax.random.normal(key, x.shape)).sum() for x in outputs)
            return total, (logits, updates.get("batch_stats", {}))

        gradient, (logits, trained) = jax.grad(loss, has_aux=True)(variables["params"])
        (eval_logits, _), evaluated = model.apply(
            {"params": variables["params"], "batch_stats": stats},
            images,
            train=False,
            mutable=["batch_stats"],
        )
        evaluated = evaluated.get("batch_stats", {})
        return {
            "logits": (logits, eval_logits),
            "gradient": gradient,
            "stats": (stats, trained, evaluated),
        }

    return everything(jax.random.key(seed), images)


def pictures(b, h, w):
    return np.random.default_rng(0).normal(size=(b, h, w, 3)).astype(np.float32)


def logits_size(case, h, w):
    stride = 4 if case == "deeplabv3plus" else 1
    return math.ceil(h / stride), math.ceil(w / stride)


@pytest.mark.parametrize("size", [(1, 1), (7, 5)])
@pytest.mark.parametrize("case", CASES)
def test_any_size(case, size):
    result = run(case, pictures(1, *size))  # one image: batch norm may see one value a channel
    for logits in result["logits"]:
        assert logits.shape == (1, *logits_size(case, *size), CLASSES)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(result))


@pytest.mark.parametrize("case", CASES)
def test_gradients_and_statistics(case):
    result = run(case, pictures(3, 33, 47))
    for logits in result["logits"]:
        assert logits.shape == (3, *logits_size(case, 33, 47), CLASSES)
    for path, gradient in jax.tree.leaves_with_path(result["gradient"]):
        assert np.isfinite(gradient).all(), jax.tree_util.keystr(path)
        assert np.abs(gradient).max() > 1e-6, jax.tree_util.keystr(path)
    before, trained, evaluated = result["stats"]
    assert bool(jax.tree.leaves(before)) == (case != "fcn32")
    for old, new in zip(jax.tree.leaves(before), jax.tree.leaves(trained), strict=True):
        assert np.all(old != new)
    jax.tree.map(np.testing.assert_array_equal, before, evaluated)


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
def test_encoder_parameters_are_under_encoder(case):
    model = build(case)
    variables = jax.eval_shape(
        lambda: model.init(jax.random.key(0), jnp.ones((1, 8, 8, 3)), train=False)
    )
    assert "encoder" in variables["params"]
    assert model.__class__ is models.build(CASES[case][0], 2, dtype=None, axis_name=None).__class__


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
