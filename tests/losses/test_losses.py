"""Losses are combined exactly, on any number of devices and parts of a batch."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from jaxseg import losses, state, steps
from jaxseg.errors import UserError
from jaxseg.losses import WeightedSum
from jaxseg.losses.cross_entropy import Loss as CrossEntropy
from jaxseg.losses.dice import Loss as Dice
from jaxseg.losses.focal import Loss as Focal
from jaxseg.losses.lovasz import Loss as Lovasz
from jaxseg.losses.ohem import Loss as Ohem
from jaxseg.losses.tversky import Loss as Tversky
from jaxseg.models.contract import CoversImage
from jaxseg.ops.norm import GLOBAL, Statistics

VOID = 255


@dataclasses.dataclass(frozen=True)
class RareError:
    """The squared score of class 0 where the truth is class 1, a mean over these pixels alone."""

    unit = "pixel"

    def check(self, num_classes):
        pass

    def count(self, labels, *, void):
        return (labels == 1).sum(dtype=jnp.float32)

    def sum(self, logits, labels, weights=None, *, void, corners, axis_name=None):
        return jnp.where(labels == 1, logits[..., 0] ** 2, 0.0).sum()


class Linear(CoversImage, nn.Module):
    num_classes: int = 2
    dtype: type = jnp.float32
    statistics: Statistics = GLOBAL
    remat: bool = False

    @nn.compact
    def __call__(self, images, *, train: bool):
        logits = nn.Dense(2, use_bias=False)(images)
        return logits, {"aux_logits": 2 * logits}


LOSS = WeightedSum({"cross_entropy": (1.0, CrossEntropy()), "rare": (3.0, RareError())}, VOID)


@pytest.fixture
def batch():
    """Void and class 1 fall very unevenly on four images."""
    rng = np.random.default_rng(0)
    label = (rng.random((4, 4, 4)) < np.array([0.0, 0.1, 0.5, 0.9])[:, None, None]).astype(np.int32)
    label[rng.random(label.shape) < np.array([0.9, 0.1, 0.3, 0.0])[:, None, None]] = VOID
    assert len({(row == 1).sum() for row in label}) > 2
    return {"image": jnp.asarray(rng.normal(size=(4, 4, 4, 3)), jnp.float32), "label": label}


def expected(params, batch):
    """From the definition: weighted means over the whole batch, the auxiliary head's added."""
    label = jnp.asarray(batch["label"])

    def total(params):
        logits = batch["image"] @ params["Dense_0"]["kernel"]

        def terms(logits):
            picked = jnp.take_along_axis(jax.nn.log_softmax(logits), (label % 2)[..., None], -1)[
                ..., 0
            ]
            valid, rare = label != VOID, label == 1
            return -jnp.where(valid, picked, 0).sum() / valid.sum() + 3 * (
                jnp.where(rare, logits[..., 0] ** 2, 0).sum() / rare.sum()
            )

        return terms(logits) + 0.4 * terms(2 * logits)

    return jax.value_and_grad(total)(params)


def train(batch, *, devices, parts, loss=LOSS, aux_loss=None):
    tx = optax.sgd(1.0)
    step = functools.partial(
        steps.train_step, model=Linear(), tx=tx, loss=loss, aux_loss=aux_loss, aux_weight=0.4,
        normalize=lambda x: x, ema_decay=0.0, seed=0, grad_accum_steps=parts,
    )  # fmt: skip
    begin = state.create(Linear(), tx, seed=0, image_size=(4, 4), ema=False)
    if devices == 1:
        after, numbers = jax.jit(step)(begin, batch)
    else:
        shares = jax.tree.map(lambda x: x.reshape(devices, -1, *x.shape[1:]), batch)
        compiled = jax.pmap(
            functools.partial(step, axis_name="batch"), "batch", in_axes=(None, 0), out_axes=None,
            devices=jax.devices()[:devices],
        )  # fmt: skip
        after, numbers = compiled(begin, shares)
    gradient = jax.tree.map(jnp.subtract, begin.params, after.params)  # the rate is 1
    return begin.params, gradient, numbers


@pytest.mark.parametrize(("devices", "parts"), [(1, 1), (1, 4), (2, 1), (2, 2), (4, 1)])
def test_losses_with_counts_of_their_own_combine_exactly(batch, devices, parts):
    params, gradient, numbers = train(batch, devices=devices, parts=parts)
    value, exact = expected(params, batch)
    np.testing.assert_allclose(numbers["loss"], value, rtol=1e-5)
    np.testing.assert_allclose(
        gradient["Dense_0"]["kernel"], exact["Dense_0"]["kernel"], rtol=1e-4, atol=1e-6
    )
    assert numbers["loss/rare"] + numbers["loss/cross_entropy"] == pytest.approx(numbers["loss"])


IMAGES = WeightedSum({"dice": (1.0, Dice(per_image=True)), "focal": (2.0, Focal())}, VOID)
BATCH = WeightedSum(
    {"lovasz": (0.5, Lovasz()), "ohem": (1.0, Ohem(threshold=0.5)), "dice": (2.0, Dice())}, VOID
)
OF_AUX = WeightedSum({"aux/dice": (1.0, Dice()), "aux/focal": (1.0, Focal())}, VOID)


@pytest.mark.parametrize(
    ("loss", "aux_loss", "devices", "parts"),
    [(IMAGES, None, 2, 2), (BATCH, None, 4, 1), (LOSS, OF_AUX, 2, 1)],
)
def test_losses_of_images_and_batches_are_those_of_one_device(
    batch, loss, aux_loss, devices, parts
):
    """Those of images pass in parts, too."""
    _, exact, want = train(batch, devices=1, parts=1, loss=loss, aux_loss=aux_loss)
    _, gradient, numbers = train(batch, devices=devices, parts=parts, loss=loss, aux_loss=aux_loss)
    assert set(numbers) == set(want)
    for name in want:
        np.testing.assert_allclose(numbers[name], want[name], rtol=1e-5)
    np.testing.assert_allclose(
        gradient["Dense_0"]["kernel"], exact["Dense_0"]["kernel"], rtol=1e-4, atol=1e-6
    )


