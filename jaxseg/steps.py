"""The three steps: pure functions of arrays, with no devices in sight.

`parallel.py` compiles them. Under jit the batch is the global one and every sum is global by
itself; under pmap a step sees one device's share and `axis_name` names the axis to add over.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, UInt, UInt32

from jaxseg import inference
from jaxseg.augmentation import Augmenting
from jaxseg.evaluators import Evaluator, OnHost, measure, needs
from jaxseg.inference.views import PLAIN, Views
from jaxseg.losses import WeightedSum
from jaxseg.models.contract import SegmentationModel
from jaxseg.state import TrainState

Normalize = Callable[[Array], Array]


def normalize(
    images: UInt[Array, "b h w c"] | Float[Array, "b h w c"],
    *,
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> Float[Array, "b h w c"]:
    """Zero mean and unit variance by the data set's statistics of each channel, in its units."""
    mean_, std_ = (jnp.asarray(x, jnp.float32).reshape(1, 1, 1, -1) for x in (mean, std))
    return (images.astype(jnp.float32) - mean_) / std_


def train_step(
    state: TrainState,
    batch: Mapping[str, Array],
    *,
    model: SegmentationModel,
    tx: optax.GradientTransformation,
    loss: WeightedSum,
    aux_weight: float,
    normalize: Normalize,
    ema_decay: float,
    seed: int | UInt32[Array, ""],
    aux_loss: WeightedSum | None = None,
    augment: Augmenting | None = None,
    grad_accum_steps: int = 1,
    axis_name: str | None = None,
) -> tuple[TrainState, dict[str, Array]]:
    """One update from `batch`: image uint8 or uint16 [b h w c], label int32 [b h w].

    It may hold "weight", float32 [b h w], U-Net's map, see `losses.Loss.sum`. Where the model has
    no logits for the border of an image, that border is context: its labels do not count. An
    auxiliary head has `aux_loss`, or else `loss`. With `augment`, `batch` holds what makes all of
    that, see `augmentation`.

    With `grad_accum_steps` n, n parts of the batch pass one after the other. Each loss is divided
    by its count in the whole global batch, so the gradients of parts and devices add up to the
    whole batch's, however void falls; losses of the whole batch have no parts, so n must be 1.
    Batch norm sees one part at a time: its running statistics move n times.
    """
    if augment:
        batch = augment(batch)
    inside = _inside(model.context)
    key = jax.random.fold_in(jax.random.key(seed), state.step)
    if axis_name:  # each device its own dropout
        key = jax.random.fold_in(key, jax.lax.axis_index(axis_name))
    # All devices and parts: known from the labels, before anything is computed.
    counts = loss.counts(batch["label"][inside], axis_name)
    if aux_loss:
        counts |= aux_loss.counts(batch["label"][inside], axis_name)

    def part_loss(
        params: Any, batch_stats: Any, part: Mapping[str, Array], key: Array
    ) -> tuple[Array, tuple[dict[str, Array], Any]]:
        labels = part["label"][inside]
        weights = part["weight"][inside] if "weight" in part else None
        (logits, endpoints), updates = model.apply(
            {"params": params, "batch_stats": batch_stats},
            normalize(part["image"]),
            train=True,
            rngs={"dropout": key},
            mutable=["batch_stats"],
        )
        how = {"counts": counts, "corners": model.corners, "axis_name": axis_name}
        terms = loss.terms(logits, labels, weights, **how)
        if "aux_logits" in endpoints:
            aux = (aux_loss or loss).terms(endpoints["aux_logits"], labels, weights, **how)
            for name, term in aux.items():
                terms[name] = terms.get(name, 0.0) + aux_weight * term
        return sum(terms.values(), jnp.float32(0)), (terms, updates.get("batch_stats", {}))

    gradients_of = jax.grad(part_loss, has_aux=True)
    if grad_accum_steps == 1:
        gradients, (terms, batch_stats) = gradients_of(state.params, state.batch_stats, batch, key)
    else:

        def add_part(sums: Any, numbered: tuple[Array, Mapping[str, Array]]) -> tuple[Any, None]:
            number, part = numbered
            so_far, batch_stats = sums
            part_key = jax.random.fold_in(key, number)
            gradients, (terms, batch_stats) = gradients_of(
                state.params, batch_stats, part, part_key
            )
            return (jax.tree.map(jnp.add, so_far, (terms, gradients)), batch_stats), None

        zeros = jax.tree.map(jnp.zeros_like, (counts, state.params))  # terms are named as counts
        parts = jnp.arange(grad_accum_steps), _parts(batch, grad_accum_steps)
        ((terms, gradients), batch_stats), _ = jax.lax.scan(
            add_part, (zeros, state.batch_stats), parts
        )

    terms, gradients = _sum_devices((terms, gradients), axis_name)
    updates, opt_state = tx.update(gradients, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    ema = state.ema
    if ema is not None:
        new = {"params": params, "batch_stats": batch_stats}
        ema = optax.incremental_update(new, ema, 1.0 - ema_decay)
    new_state = TrainState(state.step + 1, params, batch_stats, opt_state, ema)
    numbers = {"loss": sum(terms.values()), "grad_norm": optax.tree.norm(gradients)}
    if len(terms) > 1:
        numbers |= {f"loss/{name}": term for name, term in terms.items()}
    return new_state, numbers


def _parts(batch: Mapping[str, Array], count: int) -> dict[str, Array]:
    """[b, ...] -> [count, b / count, ...]; every device keeps the examples that it has."""
    return {name: x.reshape(-1, count, *x.shape[1:]).swapaxes(0, 1) for name, x in batch.items()}


def eval_step(
    variables: Mapping[str, Any],
    batch: Mapping[str, Array],
    *,
    model: SegmentationModel,
    normalize: Normalize,
    evaluators: Mapping[str, Evaluator],
    loss: WeightedSum,
    tile_size: int = 0,
    views: Views = PLAIN,
    axis_name: str | None = None,
) -> tuple[dict[str, Any], dict[str, Float[Array, "..."]], dict[str, Any]]:
    """The evaluators' sums, every loss's (`WeightedSum.sums`), and what is kept of each image.

    The last is {"rows": [b, k] by evaluator} and, where one measures on the host, "prediction",
    uint16 [b h w] (see `evaluators`). Nothing of it crosses devices.

    All are at the labels' resolution. The batch holds image, label, mask bool [b] and what else
    `predict_step` needs. Evaluators that need scores or confidences find them in it. Scores share
    the prediction's pass through the model, as the compiler sees; confidences are computed in
    bands. The losses are those of training that add up over images, or tiles
    (`WeightedSum.adding_up_over`), without auxiliary heads and without weights of pixels.
    """
    images = normalize(batch["image"])
    labels = jnp.where(batch["mask"][:, None, None], batch["label"], loss.void)
    needed = {key for keys in needs(evaluators).values() for key in keys}
    prediction, losses, confidence = inference.classes_and_losses(
        model,
        variables,
        images,
        batch["size"],
        labels,
        loss,
        tile_size=tile_size,
        views=views,
        with_confidence="confidence" in needed,
    )
    if "scores" in needed:
        scores = inference.scores(
            model, variables, images, batch["size"], tile_size=tile_size, views=views
        )
        batch = {**batch, "scores": scores}
        if not views.is_plain:  # whose loops over windows the compiler does not see to be the same
            prediction, confidence = scores.argmax(-1).astype(jnp.int32), scores.max(-1)
    if confidence is not None:
        batch = {**batch, "confidence": confidence}
    sums, rows = measure(evaluators, prediction, batch)
    kept: dict[str, Any] = {"rows": rows}
    if any(isinstance(each, OnHost) for each in evaluators.values()):
        kept["prediction"] = prediction.astype(jnp.uint16)
    sums, losses = _sum_devices((sums, losses), axis_name)
    return sums, losses, kept


def predict_step(
    variables: Mapping[str, Any],
    batch: Mapping[str, Array],
    *,
    model: SegmentationModel,
    normalize: Normalize,
    tile_size: int = 0,
    views: Views = PLAIN,
) -> Int[Array, "b h w"]:
    """The most likely class of every pixel of `batch["image"]`.

    `batch["size"]`, int32 [b 2], says where images end and padding begins, see `inference.classes`.
    """
    images = normalize(batch["image"])
    return inference.classes(
        model, variables, images, batch["size"], tile_size=tile_size, views=views
    )


def scores_step(
    variables: Mapping[str, Any],
    batch: Mapping[str, Array],
    *,
    model: SegmentationModel,
    normalize: Normalize,
    tile_size: int = 0,
    views: Views = PLAIN,
) -> tuple[Int[Array, "b h w"], Float[Array, "b h w k"]]:
    """The most likely class of every pixel of `batch`, as `predict_step`, and all probabilities."""
    images = normalize(batch["image"])
    scores = inference.scores(
        model, variables, images, batch["size"], tile_size=tile_size, views=views
    )
    return scores.argmax(-1).astype(jnp.int32), scores


def logits(
    variables: Mapping[str, Any],
    images: UInt[Array, "b h w c"] | Float[Array, "b h w c"],
    *,
    model: SegmentationModel,
    normalize: Normalize,
    tile_size: int = 0,
) -> Float[Array, "b h w k"]:
    """The logits of every pixel of images as they are stored, without padding."""
    sizes = jnp.broadcast_to(jnp.asarray(images.shape[1:3], jnp.int32), (images.shape[0], 2))
    return inference.logits(model, variables, normalize(images), sizes, tile_size=tile_size)


def _inside(border: int) -> tuple[slice, ...]:
    """All images, without `border` rows and columns on every side."""
    within = slice(border, -border or None)
    return slice(None), within, within


def _sum_devices(tree: Any, axis_name: str | None) -> Any:
    return jax.lax.psum(tree, axis_name) if axis_name else tree
