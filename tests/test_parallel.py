"""One pure step, compiled three ways, is one and the same step."""

import functools
import itertools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxseg import data, defaults, evaluation, losses, parallel, state, steps
from jaxseg.compilation import Announced
from jaxseg.config import check_config
from jaxseg.data import pipeline
from jaxseg.errors import UserError
from jaxseg.models import resnet
from jaxseg.models.contract import CoversImage
from jaxseg.ops.norm import GLOBAL, Statistics
from jaxseg.program import build_program, xla_options

MEAN, STD = defaults.Dataset.mean, defaults.Dataset.std
WAYS = {"one device": ("jit", 1), "jit": ("jit", 8), "pmap": ("pmap", 8)}


def build(config, way, monkeypatch):
    kind, devices = WAYS[way] if isinstance(way, str) else way
    make = functools.partial(parallel.create, devices=jax.devices()[:devices])
    monkeypatch.setattr(parallel, "create", make)
    config.parallel = kind
    config = check_config(config)
    source = data.load(config.dataset, "val")
    return build_program(config, source.classes, announce=lambda _: None), source


def uneven_batches(config):
    """Void falls unevenly: from none of a device's pixels to all of them."""
    rng = np.random.default_rng(0)
    for _ in range(3):
        image = rng.integers(0, 255, (8, 32, 32, 3), np.uint8)
        label = rng.integers(0, 5, (8, 32, 32)).astype(np.int32)
        for i in range(8):
            label[i, : 32 * i // 7] = 255
        yield {"image": image, "label": label}


def train(config, way, monkeypatch):
    program, _ = build(config, way, monkeypatch)
    state = program.parallel.place_state(program.init_state())
    seen = []
    for batch in uneven_batches(config):
        state, numbers = program.train_step(state, program.parallel.place(batch))
        seen.append(float(numbers["loss"]))
    return jax.device_get(state), seen


@pytest.fixture
def sgd_config(tiny_config):
    # SGD: Adam would blow rounding up, dividing gradients near zero by their own size.
    tiny_config.optimizer.name = "sgd"
    tiny_config.schedule.learning_rate = 0.03
    tiny_config.schedule.warmup_steps = 0
    tiny_config.ema_decay = 0.5
    return tiny_config


def test_devices_and_compilers_give_the_same_training(sgd_config, monkeypatch):
    want, want_losses = train(sgd_config, "one device", monkeypatch)
    assert want_losses[0] != want_losses[1]
    for way in ("jit", "pmap"):
        got, losses = train(sgd_config, way, monkeypatch)
        np.testing.assert_allclose(losses, want_losses, rtol=1e-5)
        assert_same(got, want)


def test_clipped_gradients_and_auxiliary_losses_are_the_same_on_all_devices(
    sgd_config, monkeypatch
):
    *kind, _ = resnet.VARIANTS["resnet18"]
    monkeypatch.setitem(resnet.VARIANTS, "resnet18", (*kind, (1, 1, 1, 1)))  # quick to compile
    sgd_config.model = defaults.model_config(
        "fcn_resnet,backbone=resnet18,width_multiplier=0.0625,aux_head=true,dropout=0.0"
    )
    # each device draws its own dropout, and torchvision's auxiliary head has some
    monkeypatch.setattr(nn.Dropout, "__call__", lambda self, x, **_: x)
    sgd_config.optimizer.grad_clip_norm = 0.1
    sgd_config.optimizer.encoder_lr_multiplier = 0.5
    want, want_losses = train(sgd_config, "one device", monkeypatch)
    for way in ("jit", "pmap"):
        got, losses = train(sgd_config, way, monkeypatch)
        np.testing.assert_allclose(losses, want_losses, rtol=1e-5)
        assert_same(got, want)


def assert_same(got, want):
    for part in ("params", "batch_stats", "opt_state", "ema"):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-6),
            getattr(got, part),
            getattr(want, part),
        )