def test_a_batch_of_void_has_no_loss_and_no_gradient(batch):
    batch["label"][:] = VOID
    _, gradient, numbers = train(batch, devices=1, parts=2)
    assert numbers["loss"] == 0
    assert not np.any(gradient["Dense_0"]["kernel"])


def test_cross_entropy_alone_is_the_default():
    built = losses.build(losses.defaults(), num_classes=3, void=VOID)
    assert built == WeightedSum({"cross_entropy": (1.0, CrossEntropy())}, VOID)
    assert losses.build_aux(losses.defaults(None), num_classes=3, void=VOID) is None


def test_every_loss_keeps_the_protocol():
    """Files of the package that begin with an underscore are no losses."""
    assert {"cross_entropy", "ohem", "lovasz"} < set(losses.names())
    for name in losses.names():
        chosen = losses.build(losses.defaults(name), num_classes=3, void=VOID)
        assert list(chosen.losses) == [name]
        assert isinstance(chosen.losses[name][1], losses.Loss)


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ({"cross_entropi": {"weight": 1.0}}, "no loss: did you mean 'cross_entropy'"),
        ({"cross_entropy": {"weight": 1.0, "smoothing": 0.1}}, "no option 'smoothing'"),
        ({"cross_entropy": {"weight": 0.0}}, "every loss has weight 0"),
        ({"cross_entropy": {"weight": 1.0, "label_smoothing": 2.0}}, "label_smoothing is 2.0"),
        ({"cross_entropy": {"weight": 1.0, "class_weights": (1.0,)}}, "1 numbers for 3 classes"),
        ({"cross_entropy": {"weight": 1.0, "class_weights": (1.0, -1.0, 1.0)}}, "at least 0"),
    ],
)
def test_wrong_losses_are_refused(terms, message):
    with pytest.raises(UserError, match=message):
        losses.build(terms, num_classes=3, void=VOID)


def test_the_loss_of_a_split_is_that_of_all_its_pixels_together(batch):
    """Sums over unequal parts, each loss divided by its own count, weighted as in training."""
    logits = jnp.asarray(np.random.default_rng(1).normal(size=(4, 4, 4, 2)), jnp.float32)
    labels, sums = jnp.asarray(batch["label"]), LOSS.no_sums()
    for part in (slice(0, 1), slice(1, 4)):
        more = LOSS.sums(logits[part], labels[part], corners="half_pixel")
        sums = {name: sums[name] + np.asarray(more[name]) for name in sums}
    counts = LOSS.counts(labels)
    terms = LOSS.terms(logits, labels, None, counts=counts, corners="half_pixel")
    expected = {f"loss/{name}": float(term) for name, term in terms.items()}
    found = LOSS.split_value(sums)
    assert found == pytest.approx({"loss": sum(expected.values()), **expected}, rel=1e-6)


def test_a_split_without_a_valid_pixel_has_no_loss():
    alone = WeightedSum({"cross_entropy": (2.0, CrossEntropy())}, VOID)
    assert alone.split_value(alone.no_sums()) == {"loss": None}
    assert alone.split_value({"cross_entropy": np.array([6.0, 3.0])}) == {"loss": 4.0}
    assert alone.split_value({"cross_entropy": np.array([np.nan, 3.0])}) == {"loss": None}


def test_a_split_has_no_loss_where_a_term_does_not_add_up():
    """Training's sum can't be had then; the other terms can."""
    several = WeightedSum(
        {"cross_entropy": (2.0, CrossEntropy()), "dice": (1.0, Dice(per_image=True))}, VOID
    )
    assert several.adding_up_over("image") == several
    tiled = several.adding_up_over("pixel")
    assert tiled.left_out == ("dice",)
    assert tiled.split_value({"cross_entropy": np.array([6.0, 3.0])}) == {
        "loss": None,
        "loss/cross_entropy": 4.0,
    }
    ohem = WeightedSum({"ohem": (1.0, Ohem())}, VOID).adding_up_over("image")
    assert ohem.split_value(ohem.no_sums()) == {"loss": None}


def test_overlaps_of_a_split_are_those_of_one_batch(batch):
    """Dice of the sums of its parts, where a mean of the parts' Dice would be another number."""
    logits = jnp.asarray(np.random.default_rng(1).normal(size=(4, 4, 4, 2)), jnp.float32)
    labels = jnp.asarray(batch["label"])
    both = WeightedSum({"dice": (2.0, Dice(smooth=1.0)), "tversky": (1.0, Tversky())}, VOID)
    assert both.adding_up_over("pixel") == both
    sums = both.no_sums()
    for part in (slice(0, 1), slice(1, 4)):
        more = both.sums(logits[part], labels[part], corners="half_pixel")
        sums = {name: sums[name] + np.asarray(more[name]) for name in sums}
    terms = both.terms(logits, labels, None, counts=both.counts(labels), corners="half_pixel")
    expected = {f"loss/{name}": float(term) for name, term in terms.items()}
    found = both.split_value(sums)
    assert found == pytest.approx({"loss": sum(expected.values()), **expected}, rel=1e-6)
    void = both.sums(logits, jnp.full_like(labels, VOID), corners="half_pixel")
    nothing = {"loss": None, "loss/dice": None, "loss/tversky": None}
    assert both.split_value({name: np.asarray(each) for name, each in void.items()}) == nothing
