from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import optimizers
from jaxseg.config import check_config
from jaxseg.errors import UserError


@pytest.fixture
def config(tiny_config):
    tiny_config.total_steps = 100
    tiny_config.schedule.name = "constant"
    tiny_config.schedule.learning_rate = 0.1
    tiny_config.schedule.warmup_steps = 0
    tiny_config.optimizer.name = "sgd"
    tiny_config.optimizer.weight_decay = 0.0
    return tiny_config


PARAMS = {
    "encoder": {"conv": {"kernel": jnp.ones((1, 1, 2, 2))}, "norm": {"scale": jnp.ones(2)}},
    "head": {"kernel": jnp.ones((1, 1, 2, 2)), "bias": jnp.ones(2)},
}


def first_update(config, gradient=0.5):
    tx = optimizers.optimizer(check_config(config))
    gradients = jax.tree.map(lambda p: jnp.full_like(p, gradient), PARAMS)
    updates, _ = tx.update(gradients, tx.init(PARAMS), PARAMS)
    return jax.tree.map(lambda u: float(u.ravel()[0]), updates)


def test_poly_follows_its_formula(config):
    config.schedule.name, config.schedule.power = "poly", 0.9
    rate: Any = optimizers.schedule(check_config(config))
    for step in (0, 25, 99):
        np.testing.assert_allclose(rate(step), 0.1 * (1 - step / 100) ** 0.9, rtol=1e-5)


def test_warmup_is_linear_and_the_rest_ends_at_zero(config):
    config.schedule.warmup_steps = 10
    for name in ("poly", "cosine"):
        config.schedule.name = name
        rate: Any = optimizers.schedule(check_config(config))
        np.testing.assert_allclose([rate(0), rate(5), rate(10)], [0, 0.05, 0.1], rtol=1e-5)
        np.testing.assert_allclose(rate(100), 0, atol=1e-7)


def test_weight_decay_skips_biases_and_norms(config):
    config.optimizer.weight_decay = 1.0
    update = first_update(config, gradient=0.0)
    np.testing.assert_allclose(update["head"]["kernel"], -0.1)
    assert update["head"]["bias"] == update["encoder"]["norm"]["scale"] == 0


def test_adamw_decay_is_decoupled(config):
    config.optimizer.name, config.optimizer.weight_decay = "adamw", 1.0
    update = first_update(config)
    np.testing.assert_allclose(update["head"]["kernel"], -0.1 * (1 + 1.0), rtol=1e-5)
    np.testing.assert_allclose(update["head"]["bias"], -0.1, rtol=1e-5)


def test_encoder_multiplier_scales_the_encoder_alone(config):
    config.optimizer.encoder_lr_multiplier = 0.1
    update = first_update(config)
    np.testing.assert_allclose(update["head"]["kernel"], -0.05)
    np.testing.assert_allclose(update["encoder"]["conv"]["kernel"], -0.005)


def test_clipping_bounds_the_norm_of_all_gradients_together(config):
    config.optimizer.grad_clip_norm = 1.0
    update = first_update(config, gradient=100.0)  # 12 entries
    np.testing.assert_allclose(update["head"]["bias"], -0.1 / np.sqrt(12), rtol=1e-5)


@pytest.mark.parametrize(("part", "name"), [("optimizer", "sdg"), ("schedule", "cosin")])
def test_unknown_names_are_refused_with_a_hint(config, part, name):
    config[part].name = name
    with pytest.raises(UserError, match=r"did you mean '(sgd|cosine)'"):
        optimizers.optimizer(check_config(config))
