"""The share of a pattern's energy, on maps whose spectra are known."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import evaluators, losses, steps
from jaxseg.data.palettes import voc_palette
from jaxseg.data.source import Classes
from jaxseg.evaluators import checkerboard
from jaxseg.models.contract import CoversImage
from jaxseg.ops.norm import GLOBAL, Statistics
from jaxseg.ops.resize import resize

CLASSES = Classes(("a", "b"), voc_palette(2))
SIZE = (192, 256)


def measure(maps, sizes=None, mask=None):
    """The shares of [b, h, w, c] maps, by stride."""
    maps = jnp.asarray(maps, jnp.float32)
    count = len(maps)
    evaluator = checkerboard.Evaluator(CLASSES)
    batch = {
        "scores": maps,
        "size": jnp.asarray(sizes if sizes is not None else [maps.shape[1:3]] * count, jnp.int32),
        "mask": jnp.ones(count, bool) if mask is None else jnp.asarray(mask),
    }
    sums = evaluator.update(jnp.zeros(maps.shape[:3], jnp.int32), batch)
    scores = evaluator.compute(evaluator.init() + np.asarray(sums))
    return {s: scores[f"checkerboard_{s}"] for s in checkerboard.STRIDES}


def noise(height, width, classes=1, seed=0):
    return np.random.default_rng(seed).normal(size=(1, height, width, classes))


def smooth(height, width):
    """A level and slow waves, of 1 to 3 periods in the map."""
    y, x = np.mgrid[:height, :width]
    waves = 3 + np.sin(2 * np.pi * y / height) * np.cos(6 * np.pi * x / width)
    return waves[None, ..., None]


@pytest.mark.parametrize("stride", checkerboard.STRIDES)
@pytest.mark.parametrize("direction", ["rows", "columns", "both"])
def test_a_pattern_of_the_stride_has_all_energy_there(stride, direction):
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    phase = {"rows": y, "columns": x, "both": x + y}[direction]
    shares = measure(np.where(phase % stride == 0, 1.0, 0.0)[None, ..., None])
    for s, share in shares.items():
        if s >= stride:
            np.testing.assert_allclose(share, 1, atol=1e-3)
        else:  # one spike every `stride` pixels has as much energy at each of the frequencies
            np.testing.assert_allclose(share, (s - 1) / (stride - 1), atol=1e-2)


def test_decibels_of_a_share():
    compute = checkerboard.Evaluator(CLASSES).compute
    scores = compute(np.array([100.0, 1.0, 10.0, 0.0]))
    found = [scores[f"checkerboard_{s}_db"] for s in checkerboard.STRIDES]
    assert found == [pytest.approx(-20), pytest.approx(-10), None]
    assert set(compute(np.zeros(4)).values()) == {None}


def test_smooth_maps_have_none():
    for share in measure(smooth(*SIZE)).values():
        assert share < 1e-5


def test_noise_has_its_even_share():
    shares = measure(noise(512, 512, 4))
    for s, share in shares.items():
        np.testing.assert_allclose(share, (1 - 1 / s**2) / 16, rtol=0.05)


@pytest.mark.parametrize("stride", checkerboard.STRIDES)
def test_nearest_leaves_a_pattern_and_bilinear_next_to_none(stride):
    """Of white noise enlarged: its spectrum is the kernel's."""
    kernels = {
        "nearest": np.ones(stride),
        "bilinear": 1 - np.abs(np.arange(-stride, stride) + 0.5) / stride,
    }
    coarse = jnp.asarray(noise(512 // stride, 512 // stride, 8), jnp.float32)
    f = (np.arange(4096) + 0.5) / 4096 - 0.5
    near = np.abs(f - np.round(f * stride) / stride) <= 1 / (8 * stride)
    low = np.abs(f) <= 1 / (8 * stride)
    shares = {}
    for method, kernel in kernels.items():
        waves = np.exp(-2j * np.pi * f[:, None] * np.arange(len(kernel))) @ kernel
        power = np.abs(waves) ** 2
        # the kernel is a product of rows and columns, and so are the sums
        expected = (power[near].sum() ** 2 - power[low].sum() ** 2) / power.sum() ** 2
        shares[method] = measure(resize(coarse, (512, 512), method=method))[stride]
        np.testing.assert_allclose(shares[method], expected, rtol=0.1, atol=1e-4)
    assert shares["nearest"] > 10 * shares["bilinear"]


def test_a_level_does_not_count():
    maps = noise(*SIZE, 2)
    assert measure(maps) == pytest.approx(measure(maps + 100), rel=1e-3)
    assert measure(np.ones((1, 32, 32, 1))) == dict.fromkeys(checkerboard.STRIDES)


def test_padding_and_masked_images_do_not_count():
    y, x = np.mgrid[:256, :320]
    pattern = np.where((x + y) % 2 == 0, 100.0, 0.0)
    padded = np.broadcast_to(pattern[..., None], (2, 256, 320, 1)).copy()
    padded[0, : SIZE[0], : SIZE[1]] = noise(*SIZE)
    shares = measure(padded, [SIZE, (256, 320)], [True, False])
    alone = measure(padded[:1, : SIZE[0], : SIZE[1]])
    assert shares == pytest.approx(alone, rel=2e-3)


class FirstChannels(CoversImage, nn.Module):
    """A model of two classes whose scores are the image's first two channels."""

    num_classes: int = 2
    dtype: Any = jnp.float32
    statistics: Statistics = GLOBAL
    remat: bool = False

    @nn.compact
    def __call__(self, images, *, train):
        return images[..., :2], {}


def test_the_step_computes_scores_only_for_those_who_ask():
    """And the same sums on one device and on several, by jit and by pmap."""
    rng = np.random.default_rng(0)
    batch = {
        "image": rng.integers(0, 4, (4, 32, 48, 3)).astype(np.uint8),
        "label": rng.integers(0, 2, (4, 32, 48)).astype(np.int32),
        "mask": np.array([True, True, True, False]),
        "size": np.array([[32, 48], [30, 40], [16, 16], [32, 48]], np.int32),
    }

    def step(names, axis_name=None):
        def run(batch):
            return steps.eval_step(
                {},
                batch,
                model=FirstChannels(),
                normalize=lambda images: images.astype(jnp.float32),
                evaluators=evaluators.build(names, CLASSES),
                loss=losses.build(losses.defaults(), num_classes=2, void=255),
                axis_name=axis_name,
            )

        return run

    both = ("miou", "checkerboard")
    # one in the loss, and one in the softmax
    exponentials = [
        str(jax.make_jaxpr(step(names))(batch)).count(" exp ") for names in (("miou",), both)
    ]
    assert exponentials == [1, 2]
    sums, *_ = jax.jit(step(both))(batch)
    split = jax.tree.map(lambda x: x.reshape(2, 2, *x.shape[1:]), batch)
    on_two, *_ = jax.pmap(step(both, "batch"), "batch", out_axes=(None, None, 0))(split)
    np.testing.assert_array_equal(sums["miou"], on_two["miou"])
    np.testing.assert_allclose(sums["checkerboard"], on_two["checkerboard"], rtol=1e-5)
    softmax = jax.nn.softmax(jnp.float32(batch["image"][..., :2]))
    one_by_one = [measure(softmax[i : i + 1], batch["size"][i : i + 1]) for i in range(3)]
    total, *near = sums["checkerboard"]
    for energy, stride in zip(near, checkerboard.STRIDES, strict=True):
        found = [shares_[stride] for shares_ in one_by_one]
        assert min(found) <= energy / total <= max(found)
