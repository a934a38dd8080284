"""What a step computes, against a model so small that it can be done by hand."""

import dataclasses
import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxseg import evaluators, losses, state, steps
from jaxseg.data.palettes import voc_palette
from jaxseg.data.source import Classes
from jaxseg.models.contract import CoversImage
from jaxseg.ops.norm import GLOBAL, Statistics

VOID, MEAN, STD = 255, (10.0, 20.0, 30.0), (2.0, 4.0, 8.0)


LOSS = losses.build(losses.defaults(), num_classes=3, void=VOID)
EVALUATORS = evaluators.build(("miou",), Classes(("a", "b", "c"), voc_palette(3), VOID))


class Quarter(CoversImage, nn.Module):
    """Scores at a quarter of the size: the mean of 4x4 blocks, times a learned matrix."""

    aux: bool = False
    num_classes: int = 3
    dtype: Any = jnp.float32
    statistics: Statistics = GLOBAL
    remat: bool = False
    corners: str = "half_pixel"

    @nn.compact
    def __call__(self, images, *, train: bool):
        b, h, w, c = images.shape
        blocks = images.reshape(b, h // 4, 4, w // 4, 4, c).mean((2, 4))
        logits = nn.Dense(3, use_bias=False)(blocks)
        return logits, {"aux_logits": logits} if self.aux else {}


class Inner(CoversImage, nn.Module):
    """Scores of all pixels but the outermost: the sum of 3x3, times a learned matrix."""

    num_classes: int = 3
    dtype: Any = jnp.float32
    statistics: Statistics = GLOBAL
    remat: bool = False
    context = 1

    def fit(self, size):
        return max(size, 3)

    @nn.compact
    def __call__(self, images, *, train: bool):
        rows, cols = (n - 2 for n in images.shape[1:3])
        taps = (images[:, i : i + rows, j : j + cols] for i in range(3) for j in range(3))
        return nn.Dense(3, use_bias=False)(sum(taps)), {}


def make(aux=False, lr=1.0, model=None, **options):
    model = model or Quarter(aux)
    tx = optax.sgd(lr)
    fixed = {
        "model": model, "tx": tx, "seed": 0, "ema_decay": 0.0, "aux_weight": 0.0,
        "loss": losses.build(losses.defaults(), num_classes=3, void=VOID),
        "normalize": functools.partial(steps.normalize, mean=MEAN, std=STD),
    }  # fmt: skip
    step: Any = jax.jit(functools.partial(steps.train_step, **{**fixed, **options}))
    first = state.create(model, tx, seed=0, image_size=(8, 8), ema=False)
    return step, first, model


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, (2, 8, 8)).astype(np.int32)
    label[1, 3:] = VOID
    image = rng.integers(0, 255, (2, 8, 8, 3), np.uint8)
    size = jnp.array([[8, 8], [8, 8]], jnp.int32)  # no padding
    return {"image": jnp.asarray(image), "label": jnp.asarray(label), "size": size}


def test_images_are_normalised_by_the_data_sets_statistics():
    pixel = np.array([[[[14, 12, 30]]]], np.uint8)
    out = steps.normalize(jnp.asarray(pixel), mean=MEAN, std=STD)
    np.testing.assert_allclose(out[0, 0, 0], [2.0, -2.0, 0.0])


@pytest.mark.parametrize("corners", ["half_pixel", "aligned"])
def test_the_loss_is_taken_at_the_labels_resolution(batch, corners):
    """Scores are enlarged to the labels, never labels shrunk, by the model's corners."""
    step, first, model = make(model=Quarter(corners=corners))
    _, numbers = step(first, batch)
    normal = (batch["image"] - np.array(MEAN)) / np.array(STD)
    logits, _ = model.apply({"params": first.params}, jnp.float32(normal), train=True)
    large = jax.image.resize(logits, (2, 8, 8, 3), "bilinear", antialias=False)
    if corners == "aligned":  # of 2x2 scores: the four corners
        t = jnp.linspace(0, 1, 8)
        line = jnp.stack([1 - t, t], axis=1)
        large = jnp.einsum("Yy,Xx,byxc->bYXc", line, line, logits)
    predicted = steps.predict_step(
        {"params": first.params},
        batch,
        model=model,
        normalize=functools.partial(steps.normalize, mean=MEAN, std=STD),
    )
    np.testing.assert_array_equal(predicted, large.argmax(-1))
    valid = np.asarray(batch["label"]) != VOID
    picked = jax.nn.log_softmax(large)[valid, np.asarray(batch["label"])[valid]]
    np.testing.assert_allclose(numbers["loss"], -np.mean(picked), rtol=1e-5)


def test_an_auxiliary_head_adds_its_share(batch):
    plain = make()[0](make()[1], batch)[1]["loss"]
    step, first, _ = make(aux=True, aux_weight=0.4)
    np.testing.assert_allclose(step(first, batch)[1]["loss"], 1.4 * plain, rtol=1e-6)


def test_an_auxiliary_head_may_have_losses_of_its_own(batch):
    terms = {"focal": {"weight": 2.0, "gamma": 1.0}, "dice": {"weight": 1.0}}
    own = losses.build_aux(terms, num_classes=3, void=VOID)
    step, first, _ = make(aux=True, aux_weight=0.4, aux_loss=own)
    numbers = step(first, batch)[1]
    same = losses.build(terms, num_classes=3, void=VOID)  # on equal logits
    main = make(loss=same)[0](first, batch)[1]
    plain = make()[0](first, batch)[1]["loss"]
    for name in terms:
        expected = 0.4 * main[f"loss/{name}"]
        np.testing.assert_allclose(numbers[f"loss/aux/{name}"], expected, rtol=1e-5)
    np.testing.assert_allclose(numbers["loss/cross_entropy"], plain, rtol=1e-5)
    np.testing.assert_allclose(numbers["loss"], plain + 0.4 * main["loss"], rtol=1e-5)


