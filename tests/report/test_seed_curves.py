"""Curves over seeds."""

from pathlib import Path

from jaxseg.report.charts import COLOURS
from jaxseg.report.seed_curves import by_row, by_trial, mean_curve
from jaxseg.sweeps.plan import Task
from jaxseg.sweeps.results import Result, RowResults
from jaxseg.sweeps.status import Status


def row(name, *states):
    """A row whose runs are in these states."""
    results = []
    for seed, state in enumerate(states):
        task = Task(name, seed, Path(name), ("train",), "digest", total_steps=9)
        results.append(Result(Status(task, state), {} if state == "finished" else None))
    return RowResults(name, {}, tuple(results), None)


def test_the_mean_and_the_extremes_are_of_the_steps_that_all_seeds_have():
    line = mean_curve("a", [{1: 1.0, 2: 2.0, 3: 9.0}, {1: 3.0, 2: 6.0}, {1: 2.0, 2: 1.0}], 4)
    assert (line.x, line.y) == ([1, 2], [2.0, 3.0])
    assert (line.low, line.high) == ([1.0, 1.0], [3.0, 6.0])
    assert line.colour == 4
    assert not mean_curve("a", [{1: 1.0}], 0).low


def test_a_long_band_keeps_its_extremes():
    low = dict.fromkeys(range(1000), 1.0)
    high = {step: 3.0 + 5 * (step == 500) for step in range(1000)}
    line = mean_curve("a", [low, high], 0)
    assert len(line.x) == len(line.low) == len(line.high) <= 300
    assert (min(line.low), max(line.high)) == (1.0, 8.0)


def test_unfinished_runs_are_dotted_and_in_no_mean():
    rows = [row("a", "finished", "killed"), row("b", "waiting", "running"), row("c", "waiting")]
    points = {"a": [{1: 1.0}, {1: 5.0}], "b": [{}, {1: 2.0}], "c": [{}]}
    a, a_killed, b, b_running = by_row(rows, points)
    assert (a.y, a.dotted) == ([1.0], False)
    assert (a_killed.name, a_killed.y, a_killed.dotted) == ("a, seed 1 (killed)", [5.0], True)
    assert a_killed.colour == a.colour == 0
    assert (b.name, list(b.y), b.colour) == ("b", [], 1)  # for the legend
    assert (b_running.dotted, b_running.colour) == (True, 1)


def test_the_best_trials_have_colours_and_the_others_are_grey():
    trials = [row(f"t{i}", "finished") for i in range(COLOURS + 1)]
    trials.append(row("p", "stopped"))
    lines = by_trial(trials, {trial.name: [{1: 1.0}] for trial in trials})
    assert [line.dotted for line in lines] == [False] * (COLOURS - 1) + [True] * 3
    assert len({line.colour for line in lines}) == COLOURS
