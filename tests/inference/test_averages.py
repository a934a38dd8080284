"""Views and windows of an image against the same in NumPy, slowly (conftest.py)."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import inference, losses
from jaxseg.inference.views import PLAIN, Views

SCALES = (0.55, 1.0, 1.7)


def pictures(*shape):
    return jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)


@pytest.fixture
def compare(one_conv, reference, run_compiled):
    """Asserts that views of images, padded from `sizes`, are those of the reference."""

    def run(images, sizes, views, tile_size=0, **options):
        model, variables, apply = one_conv(**options)

        def both(images):
            how = {"tile_size": tile_size, "views": views}
            found = inference.scores(model, variables, images, jnp.asarray(sizes), **how)
            return found, inference.classes(model, variables, images, jnp.asarray(sizes), **how)

        scores, best = run_compiled(both, images)
        for image, size, found, classes in zip(images, sizes, scores, best, strict=True):
            rows, columns = (slice(0, n) for n in size)
            expected = reference(model, apply, image, size, views)[rows, columns]
            np.testing.assert_allclose(found[rows, columns], expected, atol=2e-5)
            top = np.sort(expected, -1)
            clear = top[..., -1] - top[..., -2] > 1e-4
            assert clear.mean() > 0.9
            np.testing.assert_array_equal(classes[rows, columns][clear], expected.argmax(-1)[clear])

    return run


@pytest.mark.parametrize(
    ("corners", "size"), [("half_pixel", (20, 32)), ("aligned", (21, 33)), ("half_pixel", (13, 1))]
)
def test_the_mean_of_scales_and_flips(compare, corners, size):
    """Of odd sizes, padded in a batch: the padding is rescaled apart, and seen."""
    sizes = [size, (max(1, size[0] - 7), max(1, size[1] - 3))]
    views = Views(SCALES, flip=True, temperature=1.5)
    compare(pictures(2, *size, 3), sizes, views, corners=corners)


def test_logits_of_every_pixel_are_added_up(compare):
    """Together they are larger than the sum of their probabilities."""
    compare(pictures(1, 9, 14, 3), [(9, 14)], Views((0.6, 1.0, 2.0), flip=True), stride=1)


@pytest.mark.parametrize("tile_size", [0, 4])
def test_an_unpadded_model_sees_every_view_mirrored_and_no_padding(compare, tile_size):
    views = Views((0.5, 1.3), flip=True)
    images = pictures(3, 12, 15, 3).at[1, 7:].set(jnp.nan).at[1, :, 10:].set(jnp.nan)
    images = images.at[2, 1:].set(jnp.nan)
    sizes = [(12, 15), (7, 10), (1, 15)]
    compare(images, sizes, views, tile_size, stride=1, context=1)


@pytest.mark.parametrize(
    ("size", "window", "overlap", "kind", "scales", "corners"),
    [
        ((20, 33), (8, 12), 0.5, "flat", (1.0,), "half_pixel"),
        ((20, 33), (12, 12), 0.25, "gaussian", (0.5, 1.0, 1.7), "half_pixel"),
        ((21, 33), (9, 13), 0.6, "gaussian", (0.5, 1.25), "aligned"),
        ((30, 1), (8, 8), 0.0, "flat", (1.0, 2.0), "half_pixel"),
        ((12, 40), (16, 16), 0.5, "gaussian", (1.0,), "half_pixel"),  # lower than a window
    ],
)
def test_windows(compare, size, window, overlap, kind, scales, corners):
    views = Views(scales, True, window, overlap, kind, temperature=0.7)
    compare(pictures(1, *size, 3), [size], views, corners=corners)


def test_windows_of_a_model_at_full_resolution(compare):
    compare(pictures(1, 11, 14, 3), [(11, 14)], Views(window=(5, 6)), stride=1)


def test_many_classes(compare):
    compare(pictures(1, 8, 12, 3), [(8, 12)], Views((0.5, 1.0), True), num_classes=255)


@pytest.mark.parametrize("views", [Views(window=(64, 64)), Views(window=(12, 32)), PLAIN])
def test_one_window_that_covers_the_image_is_plain_evaluation(one_conv, views):
    """Bit for bit, as scale 1 without flip is: the same operations."""
    model, variables, _ = one_conv()
    images, sizes = pictures(1, 12, 32, 3), jnp.asarray([[12, 32]])

    def program(views):
        def run(images):
            how = model, variables, images, sizes
            return inference.scores(*how, views=views), inference.classes(*how, views=views)

        return str(jax.make_jaxpr(run)(images))

    assert program(views) == program(Views())
    assert program(dataclasses.replace(views, flip=True)) != program(Views())


@pytest.mark.parametrize("scales", [(0.5, 1.0), (0.5, 2.0)])
@pytest.mark.parametrize("context", [0, 1])
def test_losses_are_those_of_the_plain_image(one_conv, scales, context, run_compiled):
    model, variables, _ = one_conv(stride=1 if context else 4, context=context)
    loss = losses.build(losses.defaults(), num_classes=3, void=255)
    images, sizes = pictures(2, 9, 14, 3), jnp.asarray([[9, 14], [5, 14]])
    labels = np.random.default_rng(1).integers(0, 3, (2, 9, 14)).astype(np.int32)
    labels[1, 5:] = 255

    def both(images, labels):
        how = model, variables, images, sizes, labels, loss
        views = Views(scales, flip=True, temperature=3.0)
        return (
            inference.classes_and_losses(*how, views=views, with_confidence=True),
            inference.classes_and_losses(*how)[1],
            inference.scores(*how[:4], views=views),
        )

    (best, averaged, sure), plain, scores = run_compiled(both, images, jnp.asarray(labels))
    np.testing.assert_allclose(averaged["cross_entropy"], plain["cross_entropy"], rtol=1e-6)
    np.testing.assert_array_equal(best, scores.argmax(-1))
    np.testing.assert_allclose(sure, scores.max(-1), rtol=1e-5)


def test_the_plain_pass_is_not_computed_twice(one_conv):
    """Four passes for two scales and flips; a fifth where scale 1 is not among them."""
    model, variables, _ = one_conv()
    loss = losses.build(losses.defaults(), num_classes=3, void=255)
    images, labels = pictures(1, 8, 8, 3), jnp.zeros((1, 8, 8), jnp.int32)

    def passes(scales):
        def run(images):
            how = model, variables, images, jnp.asarray([[8, 8]]), labels, loss
            return inference.classes_and_losses(*how, views=Views(scales, flip=True))

        return str(jax.make_jaxpr(run)(images)).count("conv_general_dilated[")

    assert passes((1.0, 0.5)) == passes((0.5, 1.0)) == 4
    assert passes((0.5, 2.0)) == 5


def test_with_windows_there_is_no_loss(one_conv, run_compiled):
    """Even where one window covers this image: others of the split may be larger."""
    model, variables, _ = one_conv()
    loss = losses.build(losses.defaults(), num_classes=3, void=255)
    labels = jnp.zeros((1, 8, 8), jnp.int32)

    def run(images):
        how = model, variables, images, jnp.asarray([[8, 8]]), labels, loss
        return [
            (
                *inference.classes_and_losses(*how, views=views, with_confidence=True),
                inference.scores(*how[:4], views=views),
            )
            for views in (Views(window=(16, 16), temperature=2.5), Views(window=(6, 6)))
        ]

    for best, sums, sure, scores in run_compiled(run, pictures(1, 8, 8, 3)):
        assert not np.any(sums["cross_entropy"])
        np.testing.assert_array_equal(best, scores.argmax(-1))
        np.testing.assert_allclose(sure, scores.max(-1), rtol=1e-5)
    assert loss.split_value({name: np.asarray(x) for name, x in sums.items()})["loss"] is None


def test_temperature_divides_logits(one_conv, run_compiled):
    model, variables, _ = one_conv()
    images, sizes = pictures(1, 8, 8, 3), jnp.asarray([[8, 8]])

    def run(images):
        how = model, variables, images, sizes
        scores = inference.scores(*how, views=Views(temperature=2.0))
        return scores, inference.logits(*how)

    scores, logits = run_compiled(run, images)
    expected = np.exp(logits / 2) / np.exp(logits / 2).sum(-1, keepdims=True)
    np.testing.assert_allclose(scores, expected, atol=1e-6)
