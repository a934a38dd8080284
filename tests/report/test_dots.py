"""The dots of a sweep: what stands where."""

import re

import pytest

from jaxseg.report.dots import DotRow, dot_plot


def plot(*rows, **options):
    settings = {"title": "mIoU", "label": "mIoU in %", "baseline": "a", **options}
    return dot_plot(rows, name="dots", value="{:.1f}".format, **settings)


def seeds(svg):
    found = re.findall(r'class="mark seed [^"]*" cx="([\d.]+)" cy="([\d.]+)"[^>]*label="', svg)
    return [(float(x), float(y)) for x, y in found]


def axis(svg):
    texts = re.findall(r'<text class="middle" x="([\d.]+)"[^>]*>(-?[\d.]+)<', svg)
    return [(float(x), float(value)) for x, value in texts]


def at(svg, x):
    """The score that stands at a place."""
    (x0, v0), *_, (x1, v1) = axis(svg)
    return v0 + (x - x0) / (x1 - x0) * (v1 - v0)


def test_every_seed_its_mean_and_the_published_number_stand_at_their_values():
    svg = plot(
        DotRow("a", [50.0, 52.0, 54.0], 52.0, (47.0, 57.0), 49.0), DotRow("b", [55.0, None, 57.0])
    )
    assert [round(at(svg, x), 1) for x, _ in seeds(svg)] == [50, 52, 54, 55, 57]
    heights = [y for _, y in seeds(svg)]
    assert heights[3] - heights[0] == heights[4] - heights[2] != 0  # seeds at the same height
    (mean,) = re.findall(r'mark mean s0" d="M([\d.]+) ', svg)
    assert at(svg, float(mean)) == pytest.approx(52, abs=0.1)
    (reference,) = re.findall(r'<path class="reference" d="M([\d.]+) \d+V\d\d+', svg)
    assert reference == mean
    (diamond,) = re.findall(r'mark published" d="M([\d.]+) [^"]*" role', svg)
    assert at(svg, float(diamond) + 6) == pytest.approx(49, abs=0.1)
    (left, right), *_ = re.findall(r'class="interval s0" d="M([\d.]+) \d+H([\d.]+)', svg)
    assert at(svg, float(left)) == pytest.approx(47, abs=0.1)
    assert at(svg, float(right)) == pytest.approx(57, abs=0.1)
    labels = re.findall(r'aria-label="([^"]*)"', svg)
    assert labels[:2] == ["a, mean of 3: 52.0, 95 % interval 47.0 to 57.0", "a, seed 0: 50.0"]
    assert "a, published: 49" in labels
    assert svg.count('tabindex="0"') == 1


def test_what_is_far_away_leaves_room_for_the_scores():
    svg = plot(DotRow("a", [20.0, 22.0], 21.0, (8.3, 33.7), 70.0))
    (low, *_, high) = [value for _, value in axis(svg)]
    assert low >= 17
    assert high <= 25
    assert ">published 70 →<" in svg
    assert "mark published" not in svg.partition("</svg>")[0]
    (path,) = re.findall(r'class="interval s0" d="([^"]*)"', svg)
    assert path.count("l") == 4  # an arrow at both ends
    assert "interval 8.3 to 33.7" in svg  # what it says is not cut
    left = plot(DotRow("a", [20.0, 22.0], 21.0, None, 1.0))
    assert ">← published 1<" in left


def test_an_axis_of_shares_ends_at_its_limits():
    row = DotRow("a", [1.0, 20.0], 10.5, (-80.0, 101.0))
    assert axis(plot(row))[0][1] < 0
    assert axis(plot(row, limits=(0.0, 100.0)))[0][1] == 0


def test_a_single_score_has_a_place():
    svg = plot(DotRow("a", [20.0], 20.0))
    assert len(seeds(svg)) == 1
    assert "interval s0" not in svg


def test_names_are_text():
    svg = plot(DotRow("<b>&", [1.0]), baseline="<b>&", label="<i>")
    assert not re.search("<b>|<i>", svg)
    assert "&lt;b&gt;&amp; (baseline)" in svg
