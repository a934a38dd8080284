import io
import sys
import time
import types

import pytest

from jaxseg import progress as progress_module
from jaxseg.progress import Progress, clock


def test_plain_lines_where_there_is_no_terminal(capsys):
    progress = Progress(total=100, batch_size=4)
    values = {"loss": 1.25, "learning_rate": 0.01}
    speeds = progress.update(10, values, done=10, waited=0.0, compiled=0.0)
    line = capsys.readouterr().err
    assert line.startswith("step 10/100  loss 1.2500  lr 1.00e-02")
    assert "images/s" in line
    assert "data wait 0 %" in line
    assert "left" in line
    assert speeds["images_per_second"] > 0


def test_time_reads_as_a_clock():
    assert clock(59.6) == "1:00"
    assert clock(3725.0) == "1:02:05"


def test_speeds_leave_out_what_pauses(capsys, monkeypatch):
    clock = types.SimpleNamespace(now=0.0)
    monkeypatch.setattr(
        progress_module, "time", types.SimpleNamespace(perf_counter=lambda: clock.now)
    )
    progress = Progress(total=100, batch_size=4)
    with progress.pause():
        clock.now += 50.0
    clock.now += 2.0
    assert progress.seconds == 2.0
    values = {"loss": 1.0, "learning_rate": 0.1}
    speeds = progress.update(10, values, done=10, waited=1.0, compiled=0.0)
    assert speeds == {"images_per_second": 20.0, "data_wait": 0.5}


@pytest.fixture
def quiet(monkeypatch):
    """Signs of life come after 20 ms without a line."""
    monkeypatch.setattr(progress_module, "QUIET", 0.02)
    monkeypatch.setattr(progress_module, "QUIET_BAR", 0.02)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def wait_for(text, out):
    deadline = time.monotonic() + 20
    while text not in out.getvalue():
        assert time.monotonic() < deadline, out.getvalue()
        time.sleep(0.005)


@pytest.mark.parametrize("terminal", [False, True])
def test_it_says_what_is_under_way_while_nothing_else_is_said(monkeypatch, quiet, terminal):
    out = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", out)
    progress = Progress(total=100, batch_size=4)
    with progress:
        wait_for("getting ready: 0:00 so far", out)
        progress.begin(0)
        progress.training(3, waiting=True)
        progress.computed(2, 1.25)
        wait_for("step 3/100, waiting for data: 0:00 so far", out)
        if not terminal:
            wait_for("data: 0:00 so far  loss 1.2500 at step 2\n", out)
        progress.doing("validation, 2 of 7 images", since=time.perf_counter() - 60)
        wait_for("validation, 2 of 7 images: 1:00 so far", out)
    said = out.getvalue()
    time.sleep(0.1)
    assert out.getvalue() == said


def test_it_says_nothing_on_other_processes_and_after_an_error(monkeypatch, quiet):
    out = io.StringIO()
    monkeypatch.setattr(sys, "stderr", out)
    with Progress(total=100, batch_size=4, silent=True):
        time.sleep(0.1)
    assert out.getvalue() == ""
    with pytest.raises(ZeroDivisionError), Progress(total=100, batch_size=4):
        raise ZeroDivisionError
    said = out.getvalue()
    time.sleep(0.1)
    assert out.getvalue() == said
