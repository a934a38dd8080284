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


def three_steps(config, gradients):
    tx = optimizers.optimizer(check_config(config))
    params, opt_state = PARAMS, tx.init(PARAMS)
    for gradient in gradients:
        updates, opt_state = tx.update(gradient, opt_state, params)
        params = jax.tree.map(jnp.add, params, updates)
    return jax.tree.map(np.asarray, params)


@pytest.fixture
def gradients():
    rng = np.random.default_rng(0)
    return [
        jax.tree.map(lambda p: jnp.asarray(rng.normal(size=p.shape), jnp.float32), PARAMS)
        for _ in range(3)
    ]


def by_leaf(tree):
    flat, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path): np.asarray(leaf, np.float64) for path, leaf in flat}


def by_hand(config, gradients, update):
    """`update(memory, gradient, parameter)` in float64, with clipping, decay and rates."""
    params, memory = by_leaf(PARAMS), {name: {} for name in by_leaf(PARAMS)}
    for gradient in map(by_leaf, gradients):
        norm = np.sqrt(sum((g**2).sum() for g in gradient.values()))
        clip = min(1.0, config.optimizer.grad_clip_norm / norm)
        for name, p in params.items():
            decay = config.optimizer.weight_decay if "kernel" in name else 0.0
            rate = config.schedule.learning_rate * (0.5 if "encoder" in name else 1.0)
            params[name] = p - rate * update(memory[name], clip * gradient[name], decay, p)
    return params


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_three_steps_are_those_of_numpy(config, gradients, name):
    config.optimizer.update(
        name=name, weight_decay=0.1, grad_clip_norm=0.7, encoder_lr_multiplier=0.5, momentum=0.9
    )

    def sgd(memory, g, decay, p):
        memory["velocity"] = 0.9 * memory.get("velocity", 0.0) + g + decay * p
        return memory["velocity"]

    def adamw(memory, g, decay, p):
        t = memory["t"] = memory.get("t", 0) + 1
        m = memory["m"] = 0.9 * memory.get("m", 0.0) + 0.1 * g
        v = memory["v"] = 0.999 * memory.get("v", 0.0) + 0.001 * g**2
        return m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8) + decay * p

    want = by_hand(config, gradients, {"sgd": sgd, "adamw": adamw}[name])
    got = by_leaf(three_steps(config, gradients))
    for path, value in want.items():
        np.testing.assert_allclose(got[path], value, rtol=2e-5, atol=1e-6)
