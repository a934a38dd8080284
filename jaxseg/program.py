"""From a config to the pieces that run: the model, its optimizer, and the compiled steps."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg import (
    augmentation,
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
from jaxseg.class_weights import with_numbers
from jaxseg.compilation import Announce, Announced
from jaxseg.data.source import Classes
from jaxseg.defaults import Config
from jaxseg.errors import UserError
from jaxseg.evaluators import Evaluator
from jaxseg.inference import windows
from jaxseg.inference.views import Views
from jaxseg.losses import WeightedSum
from jaxseg.models.contract import SegmentationModel
from jaxseg.ops import catalogue, lowering
from jaxseg.ops.norm import GLOBAL, Statistics

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


@dataclasses.dataclass(frozen=True)
class Predicting:
    """The compiled steps of a prediction."""

    predict_step: Callable[[Any, Any], jax.Array]  # (variables, batch) -> the class of every pixel
    scores_step: Callable[[Any, Any], tuple[jax.Array, jax.Array]]  # and every class's probability

    window_step: Callable[[Any, Any], jax.Array]  # see `windows.window_step`


@dataclasses.dataclass(frozen=True)
class Program:
    """What training, evaluation and prediction share."""

    model: SegmentationModel
    init_state: Callable[[], state.TrainState]
    state_shapes: Callable[[], state.TrainState]  # of what `init_state` gives
    schedule: Callable[[int], Any]  # the learning rate by step
    parallel: parallel.Parallel
    evaluators: Mapping[str, Evaluator]
    loss: WeightedSum  # of evaluation: training's that add up over the split
    train_step: Announced  # (state, batch) -> (state, numbers)
    eval_step: Callable[[Any, Any], Any]  # (variables, batch) -> sums, see `steps.eval_step`
    # An `eval_step` of other evaluators and another loss.
    evaluating: Callable[[Mapping[str, Evaluator], WeightedSum], Callable[[Any, Any], Any]]
    predict_step: Callable[[Any, Any], jax.Array]  # see `Predicting`
    scores_step: Callable[[Any, Any], tuple[jax.Array, jax.Array]]
    logits: Callable[[Any, Any], jax.Array]  # (variables, images as stored), not compiled
    views: Views  # of evaluation and prediction
    predicting: Callable[[Views], Predicting]  # the steps of other views


def build_program(
    config: Config,
    classes: Classes,
    announce: Announce,
    *,
    cached: int = 0,
    class_weights: Mapping[str, Sequence[float]] = MappingProxyType({}),
) -> Program:
    """Bind the pure steps to everything the config fixes, and compile them for this machine.

    Args:
      config: what it says.
      classes: of the data.
      announce: is told what compiles, and how much memory it needs.
      cached: bytes of examples that training will keep in memory.
      class_weights: those that losses name, by method, see `class_weights.for_training`.

    Raises:
      UserError: a name or number of the config is wrong.
    """
    num_classes = len(classes)
    check_parts(config)
    terms = with_numbers(config.loss.terms, class_weights, "config.loss")
    aux_terms = with_numbers(config.loss.aux, class_weights, "config.loss.aux")
    loss = losses.build(terms, num_classes=num_classes, void=classes.void)
    aux_loss = losses.build_aux(aux_terms, num_classes=num_classes, void=classes.void)
    scorers = evaluators.build(config.evals, classes)
    devices = parallel.create(config.parallel, fsdp=config.fsdp)
    name = config.model.name
    model = build_model(config, num_classes, devices.statistics(config.batch_norm))
    _check_losses(config, model, loss, aux_loss)
    lowered = _with_lowerings(config, devices)
    tx = optimizers.optimizer(config)
    normalize = functools.partial(steps.normalize, mean=config.dataset.mean, std=config.dataset.std)
    train_step = functools.partial(
        steps.train_step,
        model=model,
        tx=tx,
        loss=loss,
        aux_loss=aux_loss,
        aux_weight=config.loss.aux_weight,
        normalize=normalize,
        ema_decay=config.ema_decay,
        augment=augmentation.bind(config, void=classes.void, context=model.context),
        grad_accum_steps=config.grad_accum_steps,
    )
    apply = {
        "model": model.clone(statistics=GLOBAL),
        "normalize": normalize,
    }
    # tiles are of unpadded models, others see whole images
    tiled = model.context and config.eval.tile_size
    scored = loss.adding_up_over("pixel" if tiled else "image")
    views = Views.from_config(config.eval)
    create_state = functools.partial(
        state.create,
        model,
        tx,
        image_size=config.augment.crop_size,
        channels=config.dataset.channels,
        ema=config.ema_decay > 0,
    )
    options = xla_options(devices.platform, deterministic=config.deterministic)
    announced = functools.partial(Announced, announce=announce, options=options)

    def evaluating(evaluators: Mapping[str, Evaluator], loss: WeightedSum) -> Announced:
        step = functools.partial(
            steps.eval_step,
            **apply,
            tile_size=config.eval.tile_size,
            views=views,
            evaluators=evaluators,
            loss=loss,
        )
        return announced(
            devices.compile_eval(lowered(step)),
            f"{name} evaluation step",
            examine=memory.evaluation_forecast(config, devices),
        )

    @functools.cache
    def predicting(views: Views) -> Predicting:
        whole = {"views": views, "tile_size": config.eval.tile_size}

        def compiled(step: Callable, what: str, **fixed: Any) -> Announced:
            bound = functools.partial(step, **apply, **fixed)
            return announced(jax.jit(lowered(bound)), f"{name} {what}")

        return Predicting(
            predict_step=compiled(steps.predict_step, "prediction", **whole),
            scores_step=compiled(steps.scores_step, "probabilities", **whole),
            window_step=compiled(windows.window_step, "window", views=views),
        )

    seed = np.uint32(config.seed)  # an argument of what is compiled, so that all seeds share it

    def init_state() -> state.TrainState:
        # Needed once. JAX keeps a compiled function's program, 0.13 GB for DeepLabv3+ on
        # MobileNetV2, as long as the function is there: so it is one of this call alone.
        def init_state(seed: Any) -> state.TrainState:
            return create_state(seed=seed)

        return jax.jit(init_state, compiler_options=_quick_compile(devices.platform))(seed)

    return Program(
        model=model,
        init_state=init_state,
        state_shapes=functools.partial(jax.eval_shape, create_state, seed=seed),
        schedule=optimizers.schedule(config),
        parallel=devices,
        evaluators=scorers,
        loss=scored,
        train_step=announced(
            devices.compile_train(lowered(train_step)),
            f"{name} training step",
            constants=(seed,),
            examine=memory.training_forecast(config, devices, cached),
        ),
        eval_step=evaluating(scorers, scored),
        evaluating=evaluating,
        views=views,
        predict_step=predicting(views).predict_step,
        scores_step=predicting(views).scores_step,
        predicting=predicting,
        logits=lowered(functools.partial(steps.logits, **apply, tile_size=config.eval.tile_size)),
    )


def check_parts(config: Config) -> None:
    """Raise UserError for what is wrong with a config whatever its data; nothing is computed."""
    catalogue.check(config.lowerings)
    augmentation.check(config)
    model = build_model(config, num_classes=2, statistics=GLOBAL)
    views = Views.from_config(config.eval)
    inference.check(model, config.augment.crop_size, config.eval.tile_size, views)
    optimizers.optimizer(config)


def _check_losses(
    config: Config, model: SegmentationModel, loss: WeightedSum, aux_loss: WeightedSum | None
) -> None:
    """Raise UserError for losses that the rest of the config has no use for."""
    whole = loss.names_of_whole_batch() + (aux_loss.names_of_whole_batch() if aux_loss else [])
    if whole and config.grad_accum_steps > 1:
        raise UserError(
            f"config.loss.{whole[0].replace('/', '.')} is a function of the whole batch, to which "
            f"the parts of config.grad_accum_steps={config.grad_accum_steps} do not add up: use "
            "grad_accum_steps=1, per_image=True if the loss has it, or another loss"
        )
    if aux_loss and not _has_auxiliary_head(model, config):
        raise UserError(
            f"config.loss.aux gives losses to an auxiliary head, but {config.model.name} has none: "
            "use aux_head=True if the model has that option, or no weights in config.loss.aux"
        )


def _has_auxiliary_head(model: SegmentationModel, config: Config) -> bool:
    shape = (1, *config.augment.crop_size, config.dataset.channels)
    images = jax.ShapeDtypeStruct(shape, jnp.float32)
    init: Any = functools.partial(model.init_with_output, jax.random.key(0), train=False)
    (_, endpoints), _ = jax.eval_shape(init, images)
    return "aux_logits" in endpoints


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
