"""Tables of the benchmarks."""

from jaxseg.bench.console import table


def test_a_table_for_people_and_one_for_pages():
    headings, rows = ("what", "ms"), [("a", "1.5"), ("long name", "10.25")]
    assert table(headings, rows, markdown=False) == (
        "what          ms\na            1.5\nlong name  10.25"
    )
    assert table(headings, rows, markdown=True).splitlines()[1:3] == [
        "| --- | ---: |",
        "| a | 1.5 |",
    ]
