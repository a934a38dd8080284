import functools
import operator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import common
from jaxseg import data, experiment, tiles
from jaxseg.errors import UserError
from jaxseg.evaluators import miou
from jaxseg.models.unet import UNet


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
        rows, cols = (n - k + 1 for n in images.shape[1:3])
        taps = (images[:, i : i + rows, j : j + cols] for i in range(k) for j in range(k))
        return functools.reduce(operator.add, taps)


def pictures(*shape):
    return jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 3), (5, 4), (20, 13), (16, 32)])
@pytest.mark.parametrize(("context", "tile_size"), [(1, 0), (3, 4), (9, 0), (9, 4)])
def test_the_border_is_mirrored_as_numpy_does(size, context, tile_size):
    """However small the image, and however it is cut into tiles."""
    images, model = pictures(2, *size, 3), Blur(context, grid=4)
    got = tiles.overlap_tile(model, images, model, tile_size)
    pad = ((0, 0), (context, context), (context, context), (0, 0))
    expected = Blur(context)(np.pad(images, pad, mode="reflect"))
    assert got.shape == images.shape
    np.testing.assert_allclose(got, expected, atol=1e-3)


def test_output_without_channels_and_of_another_type():
    images, model = pictures(2, 9, 7, 3), Blur(2)
    got = tiles.overlap_tile(lambda x: model(x).argmax(-1), images, model, 4)
    np.testing.assert_array_equal(got, tiles.overlap_tile(model, images, model).argmax(-1))


@pytest.fixture(scope="module")
def unet():
    return UNet(3, width=4, depth=2, padding="valid", batch_norm=False)


@pytest.fixture(scope="module")
def logits(unet, random_unet_variables):
    """By tiles of 0, 8, ..., and in one piece of an image large enough."""

    def run(images, tile_size):
        def function(images):
            return unet.apply(random_unet_variables, images, train=False)[0]

        return tiles.overlap_tile(function, images, unet, tile_size)

    return jax.jit(run, static_argnums=1)


@pytest.fixture(scope="module")
def random_unet_variables(unet):
    images = jnp.zeros((1, unet.fit(1), unet.fit(1), 3))
    return jax.jit(lambda: unet.init(jax.random.key(0), images, train=False))()


@pytest.mark.parametrize("size", [(1, 5), (37, 50)])
@pytest.mark.parametrize("tile_size", [8, 16, 64])
def test_tiles_of_a_unet_equal_the_whole(logits, size, tile_size):
    images = pictures(1, *size, 3)
    whole = logits(images, 0)
    assert whole.shape == (1, *size, 3)
    np.testing.assert_allclose(logits(images, tile_size), whole, atol=1e-5)


@pytest.mark.parametrize("tile_size", [0, 12])
def test_the_net_on_a_part_equals_the_same_pixels_of_a_larger_image(
    unet, logits, random_unet_variables, tile_size
):
    """Where it sees real context, away from the mirror, on the same pooling grid."""
    large, lost = pictures(1, 90, 94, 3), unet.context
    predicted = logits(large, tile_size)
    size = unet.fit(60)
    apply = jax.jit(lambda x: unet.apply(random_unet_variables, x, train=False)[0])
    # the extended image begins `lost` before the image
    top, left = (-lost) % unet.grid, (-lost) % unet.grid + 2 * unet.grid
    part = apply(large[:, top : top + size, left : left + size])
    rows, cols = (slice(at + lost, at + size - lost) for at in (top, left))
    assert part.shape[1] == size - 2 * lost >= 16
    np.testing.assert_allclose(part, predicted[:, rows, cols], atol=1e-5)


@pytest.mark.parametrize(
    ("model", "crop_size", "tile_size", "message"),
    [
        ("valid", (572, 500), 0, "crop_size: unet: .* for 500 .*use 492 or 508"),
        ("valid", (572, 572), 100, "tile_size is 100, expected 0 .* or a multiple of 16"),
        ("valid", (572, 572), -16, "tile_size is -16"),
        ("same", (500, 500), 256, "tile_size is 256, but .*padding=valid"),
    ],
)
def test_what_does_not_fit_is_refused(model, crop_size, tile_size, message):
    with pytest.raises(UserError, match=message):
        tiles.check(UNet(2, padding=model), crop_size, tile_size)


def test_what_fits():
    tiles.check(UNet(2, padding="valid"), (572, 572), 384)
    tiles.check(UNet(2), (500, 1), 0)


def test_an_unpadded_net_trains_and_is_evaluated(tiny_config, one_device):
    """The whole way from a config; tiles change no pixel of the confusion matrix."""
    tiny_config.model = common.model_config("unet,width=4,depth=2,padding=valid")
    source = data.load(tiny_config.dataset, "val")
    with pytest.raises(UserError, match=r"crop_size: unet: .* 32x32.*use 44"):
        experiment.build(tiny_config, source.classes, announce=print)
    tiny_config.augment.crop_size = (44, 48)
    matrices = []
    for tile_size in (0, 16):
        tiny_config.eval.tile_size = tile_size
        run = experiment.build(tiny_config, source.classes, announce=print)
        state = run.init_state()
        scores = miou.evaluate(run, tiny_config, state, source)
        matrices.append(np.asarray(scores["confusion"]))
    np.testing.assert_array_equal(*matrices)
    assert matrices[0].sum() == sum((source[i]["label"] != 255).sum() for i in range(7))
    label = np.full((8, 44, 48), 255, np.int32)
    label[:, 20:24, 20:28] = 1  # all that has logits
    batch = {"image": np.zeros((8, 44, 48, 3), np.uint8), "label": label}
    _, numbers = run.train_step(state, run.parallel.place(batch))
    assert numbers["loss"] > 0
    label[:, 20:24, 20:28] = 255
    label[:, :20] = 1  # only what has none
    _, numbers = run.train_step(state, run.parallel.place(batch))
    assert numbers["loss"] == 0
