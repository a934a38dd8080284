import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from jaxseg.ops import averaging, bands
from jaxseg.ops.averaging import Map
from jaxseg.ops.resize import interpolation_matrix, matrix_at

ROWS, COLUMNS = np.linspace(-0.3, 3.2, 13), np.linspace(0.4, 5.9, 9)


def maps():
    """Three, of which the last has every pixel."""
    rng = np.random.default_rng(0)
    shapes = (4, 6), (7, 3), (13, 9)
    places = (ROWS, COLUMNS), (1.5 * ROWS, COLUMNS / 3), (np.arange(13.0), np.arange(9.0))
    return [
        Map(jnp.asarray(rng.normal(size=(2, *shape, 5)), jnp.float32), *at)
        for shape, at in zip(shapes, places, strict=True)
    ]


def whole(one, temperature):
    rows, columns = (
        matrix_at(one.rows, one.logits.shape[1]),
        matrix_at(one.columns, one.logits.shape[2]),
    )
    large = np.einsum("Hh,bhwc,Ww->bHWc", rows, np.asarray(one.logits, np.float64), columns)
    return special.softmax(large / temperature, -1)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_bands_give_the_mean_of_the_whole(monkeypatch, temperature, run_compiled):
    monkeypatch.setattr(bands, "BAND_BYTES", 4 * 9 * 5 * 4)  # four bands of 13 rows
    given = maps()

    def run():
        total = averaging.zeros(given[0])
        for one, share in zip(given, (0.5, 0.2, 0.3), strict=True):
            total = averaging.add(total, one, share, temperature)
        return (
            averaging.probabilities(given, temperature),
            averaging.classes(given, temperature),
            averaging.max_probability(given, temperature),
            total,
        )

    mean, best, highest, total = run_compiled(run)
    each = [whole(one, temperature) for one in given]
    np.testing.assert_allclose(mean, np.mean(each, 0), atol=1e-6)
    np.testing.assert_array_equal(best, np.mean(each, 0).argmax(-1))
    np.testing.assert_allclose(highest, np.mean(each, 0).max(-1), atol=1e-6)
    expected = 0.5 * each[0] + 0.2 * each[1] + 0.3 * each[2]
    np.testing.assert_allclose(total, expected, atol=1e-6)


def test_places_are_those_of_a_resize():
    for corners, at in (
        ("half_pixel", (np.arange(9) + 0.5) * 4 / 9 - 0.5),
        ("aligned", np.arange(9) * 3 / 8),
    ):
        np.testing.assert_array_equal(matrix_at(at, 4), interpolation_matrix(4, 9, corners))


def test_nan_and_equals_have_a_class():
    """The first of equals; NaN gives a class that exists."""
    logits = np.zeros((1, 3, 3, 4), np.float32)
    logits[0, 1, 1] = np.nan
    best = averaging.classes([Map(jnp.asarray(logits), np.arange(3.0), np.arange(3.0))] * 2)
    np.testing.assert_array_equal(best, np.zeros((1, 3, 3)))
    y = jnp.asarray([[1.0, 3.0, 3.0], [np.nan, 2.0, 9.0]])
    np.testing.assert_array_equal(bands.first_highest(y, axis=1), [1, 0])


def test_classes_of_many_views_need_little_memory():
    """Of 16 images of 512x512 and 150 classes in 4 views: 2.5 GB of logits in each."""
    logits = jax.ShapeDtypeStruct((4, 16, 64, 64, 150), jnp.float32)
    at = np.linspace(-0.4, 63.4, 512)

    def run(logits):
        return averaging.classes([Map(one, at, at) for one in logits])

    memory = jax.jit(run).lower(logits).compile().memory_analysis()
    assert memory is not None
    assert memory.temp_size_in_bytes < 4 * 4 * 16 * 64 * 64 * 150 + 100e6
