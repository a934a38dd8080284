"""One writer for a folder, whatever becomes of its process."""

import errno
import json
import os
import signal
import subprocess
import sys

import pytest

from jaxseg import lock
from jaxseg.errors import UserError

HOLD = """
import sys, time
from pathlib import Path
from jaxseg.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of `tmp_path / "run"`."""
    words = [sys.executable, "-c", HOLD, str(tmp_path / "run")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_the_second_writer_is_told_who_the_first_is(tmp_path, holder):
    message = rf"being written by process {holder.pid} on \S+ since 20\d\d-.*: wait for its end"
    with pytest.raises(UserError, match=message), lock.locked(tmp_path / "run"):
        pass
    assert lock.is_held(tmp_path / "run")


def test_a_killed_process_leaves_no_lock(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert not lock.is_held(tmp_path / "run")
    with lock.locked(tmp_path / "run"):
        assert json.loads((tmp_path / "run" / lock.LOCK).read_text())["process"] == os.getpid()


def test_in_one_process_too_there_is_one_writer(tmp_path):
    with lock.locked(tmp_path):
        with pytest.raises(UserError, match=f"process {os.getpid()}"), lock.locked(tmp_path):
            pass
        assert lock.is_held(tmp_path)
    with lock.locked(tmp_path):
        pass


def test_a_folder_that_nothing_was_written_to_is_gone_again(tmp_path):
    with lock.locked(tmp_path / "new"):
        pass
    assert not (tmp_path / "new").exists()
    with lock.locked(tmp_path / "new"):
        (tmp_path / "new" / "file").write_text("")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["file"]


def test_a_deleted_lock_file_is_no_lock(tmp_path, monkeypatch):
    """Its last holder may delete it between our opening and our locking it."""
    opened = lock.os.open

    def deleted_once(path, *args):
        file = opened(path, *args)
        if not hasattr(deleted_once, "done"):
            deleted_once.done = True
            os.unlink(path)
        return file

    monkeypatch.setattr(lock.os, "open", deleted_once)
    with lock.locked(tmp_path):
        assert (tmp_path / lock.LOCK).exists()
        assert lock.is_held(tmp_path)


def test_without_locks_it_says_so_and_goes_on(tmp_path, monkeypatch, capsys):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock.fcntl, "flock", no_locks)
    with lock.locked(tmp_path):
        pass
    assert "a file system without locks" in capsys.readouterr().err


def test_an_unwritable_workdir_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    message = r"can't write to --workdir .*file/run: Not a directory"
    with pytest.raises(UserError, match=message), lock.locked(tmp_path / "file" / "run"):
        pass
