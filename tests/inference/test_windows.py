"""Where windows lie, and that their weights are shares."""

import numpy as np
import pytest

from jaxseg.inference import windows
from jaxseg.inference.views import Views


@pytest.mark.parametrize("kind", ["flat", "gaussian"])
@pytest.mark.parametrize("corners", ["half_pixel", "aligned"])
@pytest.mark.parametrize(
    ("size", "scale", "window", "overlap"),
    [
        ((100, 37), 1.0, 16, 0.5), ((100, 37), 0.5, 16, 0.75), ((33, 65), 1.7, 20, 0.0),
        ((1, 200), 2.0, 8, 0.99), ((1, 1), 1.0, 8, 0.5), ((37, 50), 0.1, 4, 0.5),
    ],
)  # fmt: skip
def test_every_pixel_is_seen_and_its_weights_sum_to_one(
    one_conv, size, scale, window, overlap, corners, kind
):
    model, _, _ = one_conv(stride=4, corners=corners)
    views = Views((scale,), False, (window, window), overlap, kind)
    for axis, side in zip(windows.axes(size, scale, views, model), size, strict=True):
        total = np.zeros(side)
        for first, weights in zip(axis.firsts, axis.weights, strict=True):
            assert 0 <= first <= side - len(weights)
            total[first : first + len(weights)] += weights
        np.testing.assert_allclose(total, 1, rtol=1e-6)
        assert (np.diff(axis.starts) > 0).all()
        matrices = axis.matrices(3, range(len(axis.starts)))
        np.testing.assert_allclose(matrices.sum(-1), 1, rtol=1e-6)


def test_windows_are_half_a_window_apart_and_the_last_ends_with_the_image(one_conv):
    model, _, _ = one_conv(stride=1)
    rows, columns = windows.axes((40, 12), 1.0, Views(window=(16, 16)), model)
    assert rows.starts.tolist() == rows.firsts.tolist() == [0, 8, 16, 24]
    assert (columns.starts.tolist(), columns.window) == ([0], 12)
    rows, _ = windows.axes((41, 12), 1.0, Views(window=(16, 16)), model)
    assert rows.starts.tolist() == [0, 8, 16, 24, 25]


def test_a_gaussian_has_an_eighth_of_the_window_as_its_deviation(one_conv):
    model, _, _ = one_conv(stride=1)
    views = Views(window=(16, 16), window_weights="gaussian")
    axis, _ = windows.axes((24, 16), 1.0, views, model)
    # pixel 10 is 2.5 from the first window's centre and 5.5 from the second's
    first, second = np.exp(-(2.5**2) / 8), np.exp(-(5.5**2) / 8)
    np.testing.assert_allclose(axis.weights[0, 10], first / (first + second), rtol=1e-5)
    assert axis.weights[0, 0] == 1
