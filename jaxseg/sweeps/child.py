"""Starts a run's command such that it does not outlive who started it.

    python -m jaxseg.sweeps.child PARENT COMMAND ...

If process PARENT dies, however it dies, Linux sends SIGTERM to this one (prctl(2),
PR_SET_PDEATHSIG, which survives execve): the run saves and stops, and its GPU is free for the sweep
that is started anew. Elsewhere than on Linux nothing watches the parent.
"""

import contextlib
import ctypes
import os
import signal
import sys

_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of <linux/prctl.h>


def main() -> None:
    parent, *command = sys.argv[1:]
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)
    if os.getppid() != int(parent):  # it died before
        sys.exit(128 + signal.SIGTERM)
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
