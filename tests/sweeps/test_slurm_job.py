"""What runs in a job; its life in a cluster, with signals, see test_slurm.py."""

import pickle
import sys
from pathlib import Path

import pytest

from jaxseg.sweeps import slurm_job
from jaxseg.sweeps.slurm_job import Job, RunFailedError


def job(tmp_path, code):
    """Appends a line to `calls`, then does as `code` says."""
    code = f"open({str(tmp_path / 'calls')!r}, 'a').write('x'); {code}"
    return Job((sys.executable, "-S", "-c", code), tmp_path / "log")


def children():
    """The processes that this one started and has not waited for, of other tests too."""
    paths = Path("/proc/self/task").glob("*/children")
    return {child for path in paths for child in path.read_text().split()}


def calls(tmp_path):
    return len((tmp_path / "calls").read_text())


def test_a_run_that_ends_well_runs_once(tmp_path):
    job(tmp_path, "print('done')")()
    assert calls(tmp_path) == 1
    assert (tmp_path / "log").read_text() == "done\n"


@pytest.mark.parametrize(("code", "times"), [(1, 2), (2, 1)])
def test_a_failed_run_is_tried_again_unless_its_input_is_wrong(tmp_path, code, times):
    with pytest.raises(RunFailedError, match=r"^ValueError: no$"):
        job(tmp_path, f"print('ValueError: no'); raise SystemExit({code})")()
    assert calls(tmp_path) == times


@pytest.mark.parametrize("code", ["sys.exit(143)", "os.kill(os.getpid(), signal.SIGUSR2)"])
def test_a_run_that_a_signal_stopped_is_not_tried_again(tmp_path, monkeypatch, code):
    monkeypatch.setattr(slurm_job, "END_SECONDS", 0)
    with pytest.raises(RunFailedError, match="a signal stopped the run"):
        job(tmp_path, f"import os, signal, sys; {code}")()
    assert calls(tmp_path) == 1


def test_what_is_queued_again_is_the_same_job(tmp_path):
    before = children()
    first = job(tmp_path, "")
    first()
    again = pickle.loads(pickle.dumps(first.checkpoint())).function
    assert again == first
    assert again._pid == 0
    again()
    assert calls(tmp_path) == 2
    assert children() == before
