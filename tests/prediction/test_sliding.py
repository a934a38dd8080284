"""Windows that an image is read for as they slide, against the same in the compiled step."""

import dataclasses
import functools
import tracemalloc
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxseg
from jaxseg import inference, steps
from jaxseg.inference import windows
from jaxseg.inference.views import Views
from jaxseg.prediction import sliding
from jaxseg.prediction.model import SizeWarning
from jaxseg.program import Predicting

MEAN, STD = (120.0, 110.0, 100.0), (60.0, 55.0, 50.0)
NORMALIZE = functools.partial(steps.normalize, mean=MEAN, std=STD)


@pytest.fixture(scope="module")
def model(run_with_averages):
    return jaxseg.load(run_with_averages)


@pytest.fixture
def make(model, one_conv):
    """A program of one convolution with these views, its variables, and a config."""

    def run(views, **options):
        net, variables, _ = one_conv(**options)
        step = functools.partial(windows.window_step, model=net, normalize=NORMALIZE, views=views)
        found = Predicting(print, print, jax.jit(step))  # pyright: ignore[reportArgumentType]
        program = dataclasses.replace(
            model.run.program, model=net, views=views, predicting=lambda _: found
        )
        config = dataclasses.replace(
            model.config,
            dataset=dataclasses.replace(model.config.dataset, mean=MEAN, std=STD),
            eval=dataclasses.replace(model.config.eval, canvas=(1, 1), size_multiple=4)
            if options.get("corners") == "aligned"
            else dataclasses.replace(model.config.eval, size_multiple=8),
        )
        return program, variables, config

    return run


@pytest.mark.parametrize(
    ("size", "views", "options"),
    [
        ((50, 37), Views((1.0,), False, (16, 12)), {}),
        ((50, 37), Views((0.5, 1.0, 1.3), True, (16, 12), 0.3, "gaussian", 1.7), {}),
        ((29, 40), Views((0.75, 1.5), False, (9, 13)), {"corners": "aligned"}),
        ((60, 1), Views((1.0, 2.0), True, (8, 8), 0.0), {}),
        ((5, 70), Views((1.0,), False, (32, 16)), {"stride": 1}),
        ((3, 3), Views((0.5, 1.0), True, (64, 64)), {}),
    ],
)
def test_rows_are_those_of_the_compiled_step(make, run_compiled, size, views, options):
    program, variables, config = make(views, **options)
    image = np.random.default_rng(0).integers(0, 255, (*size, 3), np.uint8)
    batch = inference.padded_batch([image], config)

    def whole(images):
        found = NORMALIZE(images), jnp.asarray(batch["size"])
        return inference.scores(program.model, variables, *found, views=views)

    expected = run_compiled(whole, jnp.asarray(batch["image"]))[0][: size[0], : size[1]]
    read, begins, parts = [], [], []

    def rows_of(low, high):
        assert 0 <= low < high <= size[0]
        read.append(high - low)
        return image[low:high]

    for begin, rows in sliding.slide(program, variables, rows_of, size, config):
        begins.append(begin)
        parts.append(rows.copy())
    assert begins == np.cumsum([0, *map(len, parts)])[:-1].tolist()
    found = np.concatenate(parts)
    np.testing.assert_allclose(found, expected, atol=2e-5)
    np.testing.assert_allclose(found.sum(-1), 1, atol=1e-5)
    most = max(min(views.window[0], 64) / scale for scale in views.scales)
    assert max(read) <= most + 2


def test_memory_does_not_grow_with_the_height(make):
    """Of rows that are made as they are asked for."""
    views = Views((1.0, 0.5), window=(16, 16))
    program, variables, config = make(views)

    def most(height):
        def read(low, high):
            return np.zeros((high - low, 64, 3), np.uint8)

        tracemalloc.start()
        for _ in sliding.slide(program, variables, read, (height, 64), config):
            pass
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    most(64)  # compiles
    assert most(512) < most(128) + 600 * 512  # a few numbers for each row, see `windows.Axis`


def test_a_model_slides_where_windows_do_not_cover_the_image(model):
    image = np.random.default_rng(0).integers(0, 255, (70, 45, 3), np.uint8)
    sliding_model = model.with_views(window=(32, 24), flip=True, temperature=1.4)
    found = sliding_model.predict_batch([image])[0]
    batch = inference.padded_batch([image], model.config)
    _, expected = sliding_model.run.program.scores_step(model.variables, batch)
    np.testing.assert_allclose(found.probabilities, expected[0][:70, :45], atol=2e-5)
    np.testing.assert_array_equal(found.mask, found.probabilities.argmax(-1))
    bare = sliding_model.predict_batch([image], probabilities=False)[0]
    np.testing.assert_array_equal(bare.mask, found.mask)
    assert bare.probabilities is None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SizeWarning)
        plain = model.predict_batch([image])[0]
    covered = model.with_views(window=96).predict_batch([image])[0]
    np.testing.assert_array_equal(covered.probabilities, plain.probabilities)
