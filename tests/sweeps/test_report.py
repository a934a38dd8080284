"""The tables of a sweep."""

import csv
import io
import json

import pytest

from jaxseg.sweeps import report, results

MIOU = {"narrow": (0.50, 0.52), "wide": (0.60, 0.61), "longer": (0.62, 0.64), "coarse": (0.4, 0.41)}


@pytest.fixture
def sweep(made, finish):
    made.store()
    for task in made.tasks[:-1]:  # the last evaluation is missing
        finish(task, MIOU[task.row][task.seed])
    return results.collect(made.workdir)


def cells(text, row):
    """The row's line in the first table."""
    line = next(x for x in text.splitlines() if x.startswith(f"| {row}"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_markdown_has_every_row_and_says_what_is_missing(sweep):
    text = report.markdown(sweep)
    assert text.startswith("# Does width matter?")
    assert cells(text, "narrow")[1:4] == ["51.00", "1.41", "50.00, 52.00"]
    assert cells(text, "narrow")[-1] == "50"  # published
    assert cells(text, "wide")[4] == "+9.50"
    assert cells(text, "coarse")[3] == "40.00,"  # of one seed
    assert "- wide: on other data" in text
    assert "Not finished, and in no mean:\n\n- coarse, seed 1: waiting" in text
    assert "| narrow | 6 | 2.0 | 20.0 | 2.00 |" in text


def test_csv_has_a_line_for_every_run_finished_or_not(sweep):
    rows = list(csv.DictReader(io.StringIO(report.csv_text(sweep))))
    assert len(rows) == 8
    first, last = rows[0], rows[-1]
    assert (first["row"], first["seed"], first["status"]) == ("narrow", "0", "finished")
    assert float(first["miou"]) == pytest.approx(0.5, abs=1e-4)
    assert (last["row"], last["status"], last["miou"]) == ("coarse", "waiting", "")


def test_json_holds_what_the_tables_are_made_of(sweep):
    record = json.loads(report.to_json(sweep))
    assert record["baseline"] == "narrow"
    wide = record["rows"]["wide"]
    assert wide["difference"] == pytest.approx(9.5, abs=0.01)
    assert [run["seed"] for run in wide["runs"]] == [0, 1]
    assert wide["runs"][0]["scores"]["iou"]["circle"] == pytest.approx(0.6, abs=1e-4)
    assert "confusion" not in wide["runs"][0]["scores"]
    assert record["rows"]["coarse"]["runs"][1]["status"] == "waiting"