def test_weights_of_pixels_reach_the_loss_and_the_auxiliary_one(batch):
    step, first, _ = make(aux=True, aux_weight=0.4)
    plain = step(first, batch)[1]["loss"]
    zero = jnp.zeros(batch["label"].shape)
    np.testing.assert_allclose(step(first, {**batch, "weight": zero})[1]["loss"], plain)
    ones = step(first, {**batch, "weight": zero + 1})[1]["loss"]  # on top of each pixel's own 1
    np.testing.assert_allclose(ones, 2 * plain, rtol=1e-6)


def test_labels_where_there_are_no_logits_do_not_count(batch):
    """The border is context: its labels and weights are left out, in the loss and its count."""
    step, first, model = make(model=Inner())
    weight = jnp.asarray(np.random.default_rng(1).uniform(size=(2, 8, 8)), jnp.float32)
    _, numbers = step(first, {**batch, "weight": weight})
    normal = jnp.float32((batch["image"] - np.array(MEAN)) / np.array(STD))
    logits, _ = model.apply({"params": first.params}, normal, train=True)
    inside = (slice(None), slice(1, 7), slice(1, 7))
    label = np.asarray(batch["label"])[inside]
    valid = label != VOID
    losses_ = -jax.nn.log_softmax(logits)[valid, label[valid]] * (1 + weight[inside][valid])
    np.testing.assert_allclose(numbers["loss"], np.mean(losses_), rtol=1e-5)


@pytest.mark.parametrize("tile_size", [0, 3])
def test_prediction_and_evaluation_see_the_border_mirrored(batch, tile_size):
    _, first, model = make(model=Inner())
    fixed = {
        "model": model,
        "normalize": functools.partial(steps.normalize, mean=MEAN, std=STD),
        "tile_size": tile_size,
    }
    mask = steps.predict_step({"params": first.params}, batch, **fixed)
    pad = ((0, 0), (1, 1), (1, 1), (0, 0))
    mirrored = np.pad(np.asarray(batch["image"]), pad, mode="reflect")
    normal = jnp.float32((mirrored - np.array(MEAN)) / np.array(STD))
    logits, _ = model.apply({"params": first.params}, normal, train=False)
    np.testing.assert_array_equal(mask, logits.argmax(-1))
    sums, loss_sums, _ = steps.eval_step(
        {"params": first.params},
        {**batch, "mask": jnp.array([True, True])},
        evaluators=EVALUATORS,
        loss=LOSS,
        **fixed,
    )
    matrix = sums["miou"]
    valid = np.asarray(batch["label"]) != VOID
    assert matrix.sum() == valid.sum()
    picked = jax.nn.log_softmax(logits)[valid, np.asarray(batch["label"])[valid]]
    expected = [-float(picked.sum()), valid.sum()]
    np.testing.assert_allclose(loss_sums["cross_entropy"], expected, rtol=1e-5)
    assert np.trace(matrix) == np.sum((mask == batch["label"])[valid])


def test_the_update_follows_the_gradient_of_the_loss(batch):
    """By finite differences of the reported loss."""
    step, first, _ = make()
    after, _ = step(first, batch)
    gradient = first.params["Dense_0"]["kernel"] - after.params["Dense_0"]["kernel"]  # rate 1
    assert after.step == 1
    for index in ((0, 0), (2, 1)):
        losses_ = []
        for sign in (1, -1):
            kernel = first.params["Dense_0"]["kernel"].at[index].add(sign * 1e-2)
            moved = dataclasses.replace(first, params={"Dense_0": {"kernel": kernel}})
            losses_.append(float(step(moved, batch)[1]["loss"]))
        slope = (losses_[0] - losses_[1]) / 2e-2
        np.testing.assert_allclose(gradient[index], slope, rtol=2e-2, atol=1e-4)


def test_prediction_has_the_images_size_and_the_best_class(batch):
    _, first, model = make()
    fixed = {"model": model, "normalize": functools.partial(steps.normalize, mean=MEAN, std=STD)}
    mask = steps.predict_step({"params": first.params}, batch, **fixed)
    assert mask.shape == (2, 8, 8)
    normal = jnp.float32((batch["image"] - np.array(MEAN)) / np.array(STD))
    logits, _ = model.apply({"params": first.params}, normal, train=False)
    # A corner pixel lies beyond the outermost centres: it takes its block's own class.
    assert mask[0, 0, 0] == jnp.argmax(logits[0, 0, 0])
    sums, loss_sums, _ = steps.eval_step(
        {"params": first.params},
        {**batch, "mask": jnp.array([True, False])},
        evaluators=EVALUATORS,
        loss=LOSS,
        **fixed,
    )
    matrix = sums["miou"]
    assert matrix.sum() == 64
    agree = np.asarray(mask[0] == batch["label"][0]).sum()
    assert np.trace(matrix) == agree
    # as training's, of the first image alone
    large = jax.image.resize(logits[:1], (1, 8, 8, 3), "bilinear", antialias=False)
    picked = jnp.take_along_axis(jax.nn.log_softmax(large), batch["label"][:1, ..., None], -1)
    np.testing.assert_allclose(loss_sums["cross_entropy"], [-float(picked.sum()), 64], rtol=1e-5)
