"""`remat` changes what is kept for the backward pass, and no number."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import models

# Every encoder once, below the smallest head.
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "unet": ("unet", {"width": 4, "depth": 1, "dropout": (0.5,)}),
    "vgg16": ("fcn", {"width_multiplier": 1 / 16, "fc_width": 8, "batch_norm": True}),
    "resnet18": ("classifier", {"width_multiplier": 1 / 16, "output_stride": 16}),
    "mobilenet_v2": ("classifier", {"width_multiplier": 0.1, "output_stride": 16}),
    "xception65": ("classifier", {"width_multiplier": 0.05, "output_stride": 16}),
}


def build(name, remat):
    model, options = MODELS[name]
    if model == "classifier":
        options = {**options, "backbone": name}
    return models.build(model, 3, dtype=jnp.float32, remat=remat, **options)


def loss_of(model, images):
    """(parameters, statistics) -> (a sum over the logits, the moved statistics)."""

    def loss(params, batch_stats):
        (logits, _), updates = model.apply(
            {"params": params, "batch_stats": batch_stats},
            images,
            train=True,
            mutable=["batch_stats"],
            rngs={"dropout": jax.random.key(1)},
        )
        return jnp.sum(jnp.cos(logits)), updates

    return loss


SLOW = [
    pytest.param(name, marks=pytest.mark.slow) for name in ("vgg16", "mobilenet_v2", "xception65")
]


@pytest.mark.parametrize("name", ["unet", "resnet18", *SLOW])
def test_same_numbers(name, random_variables, run_compiled, shallow):
    images = jax.random.normal(jax.random.key(0), (2, 33, 33, 3))
    results, variables = [], None
    for remat in (False, True):
        model = build(name, remat)
        variables = variables or random_variables(model, images)
        step = jax.value_and_grad(loss_of(model, images), has_aux=True)
        results.append(run_compiled(step, variables["params"], variables["batch_stats"]))
    leaves = [jax.tree.leaves(result) for result in results]
    # a bias before a batch norm has a gradient of zero, and rounding
    rounding = 1e-5 * max(np.abs(leaf).max() for leaf in leaves[0])
    for plain, again in zip(*leaves, strict=True):
        np.testing.assert_allclose(again, plain, rtol=1e-4, atol=rounding)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("unet", {"width": 4, "depth": 2}),
        ("fcn", {"width_multiplier": 1 / 4, "fc_width": 8, "batch_norm": True}),
        ("fcn_resnet", {"backbone": "resnet18", "width_multiplier": 1 / 4}),
        ("deeplabv3", {"backbone": "resnet50", "width_multiplier": 1 / 4, "aspp_channels": 8}),
        ("deeplabv3plus", {"backbone": "mobilenet_v2", "width_multiplier": 0.25}),
        ("unet_resnet", {"backbone": "xception65", "width_multiplier": 1 / 4}),
    ],
)
def test_less_is_kept(name, options, random_variables, shallow):
    """What the forward pass hands to the backward pass: the leaves of its closure."""
    images = jnp.zeros((4, 33, 33, 3))
    kept, variables = [], None
    for remat in (False, True):
        model = models.build(name, 3, dtype=jnp.float32, remat=remat, **options)
        variables = variables or random_variables(model, images)

        loss = functools.partial(jax.vjp, loss_of(model, images), has_aux=True)
        _, closure, _ = jax.eval_shape(loss, variables["params"], variables["batch_stats"])
        kept.append(sum(leaf.size for leaf in jax.tree.leaves(closure)))
    assert kept[1] < 0.85 * kept[0], kept
