"""The optax transformation that a config describes, and its learning-rate schedule."""

from typing import Any

import jax
import optax

from jaxseg.defaults import Config


def schedule(config: Config) -> optax.Schedule:
    """Learning rate by step: linear warm-up from zero, then poly, cosine or constant to the end.

    poly is lr * (1 - t)^power (DeepLabv3, Chen et al. 2017, section 4.1), with t the share done of
    the steps after the warm-up.
    """
    s, warmup = config.schedule, config.schedule.warmup_steps
    rest = max(config.total_steps - warmup, 1)
    shapes = {
        "poly": lambda: optax.polynomial_schedule(s.learning_rate, 0.0, s.power, rest),
        "cosine": lambda: optax.cosine_decay_schedule(s.learning_rate, rest),
        "constant": lambda: optax.constant_schedule(s.learning_rate),
    }
    main = shapes[s.name]()
    if not warmup:
        return main
    return optax.join_schedules(
        [optax.linear_schedule(0.0, s.learning_rate, warmup), main], [warmup]
    )


def optimizer(config: Config) -> optax.GradientTransformation:
    """SGD with momentum or AdamW.

    Weight decay skips biases and norm parameters. SGD adds it to the gradient before the momentum,
    as the papers' solvers do; AdamW subtracts it after (Loshchilov and Hutter 2019).
    """
    o = config.optimizer
    decay = optax.add_decayed_weights(o.weight_decay, mask=kernels)
    cores = {
        "sgd": lambda: (decay, optax.trace(o.momentum)),
        "adamw": lambda: (optax.scale_by_adam(*o.betas), decay),
    }
    clip = (optax.clip_by_global_norm(o.grad_clip_norm),) if o.grad_clip_norm else ()
    encoder_rate = ()
    if o.encoder_lr_multiplier != 1.0:
        encoder_rate = (optax.masked(optax.scale(o.encoder_lr_multiplier), encoder),)
    return optax.chain(
        *clip, *cores[o.name](), *encoder_rate, optax.scale_by_learning_rate(schedule(config))
    )


def kernels(params: Any) -> Any:
    """True for convolution kernels, False for biases and the scales of norms."""
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == "kernel", params)


def encoder(params: Any) -> Any:
    """True below the model's top-level key "encoder"."""
    return jax.tree_util.tree_map_with_path(lambda path, _: path[0].key == "encoder", params)
