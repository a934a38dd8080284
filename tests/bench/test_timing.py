"""Calls alternate, and the first ones are not counted."""

import pytest

from jaxseg.bench import timing


@pytest.fixture
def clock(monkeypatch):
    """Time that passes only when a function says so."""
    now = [0.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])

    def take(seconds):
        now[0] += seconds

    return take


def test_functions_alternate_after_two_calls_each(clock):
    calls = []

    def function(name, seconds):
        def call():
            calls.append(name)
            clock(seconds)

        return call

    functions = {"a": function("a", 1.0), "b": function("b", 3.0)}
    times = timing.interleaved(functions, seconds=10.0, least=2)
    assert calls == ["a", "a", "b", "b"] + ["a", "b"] * 3  # the third round begins after 8 seconds
    assert times == {"a": [1.0] * 3, "b": [3.0] * 3}
    assert len(timing.interleaved(functions, seconds=0.0, least=4)["a"]) == 4


def test_a_first_slow_call_leaves_no_trace(clock):
    seconds = iter([100.0, 10.0, 1.0, 2.0, 1.0])
    times = timing.interleaved({"a": lambda: clock(next(seconds))}, seconds=0.0, least=3)
    assert timing.median(times["a"]) == 1.0


def test_the_first_call_of_a_burst_does_not_count(clock):
    calls = []
    seconds = iter([9.0, 1.0, 2.0] * 4)

    def call(name):
        calls.append(name)
        clock(next(seconds))

    functions = {name: (lambda name=name: call(name)) for name in "ab"}
    times = timing.interleaved(functions, seconds=0.0, least=2, warm_up=0, burst=3)
    assert calls == ["a"] * 3 + ["b"] * 3 + ["a"] * 3 + ["b"] * 3
    assert times == {"a": [1.0, 2.0] * 2, "b": [1.0, 2.0] * 2}


def test_the_machine_says_what_it_is():
    said = timing.machine()
    assert said["machine"].endswith("cores")
    assert said["versions"].startswith("jax ")
    assert "Python 3." in said["versions"]
