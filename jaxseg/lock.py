"""One writer for a folder: a lock that ends with its process."""

import contextlib
import datetime
import errno
import fcntl
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from jaxseg.errors import UserError

LOCK = ".lock"


@contextlib.contextmanager
def locked(workdir: Path) -> Iterator[None]:
    """Hold the folder, which is made if need be, as its one writer.

    The lock is the kernel's (flock), so it ends with its process however that ends. On NFS, Linux
    asks the server for it; where a file system has no locks, a line says so and the run goes on.

    Raises:
      UserError: another process holds it, or the folder can't be written.
    """
    made = not workdir.exists()
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        file = _lock(workdir)
    except OSError as error:
        raise UserError(f"can't write to --workdir {workdir}: {error.strerror or error}") from None
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            (workdir / LOCK).unlink()
            if made:
                workdir.rmdir()  # fails unless nothing was written
        os.close(file)


def _lock(workdir: Path) -> int:
    """The open and locked file; it goes on being locked as long as it is open."""
    path = workdir / LOCK
    for attempt in range(10):
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            if attempt < 9:  # `status` holds it for a moment
                time.sleep(0.1)
                continue
            raise UserError(
                f"--workdir {workdir} is being written by {holder(workdir)}: "
                "wait for its end, stop it, or choose another folder"
            ) from None
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
                os.close(file)
                raise
            print(
                f"{workdir} is on a file system without locks: make sure that no other process "
                "writes to it",
                file=sys.stderr,
            )
            return file
        # Whoever held it before may have deleted the file that was opened here.
        with contextlib.suppress(OSError):
            if os.stat(path).st_ino == os.fstat(file).st_ino:
                told = {
                    "host": socket.gethostname(),
                    "process": os.getpid(),
                    "since": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
                }
                os.ftruncate(file, 0)
                os.write(file, json.dumps(told).encode())
                return file
        os.close(file)
    raise UserError(f"--workdir {workdir} is being written by others: choose another folder")


def holder(workdir: Path) -> str:
    """Who writes to the folder, in words."""
    try:
        told = json.loads((workdir / LOCK).read_text())
        return f"process {told['process']} on {told['host']} since {told['since']}"
    except (OSError, ValueError, KeyError):
        return "another process"


def is_held(workdir: Path) -> bool:
    """Whether a process writes to the folder."""
    try:
        with (workdir / LOCK).open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
