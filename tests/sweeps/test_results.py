"""What a sweep's folders say together."""

import json
from typing import Any

import pytest

from jaxseg.errors import UserError
from jaxseg.sweeps import plan, results, status, texts

MIOU = {"narrow": (0.50, 0.52), "wide": (0.60, 0.61), "longer": (0.62, 0.64), "coarse": (0.4, 0.41)}


@pytest.fixture
def finished(made, finish):
    made.store()
    for task in made.tasks:
        finish(task, MIOU[task.row][task.seed])
    return made


def test_rows_have_their_seeds_in_order_and_are_compared_with_the_baseline(finished):
    sweep: Any = results.collect(finished.workdir)
    assert [row.name for row in sweep.rows] == list(MIOU)
    wide = sweep.rows[1]
    assert wide.scores("miou") == pytest.approx([60, 61], abs=0.01)
    assert sweep.table.rows[1].contrast.difference == pytest.approx(9.5, abs=0.01)
    assert sweep.table.rows[0].contrast is None
    assert not sweep.unfinished
    other: Any = results.collect(finished.workdir, "wide")
    assert other.table.rows[0].contrast.difference == pytest.approx(-9.5, abs=0.01)


def test_costs_come_from_the_records(finished):
    sweep: Any = results.collect(finished.workdir)
    run = sweep.rows[0].results[0]
    assert (run.seconds, run.images_per_second, run.peak_memory) == (120.0, 20.0, 2_000_000_000)
    narrow, wide = (sweep.rows[i].cost for i in (0, 1))
    assert 3 < wide.parameters / narrow.parameters < 4.1  # twice the width
    assert sweep.rows[3].results[0].seconds is None  # an evaluation trains nothing


def test_what_is_not_finished_is_listed_and_in_no_mean(finished):
    task = next(t for t in finished.tasks if (t.row, t.seed) == ("wide", 1))
    record = task.workdir / "run.json"
    record.write_text(record.read_text().replace('"finished", "step"', '"failed", "step"'))
    sweep: Any = results.collect(finished.workdir)
    assert [found.task.name for found in sweep.unfinished] == ["wide, seed 1"]
    assert sweep.rows[1].scores("miou")[1] is None
    assert sweep.table.rows[1].n == 1


def test_a_finished_run_without_its_final_scores_is_listed_too(finished):
    status.score_path(finished.tasks[0], "val").unlink()
    sweep: Any = results.collect(finished.workdir)
    assert [found.task for found in sweep.unfinished] == [finished.tasks[0]]
    assert "but without its final scores" in texts.unfinished(sweep)[0]


def test_less_is_better_where_the_sweep_says_so(finished, finish):
    for task in finished.tasks:
        if task.row == "wide":
            finish(task, 0.90 + 0.02 * task.seed)
    path = finished.workdir / plan.RECORD
    path.write_text(json.dumps(json.loads(path.read_text()) | {"higher_is_better": False}))
    sweep: Any = results.collect(finished.workdir)
    assert sweep.table.rows[1].contrast.verdict == "worse"


def test_an_unknown_baseline_is_named(finished):
    with pytest.raises(UserError, match="baseline 'wid' is no row of the sweep; did you mean"):
        results.collect(finished.workdir, "wid")
