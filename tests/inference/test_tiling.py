"""Tiles see the image around them, mirrored where it ends."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.inference import tiling


class Blur:
    """Sums over (2 * context + 1)**2 pixels, on sizes that are multiples of `grid` and one."""

    def __init__(self, context, grid=1):
        self.context, self.grid = context, grid

    def fit(self, size):
        size = max(size, 2 * self.context + 1)
        return -(-(size - 1) // self.grid) * self.grid + 1

    def __call__(self, images):
        assert all(n == self.fit(n) for n in images.shape[1:3])
        k = 2 * self.context + 1
        add: Any = jax.lax.add
        return jax.lax.reduce_window(images, 0.0, add, (1, k, k, 1), (1, 1, 1, 1), "VALID")


def pictures(*shape):
    return jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)


def whole(images):
    """The sizes of images without padding."""
    return jnp.asarray([images.shape[1:3]] * len(images), jnp.int32)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 3), (5, 4), (20, 13), (16, 32)])
@pytest.mark.parametrize(("context", "tile_size"), [(1, 0), (3, 4), (9, 0), (9, 4)])
def test_the_border_is_mirrored_as_numpy_does(size, context, tile_size, run_compiled):
    """However small the image, and however it is cut into tiles."""
    images, model = pictures(2, *size, 3), Blur(context, grid=4)
    pad = ((0, 0), (context, context), (context, context), (0, 0))

    def both(images, mirrored):
        got = tiling.overlap_tile(model, images, whole(images), model, tile_size)
        return got, Blur(context)(mirrored)

    got, expected = run_compiled(both, images, np.pad(images, pad, mode="reflect"))
    assert got.shape == images.shape
    np.testing.assert_allclose(got, expected, atol=1e-3)


@pytest.mark.parametrize(("context", "tile_size"), [(3, 0), (9, 4)])
def test_every_image_is_mirrored_at_its_own_border(context, tile_size, run_compiled):
    """Images of several sizes in a batch, NaN beyond them: nothing of the padding is seen."""
    model, sizes = Blur(context, grid=4), [(5, 12), (1, 1), (11, 7)]
    images = np.full((3, 11, 12, 3), np.nan, np.float32)
    for image, (h, w) in zip(images, sizes, strict=True):
        image[:h, :w] = pictures(h, w, 3)
    pad = ((context, context), (context, context), (0, 0))
    parts = [image[:h, :w] for image, (h, w) in zip(images, sizes, strict=True)]
    mirrored = [np.pad(part, pad, mode="reflect")[None] for part in parts]

    def both(images, mirrored):
        got = tiling.overlap_tile(model, images, jnp.asarray(sizes), model, tile_size)
        return got, [Blur(context)(one)[0] for one in mirrored]

    for one, expected in zip(*run_compiled(both, images, mirrored), strict=True):
        h, w, _ = expected.shape
        np.testing.assert_allclose(one[:h, :w], expected, atol=1e-3)


def test_output_without_channels_and_of_another_type(run_compiled):
    images, model = pictures(2, 9, 7, 3), Blur(2)

    def both(images):
        sizes = whole(images)
        got = tiling.overlap_tile(lambda x: model(x).argmax(-1), images, sizes, model, 4)
        return got, tiling.overlap_tile(model, images, sizes, model).argmax(-1)

    np.testing.assert_array_equal(*run_compiled(both, images))
