"""The confusion matrix: shares of rows, and what to do with many classes."""

import re

import numpy as np

from jaxseg.report.confusion import MOST, _merged, confusion_matrix


def labels(svg):
    return re.findall(r'<rect [^>]*aria-label="([^"]*)"', svg)


def test_each_cell_says_its_share_of_the_row():
    svg = confusion_matrix(np.array([[3, 1], [0, 8]]), ["ground", "cell"], name="m")
    assert labels(svg) == [
        "truth ground, predicted ground: 75.00 % of ground, 3 of 4 pixels",
        "truth ground, predicted cell: 25.00 % of ground, 1 of 4 pixels",
        "truth cell, predicted ground: 0.00 % of cell, 0 of 8 pixels",
        "truth cell, predicted cell: 100.00 % of cell, 8 of 8 pixels",
    ]
    assert re.findall(r'class="middle value[^>]*>(\d+)<', svg) == ["75", "25", "100"]
    assert 'data-columns="2"' in svg


def test_a_class_without_pixels_has_no_share():
    svg = confusion_matrix(np.array([[0, 0], [1, 1]]), ["a", "b"], name="m")
    assert labels(svg)[:2] == ["a: no pixel in the truth"] * 2


def test_names_are_text():
    svg = confusion_matrix(np.eye(2, dtype=int), ["<b>&", "a" * 40], name="m")
    assert "<b>" not in svg
    assert ">&lt;b&gt;&amp;<" in svg
    assert ">" + "a" * 15 + "…<" in svg


def test_many_classes_share_a_row_and_a_column_without_losing_a_pixel():
    matrix = np.random.default_rng(0).integers(0, 100, (150, 150))
    matrix[7] *= 1000
    merged, names = _merged(matrix, [str(i) for i in range(150)])
    assert merged.shape == (MOST, MOST)
    assert merged.sum() == matrix.sum()
    assert names[-1] == "111 rare classes"
    kept = np.array([int(name) for name in names[:-1]])
    assert 7 in kept
    assert (np.diff(kept) > 0).all()
    rest = np.setdiff1d(np.arange(150), kept)
    assert matrix[rest].sum(1).max() <= matrix[kept].sum(1).min()
    assert (merged[:-1, :-1] == matrix[kept][:, kept]).all()
    assert (merged[:-1, -1] == matrix[kept][:, rest].sum(1)).all()
    assert (merged[-1, :-1] == matrix[rest][:, kept].sum(0)).all()
