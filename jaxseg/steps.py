"""The three steps: pure functions of arrays, with no devices in sight.

`parallel.py` compiles them. Under jit the batch is the global one and every sum is global by
itself; under pmap a step sees one device's share and `axis_name` names the axis to add over.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jaxtyping import Array, Float, Int, UInt8

from jaxseg import metrics
from jaxseg.ops import resize
from jaxseg.state import TrainState

Loss = Callable[[Array, Array], tuple[Array, Array]]  # (logits, labels) -> (sum, count)
Normalize = Callable[[Array], Array]


def normalize(
    images: UInt8[Array, "b h w 3"], *, mean: tuple[float, ...], std: tuple[float, ...]
) -> Float[Array, "b h w 3"]:
    """Zero mean and unit variance by the data set's RGB statistics, in 0..255."""
    return (images.astype(jnp.float32) - jnp.asarray(mean).reshape(1, 1, 1, 3)) / jnp.asarray(
        std
    ).reshape(1, 1, 1, 3)


def train_step(
    state: TrainState,
    batch: Mapping[str, Array],
    *,
    model: nn.Module,
    tx: optax.GradientTransformation,
    loss: Loss,
    aux_weight: float,
    normalize: Normalize,
    ema_decay: float,
    seed: int,
    axis_name: str | None = None,
) -> tuple[TrainState, dict[str, Array]]:
    """One update from `batch` (image uint8 [b h w 3], label int32 [b h w])."""
    key = jax.random.fold_in(jax.random.key(seed), state.step)
    if axis_name:  # each device its own dropout
        key = jax.random.fold_in(key, jax.lax.axis_index(axis_name))

    def loss_fn(params: Any) -> tuple[Array, Any]:
        (logits, endpoints), updates = model.apply(
            {"params": params, "batch_stats": state.batch_stats},
            normalize(batch["image"]),
            train=True,
            rngs={"dropout": key},
            mutable=["batch_stats"],
        )
        total, count = loss(_at_label_size(logits, batch["label"]), batch["label"])
        if "aux_logits" in endpoints:
            aux = _at_label_size(endpoints["aux_logits"], batch["label"])
            total = total + aux_weight * loss(aux, batch["label"])[0]
        # Count over all devices first, divide last; an all-void batch gives zero, not NaN.
        share = total / jnp.maximum(_sum_devices(count, axis_name), 1.0)
        return share, updates.get("batch_stats", {})

    (value, batch_stats), gradients = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
    value, gradients = _sum_devices((value, gradients), axis_name)
    updates, opt_state = tx.update(gradients, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    ema = state.ema
    if ema is not None:
        new = {"params": params, "batch_stats": batch_stats}
        ema = optax.incremental_update(new, ema, 1.0 - ema_decay)
    new_state = TrainState(state.step + 1, params, batch_stats, opt_state, ema)
    return new_state, {"loss": value, "grad_norm": optax.tree.norm(gradients)}


def eval_step(
    variables: Mapping[str, Any],
    batch: Mapping[str, Array],
    *,
    model: nn.Module,
    normalize: Normalize,
    num_classes: int,
    void: int,
    axis_name: str | None = None,
) -> Int[Array, "c c"]:
    """The confusion matrix of `batch` (image, label, mask bool [b]) at the labels' resolution."""
    prediction = predict_step(variables, batch, model=model, normalize=normalize)
    matrix = metrics.confusion_matrix(
        prediction, batch["label"], batch["mask"], num_classes=num_classes, void=void
    )
    return _sum_devices(matrix, axis_name)


def predict_step(
    variables: Mapping[str, Any],
    batch: Mapping[str, Array],
    *,
    model: nn.Module,
    normalize: Normalize,
) -> Int[Array, "b h w"]:
    """The most likely class of every pixel of `batch["image"]`."""
    logits, _ = model.apply(variables, normalize(batch["image"]), train=False)
    return jnp.argmax(_at_label_size(logits, batch["image"]), axis=-1).astype(jnp.int32)


def _at_label_size(logits: Array, like: Array) -> Array:
    """Logits at the head's stride -> at the size of `like`, half-pixel bilinear."""
    height, width = like.shape[1:3]
    if logits.shape[1:3] == (height, width):
        return logits
    return resize.resize(logits, (height, width), "half_pixel")


def _sum_devices(tree: Any, axis_name: str | None) -> Any:
    return jax.lax.psum(tree, axis_name) if axis_name else tree
