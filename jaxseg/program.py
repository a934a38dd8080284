"""From a config to the pieces that run: the model, its optimizer, and the compiled steps."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from ml_collections import ConfigDict

from jaxseg import models, optimizers, parallel, state, steps, tiles
from jaxseg.data.source import Classes
from jaxseg.errors import UserError, suggest
from jaxseg.losses.cross_entropy import cross_entropy
from jaxseg.ops import catalogue, lowering
from jaxseg.ops.norm import GLOBAL, POLICIES
from jaxseg.parallel import Announce, Announced

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


@dataclasses.dataclass(frozen=True)
class Program:
    """What training, evaluation and prediction share."""

    model: nn.Module
    init_state: Callable[[], state.TrainState]
    schedule: Callable[[int], Any]  # the learning rate by step
    parallel: parallel.Parallel
    train_step: Announced  # (state, batch) -> (state, numbers)
    eval_step: Callable[[Any, Any], jax.Array]
    predict_step: Callable[[Any, Any], jax.Array]


def build_program(config: ConfigDict, classes: Classes, announce: Announce) -> Program:
    """Bind the pure steps to everything the config fixes, and compile them for this machine.

    Raises:
      UserError: a name or number of the config is wrong.
    """
    for key, known in (("dtype", DTYPES), ("batch_norm", POLICIES)):
        if config[key] not in known:
            raise UserError(f"config.{key} is {config[key]!r}; {suggest(config[key], known)}")
    num_classes, weights = len(classes.names), tuple(config.loss.class_weights)
    if weights and len(weights) != num_classes:
        raise UserError(
            f"config.loss.class_weights has {len(weights)} numbers for {num_classes} classes: "
            "give one a class (`jaxseg data stats` prints them), or ()"
        )
    way = parallel.create(config.parallel, fsdp=config.fsdp)
    options = config.model.to_dict()
    name = options.pop("name")
    model = models.build(
        name,
        num_classes,
        dtype=DTYPES[config.dtype],
        statistics=way.statistics(config.batch_norm),
        remat=config.remat,
        **options,
    )
    catalogue.check(config.lowerings.to_dict())
    lowered = _with_lowerings(config, way)
    steps.check(model)
    tiles.check(model, tuple(config.augment.crop_size), config.eval.tile_size)
    tx = optimizers.optimizer(config)
    normalize = functools.partial(
        steps.normalize, mean=tuple(config.dataset.mean), std=tuple(config.dataset.std)
    )
    train_step = functools.partial(
        steps.train_step,
        model=model,
        tx=tx,
        loss=functools.partial(
            cross_entropy,
            void=classes.void,
            class_weights=weights,
            label_smoothing=config.loss.label_smoothing,
        ),
        aux_weight=config.loss.aux_weight,
        normalize=normalize,
        ema_decay=config.ema_decay,
        seed=config.seed,
        grad_accum_steps=config.grad_accum_steps,
    )
    apply = {
        "model": model.clone(statistics=GLOBAL),
        "normalize": normalize,
        "tile_size": config.eval.tile_size,
    }
    eval_step = functools.partial(
        steps.eval_step, **apply, num_classes=num_classes, void=classes.void
    )
    init_state = functools.partial(
        state.create,
        model,
        tx,
        seed=config.seed,
        image_size=tuple(config.augment.crop_size),
        ema=config.ema_decay > 0,
    )
    announced = functools.partial(Announced, announce=announce, deterministic=config.deterministic)
    return Program(
        model=model,
        init_state=jax.jit(init_state, compiler_options=_quick_compile(way.platform)),
        schedule=optimizers.schedule(config),
        parallel=way,
        train_step=announced(way.compile_train(lowered(train_step)), f"{name} training step"),
        eval_step=announced(way.compile_eval(lowered(eval_step)), f"{name} evaluation step"),
        predict_step=announced(
            jax.jit(lowered(functools.partial(steps.predict_step, **apply))), f"{name} prediction"
        ),
    )


def _with_lowerings(config: ConfigDict, way: parallel.Parallel) -> Callable[..., Callable]:
    """Lets a step be traced with the lowerings that the config and the devices ask for."""
    split = config.parallel == "jit" and way.num_devices > 1
    choices = config.lowerings.to_dict()
    if split:
        choices.update({k: v for k, v in lowering.SPLIT.items() if choices[k] == lowering.MEASURED})

    def lowered(step: functools.partial) -> Callable:
        def traced(*args: Any, **kwargs: Any) -> Any:
            with lowering.forced(choices, way.platform):
                return step(*args, **kwargs)

        traced.__name__ = step.func.__name__  # of the program, in the cache and in profiles
        return traced

    return lowered


def _quick_compile(platform: str) -> dict[str, Any] | None:
    """Initialisation runs once: on a CPU, optimising it takes 27 s of 30 for a small U-Net."""
    return {"xla_backend_optimization_level": 1} if platform == "cpu" else None
