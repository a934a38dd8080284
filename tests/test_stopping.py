"""A request to stop, in one process: which signals make one, and what the second Ctrl-C does."""

import importlib
import os
import signal
import subprocess
import sys
import time

import pytest

from jaxseg.errors import Stopped
from jaxseg.signals import end_command
from jaxseg.stopping import Stop


def poll_until_requested(stop):
    """The signal is read by a thread."""
    deadline = time.monotonic() + 10
    while not stop.poll():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR2, 140)]
)
def test_a_signal_requests_a_stop_and_gives_the_exit_code(number, code, capfd):
    before = signal.getsignal(number)
    with Stop() as stop:
        assert not stop.poll()
        os.kill(os.getpid(), number)
        assert not stop.requested  # nobody asked since
        poll_until_requested(stop)
        assert stop.requested
        assert stop.poll()
    assert signal.getsignal(number) == before
    assert signal.set_wakeup_fd(-1) == -1
    error = stop.stopped("stopped at step 3")
    assert isinstance(error, Stopped)
    assert not isinstance(error, Exception)  # no `except Exception` of a library may swallow it
    assert (error.exit_code, str(error)) == (code, "stopped at step 3")
    assert capfd.readouterr().err == f"jaxseg: {number.name}: saving, then stopping\n"


def test_another_signal_is_none_of_its_business():
    heard = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: heard.append(number))
    try:
        with Stop() as stop:
            os.kill(os.getpid(), signal.SIGUSR1)
            time.sleep(0.05)
            assert not stop.poll()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert heard == [signal.SIGUSR1]


# One long call that runs no handler of Python's meanwhile, as a compilation does.
BUSY = """
import hashlib
from jaxseg.stopping import Stop
with Stop():
    print("listening", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)
"""


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_the_second_ctrl_c_ends_the_process_at_once(first):
    words = [sys.executable, "-c", BUSY]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "listening\n"
        process.send_signal(first)
        assert process.stderr.readline() == f"jaxseg: {first.name}: saving, then stopping\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == 130
        assert process.stderr.read() == "jaxseg: interrupted\n"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGUSR2, 140)])
def test_outside_training_a_signal_ends_the_command(number, code):
    before = signal.getsignal(number)

    def wait_for_it():
        with end_command():
            os.kill(os.getpid(), number)
            time.sleep(10)

    with pytest.raises(Stopped, match=f"stopped by {number.name}") as error:
        wait_for_it()
    assert error.value.exit_code == code
    assert signal.getsignal(number) == before


# Imported, it gets a signal before its end.
INTERRUPTED = """
import os
import time

os.kill(os.getpid(), {number})
time.sleep(0.2)
whole = True
"""


@pytest.mark.parametrize(
    ("number", "raised"),
    [(signal.SIGTERM, Stopped), (signal.SIGUSR2, Stopped), (signal.SIGINT, KeyboardInterrupt)],
)
def test_a_signal_waits_for_the_end_of_an_import(tmp_path, monkeypatch, number, raised):
    """In compiled modules an exception of Python makes C++ abort the process."""
    monkeypatch.setattr(signal, "getsignal", lambda _: signal.default_int_handler)
    name = f"interrupted_by_{number.name}"
    (tmp_path / f"{name}.py").write_text(INTERRUPTED.format(number=int(number)))
    monkeypatch.syspath_prepend(tmp_path)
    imported = []

    def command():
        imported.append(importlib.import_module(name).whole)
        time.sleep(10)

    with pytest.raises(raised), end_command():
        command()
    assert imported == [True]


def test_a_signal_that_waits_when_the_command_ends_is_gone(tmp_path, monkeypatch):
    (tmp_path / "interrupted_last.py").write_text(
        INTERRUPTED.format(number=int(signal.SIGTERM)).replace("0.2", "0")
    )
    monkeypatch.syspath_prepend(tmp_path)
    heard = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        with end_command():
            importlib.import_module("interrupted_last")
        time.sleep(0.2)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert not heard