@pytest.mark.parametrize("policy", ["per_device", "frozen"])
def test_statistics_of_batch_norm_mean_the_same_under_both_compilers(
    sgd_config, monkeypatch, policy
):
    sgd_config.batch_norm = policy
    by_jit, losses = train(sgd_config, ("jit", 4), monkeypatch)
    by_pmap, pmap_losses = train(sgd_config, ("pmap", 4), monkeypatch)
    np.testing.assert_allclose(losses, pmap_losses, rtol=1e-5)
    assert_same(by_jit, by_pmap)
    sgd_config.batch_norm = "global"
    by_global, _ = train(sgd_config, ("jit", 4), monkeypatch)
    differences = jax.tree.map(
        lambda a, b: np.abs(a - b).max(), by_jit.batch_stats, by_global.batch_stats
    )
    assert max(jax.tree.leaves(differences)) > 1e-4  # far from rounding
    if policy == "frozen":
        program, _ = build(sgd_config, "one device", monkeypatch)
        fresh = program.init_state()
        jax.tree.map(np.testing.assert_array_equal, by_jit.batch_stats, fresh.batch_stats)
        scale = by_jit.params["encoder"]["level0"]["norm1"]["scale"]
        assert np.abs(scale - 1).max() > 1e-4  # learned all the same


@pytest.mark.parametrize("way", ["one device", ("jit", 2), ("pmap", 2)])
def test_parts_of_a_batch_add_up_to_the_gradient_of_the_whole(sgd_config, monkeypatch, way):
    """Void falls unevenly on the parts; statistics that depend on the part are switched off."""
    sgd_config.batch_norm = "frozen"
    want, want_losses = train(sgd_config, "one device", monkeypatch)
    sgd_config.grad_accum_steps = 4
    got, losses = train(sgd_config, way, monkeypatch)
    np.testing.assert_allclose(losses, want_losses, rtol=1e-5)
    assert_same(got, want)


def test_the_state_is_split_over_devices_and_trains_the_same(sgd_config, monkeypatch):
    monkeypatch.setattr(parallel, "SHARDED_FROM", 512)
    sgd_config.model.width = 8  # most parameters are in arrays that large
    want, want_losses = train(sgd_config, ("jit", 8), monkeypatch)
    sgd_config.fsdp = True
    got, losses = train(sgd_config, ("jit", 8), monkeypatch)
    np.testing.assert_allclose(losses, want_losses, rtol=1e-5)
    assert_same(got, want)
    program, _ = build(sgd_config, ("jit", 8), monkeypatch)
    state = program.parallel.place_state(program.init_state())
    after, _ = program.train_step(state, program.parallel.place(next(uneven_batches(sgd_config))))
    for each in (state, after):
        arrays = jax.tree.leaves((each.params, each.opt_state, each.ema))
        here = sum(array.addressable_shards[0].data.nbytes for array in arrays)
        assert here < sum(array.nbytes for array in arrays) / 3


class Dropped(CoversImage, nn.Module):
    """Remembers what dropout left of ones."""

    num_classes: int = 2
    dtype: Any = jnp.float32
    statistics: Statistics = GLOBAL
    remat: bool = False

    @nn.compact
    def __call__(self, images, *, train):
        bias = self.param("bias", nn.initializers.zeros, (2,), jnp.float32)
        kept = nn.Dropout(0.5, deterministic=not train)(jnp.ones(images.shape[:3]))
        self.variable("batch_stats", "kept", lambda: kept).value = kept
        return kept[..., None] * bias, {}


