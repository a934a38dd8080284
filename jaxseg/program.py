"""From a config to the pieces that run: the model, its optimizer, and the compiled steps."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg import (
    evaluators,
    inference,
    losses,
    memory,
    models,
    optimizers,
    parallel,
    state,
    steps,
)
from jaxseg.compilation import Announce, Announced
from jaxseg.data.source import Classes
from jaxseg.defaults import Config
from jaxseg.evaluators import Evaluator
from jaxseg.losses import WeightedSum
from jaxseg.models.contract import SegmentationModel
from jaxseg.ops import catalogue, lowering
from jaxseg.ops.norm import GLOBAL, Statistics

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


@dataclasses.dataclass(frozen=True)
class Program:
    """What training, evaluation and prediction share."""

    model: SegmentationModel
    init_state: Callable[[], state.TrainState]
    state_shapes: Callable[[], state.TrainState]  # of what `init_state` gives
    schedule: Callable[[int], Any]  # the learning rate by step
    parallel: parallel.Parallel
    evaluators: Mapping[str, Evaluator]
    loss: WeightedSum
    train_step: Announced  # (state, batch) -> (state, numbers)
    eval_step: Callable[[Any, Any], Any]  # (variables, batch) -> sums, see `steps.eval_step`
    evaluating: Callable[
        [Mapping[str, Evaluator], WeightedSum], Callable[[Any, Any], Any]
    ]  # others
    predict_step: Callable[[Any, Any], jax.Array]  # (variables, batch) -> the class of every pixel
    scores_step: Callable[[Any, Any], tuple[jax.Array, jax.Array]]  # and every class's probability
    logits: Callable[[Any, Any], jax.Array]  # (variables, images in 0..255), not compiled


def build_program(
    config: Config, classes: Classes, announce: Announce, *, cached: int = 0
) -> Program:
    """Bind the pure steps to everything the config fixes, and compile them for this machine.

    Args:
      config: what it says.
      classes: of the data.
      announce: is told what compiles, and how much memory it needs.
      cached: bytes of examples that training will keep in memory.

    Raises:
      UserError: a name or number of the config is wrong.
    """
    num_classes = len(classes)
    check_parts(config)
    loss = losses.build(config.loss.terms, num_classes=num_classes, void=classes.void)
    scorers = evaluators.build(config.evals, classes)
    devices = parallel.create(config.parallel, fsdp=config.fsdp)
    name = config.model.name
    model = build_model(config, num_classes, devices.statistics(config.batch_norm))
    lowered = _with_lowerings(config, devices)
    tx = optimizers.optimizer(config)
    normalize = functools.partial(steps.normalize, mean=config.dataset.mean, std=config.dataset.std)
    train_step = functools.partial(
        steps.train_step,
        model=model,
        tx=tx,
        loss=loss,
        aux_weight=config.loss.aux_weight,
        normalize=normalize,
        ema_decay=config.ema_decay,
        grad_accum_steps=config.grad_accum_steps,
    )
    apply = {
        "model": model.clone(statistics=GLOBAL),
        "normalize": normalize,
        "tile_size": config.eval.tile_size,
    }
    predict_step = functools.partial(steps.predict_step, **apply)
    scores_step = functools.partial(steps.scores_step, **apply)
    init_state = functools.partial(
        state.create,
        model,
        tx,
        image_size=config.augment.crop_size,
        ema=config.ema_decay > 0,
    )
    options = xla_options(devices.platform, deterministic=config.deterministic)
    announced = functools.partial(Announced, announce=announce, options=options)

    def evaluating(evaluators: Mapping[str, Evaluator], loss: WeightedSum) -> Announced:
        step = functools.partial(steps.eval_step, **apply, evaluators=evaluators, loss=loss)
        return announced(
            devices.compile_eval(lowered(step)),
            f"{name} evaluation step",
            examine=memory.of_evaluation(config, devices),
        )

    seed = np.uint32(config.seed)  # an argument of what is compiled, so that all seeds share it
    compiled_init = jax.jit(init_state, compiler_options=_quick_compile(devices.platform))
    return Program(
        model=model,
        init_state=functools.partial(compiled_init, seed=seed),
        state_shapes=functools.partial(jax.eval_shape, init_state, seed=seed),
        schedule=optimizers.schedule(config),
        parallel=devices,
        evaluators=scorers,
        loss=loss,
        train_step=announced(
            devices.compile_train(lowered(train_step)),
            f"{name} training step",
            constants=(seed,),
            examine=memory.of_training(config, devices, cached),
        ),
        eval_step=evaluating(scorers, loss),
        evaluating=evaluating,
        predict_step=announced(jax.jit(lowered(predict_step)), f"{name} prediction"),
        scores_step=announced(jax.jit(lowered(scores_step)), f"{name} probabilities"),
        logits=lowered(functools.partial(steps.logits, **apply)),
    )


def check_parts(config: Config) -> None:
    """Raise UserError for what is wrong with a config whatever its data; nothing is computed."""
    catalogue.check(config.lowerings)
    model = build_model(config, num_classes=2, statistics=GLOBAL)
    inference.check(model, config.augment.crop_size, config.eval.tile_size)
    optimizers.optimizer(config)


def build_model(config: Config, num_classes: int, statistics: Statistics) -> SegmentationModel:
    """The module that `config.model` names, with its options."""
    return models.build(
        config.model.name,
        num_classes,
        dtype=DTYPES[config.dtype],
        statistics=statistics,
        remat=config.remat,
        **config.model.options,
    )


def _with_lowerings(config: Config, devices: parallel.Parallel) -> Callable[..., Callable]:
    """Lets a step be traced with the lowerings that the config and the devices ask for."""
    split = config.parallel == "jit" and devices.num_devices > 1
    choices = dict(config.lowerings)
    if split:
        choices.update({k: v for k, v in lowering.SPLIT.items() if choices[k] == lowering.MEASURED})

    def lowered(step: functools.partial) -> Callable:
        def traced(*args: Any, **kwargs: Any) -> Any:
            with lowering.forced(choices, devices.platform):
                return step(*args, **kwargs)

        traced.__name__ = step.func.__name__  # of the program, in the cache and in profiles
        return traced

    return lowered


def xla_options(platform: str, *, deterministic: bool) -> dict[str, Any]:
    """A GPU adds some sums up in the order in which threads finish, unless told not to."""
    fixed = deterministic and platform == "gpu"
    return {"xla_gpu_deterministic_ops": True} if fixed else {}


def _quick_compile(platform: str) -> dict[str, Any] | None:
    """Initialisation runs once: on a CPU, optimising it takes 27 s of 30 for a small U-Net."""
    return {"xla_backend_optimization_level": 1} if platform == "cpu" else None
