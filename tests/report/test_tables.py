"""Tables of numbers in percent."""

import re

from jaxseg.report.tables import fact_table, percent_table, swatch, text_table


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


def test_the_best_of_each_row_is_bold_but_for_the_last():
    html = percent_table(
        ("class", "a", "b", "c"),
        [("x", (0.5, 0.7, None)), ("y", (0.3, 0.3, 0.1)), ("z", (None, None, None))],
        caption="",
        bars={0},
        last=("mean", (0.4, 0.5, 0.1)),
        best=True,
    )
    assert re.findall("<strong>([^<]*)", html) == ["70.00", "30.00", "30.00"]
    assert "<strong>" not in percent_table(("class", "a"), [("x", (0.5,))], caption="")


def test_a_table_of_text_has_numbers_and_words():
    html = text_table(("row", "mean", "<b>"), [("<i>", "1.5", "better")], caption="&", words=(0, 2))
    assert '<th scope="row">&lt;i&gt;</th><td class="number">1.5</td><td>better</td>' in html
    assert '<th scope="col" class="number">mean</th><th scope="col">&lt;b&gt;</th>' in html