@pytest.mark.parametrize("parts", [1, 2])
def test_dropout_differs_between_devices_and_between_parts_of_a_batch(parts):
    tx = optax.sgd(0.1)
    step = functools.partial(
        steps.train_step, model=Dropped(), tx=tx, aux_weight=0.0, ema_decay=0.0, seed=0,
        loss=losses.build(losses.defaults(), num_classes=2, void=255), normalize=jnp.asarray,
        grad_accum_steps=parts, axis_name="batch",
    )  # fmt: skip
    share = {"image": jnp.ones((2, 2, 8, 8, 3)), "label": jnp.zeros((2, 2, 8, 8), jnp.int32)}
    begin: Any = state.create(Dropped(), tx, seed=0, image_size=(8, 8), ema=False)
    begin = begin.replace(batch_stats={"kept": jnp.ones((2 // parts, 8, 8))})
    devices = jax.devices()[:2]
    compiled = jax.pmap(step, "batch", in_axes=(None, 0), devices=devices)
    after, _ = compiled(begin, share)
    one, other = after.batch_stats["kept"]
    assert set(np.unique(one)) == {0.0, 2.0}
    assert (one != other).mean() > 0.2
    again, _ = compiled(begin, share)
    np.testing.assert_array_equal(again.batch_stats["kept"], after.batch_stats["kept"])


@pytest.mark.parametrize("way", ["one device", "pmap"])
def test_all_void_batch_gives_zero_loss_and_zero_gradient(sgd_config, monkeypatch, way):
    sgd_config.optimizer.weight_decay = 0.0
    program, _ = build(sgd_config, way, monkeypatch)
    state = program.parallel.place_state(program.init_state())
    batch = next(uneven_batches(sgd_config))
    batch["label"][:] = 255
    after, numbers = program.train_step(state, program.parallel.place(batch))
    assert float(numbers["loss"]) == 0.0
    assert float(numbers["grad_norm"]) == 0.0
    jax.tree.map(np.testing.assert_array_equal, after.params, state.params)


@pytest.mark.parametrize("way", [("jit", 2), ("pmap", 2)])
def test_two_devices_count_seven_examples_as_one_device_does(tiny_config, monkeypatch, way):
    """The tail is padded with examples that count nowhere."""
    tiny_config.eval.batch_size = 2
    results = []
    for each in (("jit", 1), way):
        program, source = build(tiny_config, each, monkeypatch)
        state = program.parallel.place_state(program.init_state())
        results.append(evaluation.evaluate(program, check_config(tiny_config), state, source))
    val_losses = [scores.pop("loss") for scores in results]
    assert results[0] == results[1]
    assert val_losses[0] == pytest.approx(val_losses[1], rel=1e-6)  # a sum in another order
    assert results[0]["examples"] == 7
    labels = [source[i]["label"] for i in range(7)]
    assert np.sum(results[0]["confusion"]) == sum((label != 255).sum() for label in labels)


def test_evaluation_does_not_depend_on_the_batch_size(tiny_config, monkeypatch):
    program, source = build(tiny_config, "one device", monkeypatch)
    state = program.init_state()
    matrices, val_losses = [], []
    for size in (1, 3, 8):
        tiny_config.eval.batch_size = size
        scores = evaluation.evaluate(program, check_config(tiny_config), state, source)
        matrices.append(scores["confusion"])
        val_losses.append(scores["loss"])
    assert matrices[0] == matrices[1] == matrices[2]
    np.testing.assert_allclose(val_losses, val_losses[0], rtol=1e-6)
    # by its definition: over all valid pixels of the split, and not a mean of images' means
    apply = jax.jit(functools.partial(program.model.apply, train=False))
    total = count = 0.0
    for example in (source[i] for i in range(len(source))):
        valid = example["label"] != 255
        image = steps.normalize(jnp.asarray(example["image"][None]), mean=MEAN, std=STD)
        logits, _ = apply(state.eval_variables, image)
        picked = jax.nn.log_softmax(logits[0])[valid, example["label"][valid]]
        total, count = total - float(picked.sum()), count + valid.sum()
    assert val_losses[0] == pytest.approx(total / count, rel=1e-5)


def test_averages_follow_their_definition_and_are_what_evaluation_uses(sgd_config, monkeypatch):
    program, _ = build(sgd_config, "one device", monkeypatch)
    state = program.init_state()
    average = state.params
    for batch in uneven_batches(sgd_config):
        state, _ = program.train_step(state, batch)
        average = jax.tree.map(lambda a, p: 0.5 * a + 0.5 * p, average, state.params)
    got = state.eval_variables["params"]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), got, average)


def test_bfloat16_keeps_parameters_and_statistics_in_float32(sgd_config, monkeypatch):
    sgd_config.dtype = "bfloat16"
    program, _ = build(sgd_config, "one device", monkeypatch)
    state, numbers = program.train_step(program.init_state(), next(uneven_batches(sgd_config)))
    assert numbers["loss"].dtype == jnp.float32
    assert np.isfinite(numbers["loss"])
    leaves = jax.tree.leaves((state.params, state.batch_stats, state.opt_state))
    assert all(leaf.dtype in (jnp.float32, jnp.int32) for leaf in leaves)


def test_bfloat16_learns_as_float32_does(tiny_config, monkeypatch):
    """The same batches of shapes; parameters, statistics, losses and sums are float32 in both."""
    tiny_config.schedule.warmup_steps = 0
    tiny_config.total_steps = 25
    curves = {}
    for dtype in ("float32", "bfloat16"):
        tiny_config.dtype = dtype
        program, source = build(tiny_config, "one device", monkeypatch)
        batches = pipeline.train_batches(
            source, start=0, batch_size=8, seed=0, augment=tiny_config.augment,
            mean=tiny_config.dataset.mean, workers=1, prefetch=1,
        )  # fmt: skip
        now, curves[dtype] = program.parallel.place_state(program.init_state()), []
        with batches:
            for batch in itertools.islice(batches, 25):
                now, numbers = program.train_step(now, program.parallel.place(batch.for_training()))
                curves[dtype].append(float(numbers["loss"]))
    exact, rounded = (np.asarray(curve) for curve in curves.values())
    assert exact[-5:].mean() < 0.7 * exact[0]
    np.testing.assert_allclose(rounded, exact, rtol=0.05)
    assert np.abs(rounded - exact).max() > 1e-4  # it is another precision


def test_batches_come_from_the_pipeline_as_the_step_wants_them(tiny_config, monkeypatch):
    program, source = build(tiny_config, "jit", monkeypatch)
    batches = pipeline.train_batches(
        source, start=0, batch_size=8, seed=0, augment=tiny_config.augment,
        mean=tiny_config.dataset.mean, workers=1, prefetch=1,
    )  # fmt: skip
    with batches:
        batch = next(batches)
    placed: Any = program.parallel.place({"image": batch.image, "label": batch.label})
    assert placed["image"].sharding.num_devices == 8
    assert placed["image"].addressable_shards[0].data.shape == (1, 32, 32, 3)


def test_deterministic_asks_the_compiler_of_a_gpu_for_fixed_sums():
    assert xla_options("cpu", deterministic=True) == {}
    assert xla_options("gpu", deterministic=False) == {}
    options = xla_options("gpu", deterministic=True)
    assert options == {"xla_gpu_deterministic_ops": True}
    step = Announced(jax.jit(lambda state, batch: state), "step", lambda _: None, options=options)
    step(1.0, {"image": jnp.zeros((1, 2))})  # XLA refuses options that it does not know


def test_wrong_choices_are_refused(tiny_config, monkeypatch):
    with pytest.raises(UserError, match="known: jit, pmap"):
        parallel.create("pjit")
    with pytest.raises(UserError, match="multiple of 8"):
        parallel.check_batch_size(12, 8, 1)
    with pytest.raises(UserError, match=r"2 devices in 3 parts .* use a multiple of 6"):
        parallel.check_batch_size(8, 2, 3)
    with pytest.raises(UserError, match=r"pmap can't: use config.parallel=jit"):
        parallel.create("pmap", fsdp=True)
    tiny_config.batch_norm = "sync"
    with pytest.raises(UserError, match=r"config.batch_norm is 'sync'; .* global"):
        build(tiny_config, "jit", monkeypatch)
