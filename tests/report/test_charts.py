"""Charts: what their SVG says."""

import itertools
import re

import pytest

from jaxseg.report.charts import Series, line_chart, thin, ticks


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (0.013, 0.87), (-3, 12_000), (1e-7, 3e-5), (5, 5), (0, 0), (-2, -2)]
)
def test_ticks_are_round_and_enclose_the_values(low, high):
    found = ticks(low, high)
    assert 2 <= len(found) <= 8
    steps = {f"{b - a:.6g}" for a, b in itertools.pairwise(found)}
    assert len(steps) == 1
    assert re.fullmatch(r"0*\.?0*(1|2|25|5)0*\.?0*", f"{found[1] - found[0]:.10f}".rstrip("0"))
    step = found[1] - found[0]
    assert found[0] <= low + 1e-9 * step
    assert found[-1] >= high - 1e-9 * step


def chart(*series, **options):
    labels = {"title": "Loss", "x_label": "step", "y_label": "loss", **options}
    return line_chart(series, name="loss", **labels)


def places(svg):
    """The centres of the marks, in the drawing's coordinates."""
    return [(float(x), float(y)) for x, y in re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', svg)]


def test_marks_stand_at_their_values_and_say_them():
    svg = chart(Series("a", [0, 50, 100], [0.0, 5.0, 10.0]), value="{:.1f} %".format)
    left, middle, right = places(svg)
    assert middle == ((left[0] + right[0]) / 2, (left[1] + right[1]) / 2)
    assert left[1] > right[1]  # up is more
    labels = re.findall(r'class="mark[^>]*aria-label="([^"]*)"', svg)
    assert labels == ["a, step 0: 0.0 %", "a, step 50: 5.0 %", "a, step 100: 10.0 %"]
    assert svg.count('tabindex="0"') == 1  # one stop for Tab, then arrow keys


def test_a_band_goes_along_both_edges():
    svg = chart(Series("a", [0, 1], [2, 3], low=[1, 2], high=[3, 4]))
    (path,) = re.findall(r'class="band s0" d="M([^"]*)Z"', svg)
    points = [tuple(map(float, p.split())) for p in path.split("L")]
    assert [p[0] for p in points] == [points[0][0], points[1][0], points[1][0], points[0][0]]
    assert points[0][1] > places(svg)[0][1] > points[3][1]  # the line lies inside


def test_series_are_named_once_there_are_two():
    one, two = Series("a", [1], [1]), Series("<b>&", [2, 3], [4, 5])
    assert "legend" not in chart(one)
    both = chart(one, two, title="<i>", y_label="<u>")
    assert "</svg>&lt;b&gt;&amp;</li>" in both
    assert not re.search("<b>|<i>|<u>", both)


def test_small_numbers_keep_their_power_of_ten_in_the_label():
    svg = chart(Series("a", [0, 10], [0.0001, 0.0004]), y_label="rate")
    assert ">rate (10⁻⁴)<" in svg
    assert ">4<" in svg
    assert "e-0" not in re.sub('aria-label="[^"]*"', "", svg)


def test_the_axes_have_labels():
    svg = chart(Series("a", [0, 1], [1, 2]))
    assert len(re.findall('class="label middle"', svg)) == 2
    assert 'role="group"' in svg
    assert re.search('aria-labelledby="loss-title loss-desc"><title id="loss-title">Loss', svg)


def test_long_series_become_means_with_a_band_of_their_extremes():
    x, y = list(range(1, 1001)), [float(i % 10) for i in range(1000)]
    short = thin(x, y, "loss", most=100)
    assert len(short.x) == 100
    assert short.x[-1] == 1000
    assert set(short.y) == {4.5}
    assert (set(short.low), set(short.high)) == ({0.0}, {9.0})
    assert thin(x, y, "loss", most=1000) == Series("loss", x, y)


def test_dotted_series_keep_their_colour_and_stay_out_of_the_legend():
    svg = chart(
        Series("a", [0, 1], [1, 2]),
        Series("b", [], [], colour=3),
        Series("b, unfinished", [0, 1], [2, 3], colour=3, dotted=True),
    )
    legend = re.findall('<ul class="legend">.*</ul>', svg)[0]
    assert re.findall("</svg>([^<]*)</li>", legend) == ["a", "b"]
    assert 'class="line s3 dotted"' in svg
    assert svg.count('tabindex="0"') == 1
    assert "b, unfinished, step 1: 3" in svg


def test_an_empty_first_series_leaves_one_stop_for_tab():
    svg = chart(Series("a", [], []), Series("b", [0, 1], [1, 2]))
    assert svg.count('tabindex="0"') == 1
