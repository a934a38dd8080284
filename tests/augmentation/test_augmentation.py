"""What the device makes of whole images and plans is what the host makes of them."""

import dataclasses
import re

import cv2
import jax
import numpy as np
import optax
import pytest

from jaxseg import augmentation, losses, parallel, state, steps
from jaxseg.config import check_config
from jaxseg.data.palettes import voc_palette
from jaxseg.data.pipeline import canvas_of, train_batches
from jaxseg.data.source import Classes, Example
from jaxseg.errors import UserError
from jaxseg.program import build_program

LEVELS = 1 if int(cv2.__version__.split(".")[0]) >= 5 else 8  # see jaxseg/augmentation
SIZES = [(20, 31), (24, 24), (37, 20), (1, 9), (18, 40), (30, 30), (33, 17), (12, 25)]
COLOURS = {"brightness": 0.5, "contrast": 0.5, "saturation": 0.5, "grey": 0.2}


class Noise:
    """Images without two neighbouring pixels alike: each position that is off shows."""

    classes = Classes(("a", "b", "c"), voc_palette(3))

    def __len__(self):
        return len(SIZES)

    def size(self, index, /):
        return SIZES[index]

    def __getitem__(self, index, /) -> Example:
        rng = np.random.default_rng(index)
        label = rng.integers(0, 3, SIZES[index], np.int32)
        image = rng.integers(0, 256, (*SIZES[index], 3), np.uint8)
        return {"image": image, "label": label, "name": str(index)}


def batches(config, *, context=0, canvas=None, source=None):
    return train_batches(
        source or Noise(), start=0, batch_size=config.batch_size, seed=1, augment=config.augment,
        mean=config.dataset.mean, workers=1, prefetch=1, context=context, canvas=canvas,
    )  # fmt: skip


def with_augment(config, **changes):
    config.augment.update(
        crop_size=(24, 32), scale=(0.5, 2.0), rotate90=True, vertical_flip=True, on_device=True
    )
    config.augment.update(changes)
    return check_config(config)


# Levels that one level more, before a change of colour, makes after it: at most times 1.5 for each
# of three factors, or for gamma the slope at the darkest value.
@pytest.mark.parametrize(
    ("changes", "context", "gain"),
    [
        ({}, 0, 1),
        ({}, 6, 1),
        (COLOURS, 0, 8),
        ({"scale": (1.0, 1.0), "hue": 0.3, "gamma": 0.5, "blur": 1.0}, 0, 6),
        ({"elastic": 3.0}, 6, 1),
        ({"rotate": 45.0, "class_balanced": 0.5, "max_class_share": 0.35}, 0, 1),
    ],
)
def test_the_device_makes_what_the_host_makes(tiny_config, changes, context, gain):
    config = with_augment(tiny_config, **changes)
    augment = augmentation.bind(config, void=255, context=context)
    assert augment is not None
    device = jax.jit(augment)
    differs, mislabelled = [], []
    with (
        batches(config, context=context) as wanted,
        batches(config, context=context, canvas=canvas_of(Noise())) as whole,
    ):
        for _ in range(6):
            want, got = next(wanted), device(next(whole).for_training())
            assert got["image"].dtype == np.uint8
            assert got["label"].dtype == np.int32
            off = np.abs(np.asarray(got["image"]).astype(int) - want.image)
            assert off.max() <= LEVELS * gain
            differs.append((off > 0).mean())
            mislabelled.append((np.asarray(got["label"]) != want.label).mean())
            padding = want.label == 255
            assert padding.any()
            assert (~padding).any()
    assert np.mean(mislabelled) <= (1e-3 if {"elastic", "rotate"} & changes.keys() else 0)
    if LEVELS == 1:
        assert np.mean(differs) < 0.01


