"""Outlines to pixels, beside a test of every pixel's centre."""

import numpy as np

from jaxseg.data.polygons import disc, filled

SIZE = (19, 23)


def inside(points, x, y):
    """Whether a ray from (x, y) to the left crosses the outline an odd number of times."""
    odd = False
    for (x1, y1), (x2, y2) in zip(points, np.roll(points, -1, 0), strict=True):
        if (y1 <= y) != (y2 <= y):
            odd ^= x1 + (y - y1) * (x2 - x1) / (y2 - y1) <= x
    return odd


def test_a_pixel_is_in_if_its_centre_is():
    rng = np.random.default_rng(0)
    for count in (3, 4, 9, 30):
        points = rng.uniform(-4, 27, (count, 2))
        expected = [[inside(points, c + 0.5, r + 0.5) for c in range(23)] for r in range(19)]
        np.testing.assert_array_equal(filled(points, SIZE), expected)


def test_neighbours_share_no_pixel_and_leave_none_out():
    whole = np.array([(0, 0), (23, 0), (23, 19), (0, 19)], float)
    assert filled(whole, SIZE).all()
    middle = np.array([11.5, 9.5])  # a pixel's centre, where all edges meet
    parts = [np.array([middle, a, b]) for a, b in zip(whole, np.roll(whole, -1, 0), strict=True)]
    np.testing.assert_array_equal(sum(filled(p, SIZE).astype(int) for p in parts), np.ones(SIZE))


def test_what_has_no_area_has_no_pixel():
    for points in ([(3, 3)], [(1, 1), (9, 9)], [(1, 2.5), (9, 2.5), (4, 2.5)]):
        assert not filled(np.array(points, float), SIZE).any()


def test_a_disc_holds_the_centres_that_are_near():
    expected = [[np.hypot(c - 4, r - 6.5) < 3.2 for c in range(23)] for r in range(19)]
    np.testing.assert_array_equal(disc((4.5, 7.0), 3.2, SIZE), expected)
