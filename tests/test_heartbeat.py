import subprocess
import sys
import threading
import time

from jaxseg.heartbeat import Heartbeat


def wait_until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_it_beats_while_nothing_is_said_and_never_after_its_end():
    beats = []
    heartbeat = Heartbeat(lambda: beats.append(1), every=0.02)
    wait_until(lambda: len(beats) >= 3)
    heartbeat.close()
    count = len(beats)
    time.sleep(0.1)
    assert len(beats) == count


def test_what_is_said_postpones_it():
    def beats_in_a_while():
        beats = []
        heartbeat = Heartbeat(lambda: beats.append(1), every=0.3)
        for _ in range(60):
            heartbeat.touch()
            time.sleep(0.01)
        heartbeat.close()
        return len(beats)

    assert not all(beats_in_a_while() for _ in range(3))  # the machine may stall once


def test_it_keeps_no_process_alive():
    code = "from jaxseg.heartbeat import Heartbeat; Heartbeat(print, every=60)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=20)


def test_where_nobody_reads_any_more_it_ends_quietly(monkeypatch):
    failed = []
    monkeypatch.setattr(threading, "excepthook", failed.append)

    def beat():
        raise BrokenPipeError

    heartbeat = Heartbeat(beat, every=0.01)
    wait_until(lambda: not heartbeat._thread.is_alive())
    heartbeat.close()
    assert failed == []
