"""The tables of a sweep."""

import csv
import io
import json

import pytest

from jaxseg import cli
from jaxseg.sweeps import plan, report, results, status

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
    assert cells(text, "coarse")[3] == "40.00, -"  # of one seed
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


def test_the_command_writes_all_of_it(sweep, capsys, tmp_path):
    out = tmp_path / "table"
    words = ["sweep", "report", str(sweep.workdir), "--images", "0", "--out", str(out)]
    assert cli.main(words) == 0
    assert {path.name for path in tmp_path.glob("table*")} == {
        "table.md", "table.csv", "table.json", "table.html",
    }  # fmt: skip
    assert out.with_suffix(".html").read_text().startswith("<!doctype html>")
    assert out.with_suffix(".md").read_text() in capsys.readouterr().out
    assert cli.main([*words[:3], "--images", "some"]) == 2
    assert "--images is 'some', expected a number" in capsys.readouterr().err


def test_small_numbers_that_are_no_shares_of_pixels_keep_their_digits(made, finish):
    made.store()
    for task in made.tasks:
        finish(task, 0.5)
        path = status.score_path(task, "val")
        scores = json.loads(path.read_text()) | {"checkerboard_2": 0.001234 + task.seed / 1000}
        path.write_text(json.dumps(scores))
    path = made.workdir / plan.RECORD
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"metric": "checkerboard_2", "higher_is_better": False}))
    text = report.markdown(results.collect(made.workdir))
    assert cells(text, "narrow")[1:4] == ["0.001734", "0.0007071", "0.001234, 0.002234"]
    assert "checkerboard_2 (less is better) on val" in text