def test_devices_and_compilers_augment_alike_and_exchange_nothing(tiny_config):
    config = with_augment(tiny_config, **COLOURS, elastic=3.0)
    augment = augmentation.bind(config, void=255, context=0)
    assert augment is not None
    with batches(config, canvas=canvas_of(Noise())) as whole:
        batch = next(whole).for_training()
    want = jax.jit(augment)(batch)

    by_jit = parallel.Jit(jax.devices())
    placed = by_jit.place(batch)
    program = jax.jit(augment).lower(placed).compile()
    assert not re.search("all-|collective|permute", program.as_text() or "all-")
    by_pmap = parallel.Pmap(jax.devices())
    augmented = jax.pmap(augment)(by_pmap.place(batch))
    for name, array in want.items():
        np.testing.assert_array_equal(by_jit.local(program(placed)[name]), array)
        np.testing.assert_array_equal(by_pmap.local(augmented[name]), array)


def test_a_training_goes_as_if_the_host_had_augmented(tiny_config, one_conv):
    """On several devices and in parts of a batch, too."""
    model, _, _ = one_conv()
    tx = optax.sgd(0.1)
    config = with_augment(tiny_config, **COLOURS, rotate=45.0)

    def train(ways, *, augment=None, parts=1, canvas=None):
        def step(state, batch, *, seed, axis_name=None):
            return steps.train_step(
                state, batch, model=model, tx=tx, seed=seed, axis_name=axis_name, ema_decay=0.0,
                loss=losses.build(losses.defaults(), num_classes=3, void=255), aux_weight=0.0,
                normalize=lambda image: image / 255.0 - 0.5, augment=augment,
                grad_accum_steps=parts,
            )  # fmt: skip

        compiled = ways.compile_train(step)
        now = state.create(model, tx, seed=0, image_size=(24, 32), ema=False)
        now, seen = ways.place_state(now), []
        with batches(config, canvas=canvas) as iterator:
            for _ in range(3):
                arrays = ways.place(next(iterator).for_training())
                now, numbers = compiled(now, arrays, np.uint32(0))
                seen.append(float(numbers["loss"]))
        return seen

    on_device = {
        "augment": augmentation.bind(config, void=255, context=0),
        "canvas": canvas_of(Noise()),
    }
    by_host = train(parallel.Jit(jax.devices()[:1]))
    by_jit = train(parallel.Jit(jax.devices()[:2]), **on_device)
    by_pmap = train(parallel.Pmap(jax.devices()[:2]), **on_device, parts=2)
    assert abs(by_host[0] - by_host[2]) > 1e-3
    np.testing.assert_allclose(by_jit, by_host, rtol=1e-4)
    np.testing.assert_allclose(by_pmap, by_jit, rtol=1e-5)


def test_a_program_augments_in_its_step(tiny_config):
    """Whatever the size of the canvas, the model sees crops."""
    config = with_augment(tiny_config)
    program = build_program(config, Noise.classes, announce=lambda _: None)
    with batches(config, canvas=(64, 50)) as iterator:
        batch = next(iterator).for_training()
    lowered = program.train_step.lower(program.state_shapes(), batch)
    assert "tensor<8x24x32x3xui8>" in lowered.as_text()


def test_what_only_the_host_can_do_is_refused_by_name(tiny_config):
    config = with_augment(tiny_config)
    augmentation.check(config)
    for key in ("cutmix", "copy_paste"):
        changed = dataclasses.replace(config.augment, **{key: 0.5})
        with pytest.raises(UserError, match=rf"config\.augment\.{key} is for augmentation on"):
            augmentation.check(dataclasses.replace(config, augment=changed))
    weighted = dataclasses.replace(config.loss, border_weight=10.0)
    with pytest.raises(UserError, match=r"config\.loss\.border_weight is for augmentation on"):
        augmentation.check(dataclasses.replace(config, loss=weighted))
    deep = dataclasses.replace(config.dataset, bits=16)
    with pytest.raises(UserError, match=r"config\.dataset\.bits=16 is for augmentation on"):
        augmentation.check(dataclasses.replace(config, dataset=deep))
    off = dataclasses.replace(config.augment, on_device=False)
    augmentation.check(dataclasses.replace(config, loss=weighted, augment=off))
