"""SIGINT (Ctrl-C), SIGTERM and SIGUSR2 ask to stop: clusters send the latter before a time limit.

Training saves first (`stopping.Stop`). All else has nothing to save: the signal ends the command.
"""

import contextlib
import signal
from collections.abc import Iterator
from typing import Any

from jaxseg.errors import Stopped

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)


@contextlib.contextmanager
def end_command() -> Iterator[None]:
    """SIGTERM and SIGUSR2 raise `Stopped` in here, as SIGINT raises KeyboardInterrupt."""

    def stop(number: int, frame: Any) -> None:
        raise Stopped(signal.Signals(number))

    old = {n: signal.signal(n, stop) for n in STOPPING if n != signal.SIGINT}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
