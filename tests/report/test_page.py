"""The document: well formed, names as text, nothing loaded."""

from jaxseg.report.page import Section, document, paragraph, tiles


def test_a_document_is_well_formed_and_loads_nothing(check_html):
    sections = [Section("a", "First <b>", paragraph("x < y", "note")), Section("b", "Second", "")]
    page = document("run <i>&", paragraph("about"), sections, "foot <u>")
    found = check_html(page)
    assert found.ids >= {"a", "b", "theme"}
    assert found.links == ["#a", "#b"]
    assert "<title>run &lt;i&gt;&amp;</title>" in page
    assert not {"b", "i", "u"} & found.tags


def test_tiles_are_text():
    html = tiles([("mIoU", "12.00 %", "<val>")])
    assert "<dd>12.00 %</dd>" in html
    assert "&lt;val&gt;" in html
