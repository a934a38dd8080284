"""Tables of numbers in percent."""

import re

from jaxseg.report.tables import fact_table, percent_table, swatch


def test_numbers_are_in_percent_and_only_some_have_bars():
    html = percent_table(
        ("class", "IoU", "share"),
        [("<b>&", (0.5, 0.25)), ("cell", (None, 0.75))],
        caption="By <class>",
        bars={0},
        colours=[(1, 2, 3), (4, 5, 6)],
        last=("mean", (0.5,)),
    )
    cells = re.findall(r"<td[^>]*>(?:<span>)?([^<]*)", html)
    assert cells == ["50.00", "25.00", "-", "75.00", "50.00"]
    assert re.findall(r"--share:([\d.]+)%", html) == ["50.0"]
    assert "<b>" not in html
    assert "&lt;b&gt;&amp;" in html
    assert "rgb(4,5,6)" in html
    assert "By &lt;class&gt;" in html


def test_facts_are_text():
    assert "&lt;i&gt;</td>" in fact_table([("a", "<i>")])


def test_a_swatch_takes_numbers_only():
    assert "rgb(0,0,255)" in swatch([0, 0, 255])
