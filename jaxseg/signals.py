"""SIGINT (Ctrl-C), SIGTERM and SIGUSR2 ask to stop: clusters send the latter before a time limit.

Training saves first (`stopping.Stop`). All else has nothing to save: the signal ends the command.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

from jaxseg.errors import Stopped

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)
_AGAIN = 0.05  # seconds


@contextlib.contextmanager
def end_command() -> Iterator[None]:
    """SIGTERM and SIGUSR2 raise `Stopped` in here, SIGINT raises KeyboardInterrupt.

    While a module is imported they wait: what Python raises in the middle of a compiled module, as
    JAX has them, makes C++ abort the process.
    """
    waiting: list[threading.Timer] = []

    def stop(number: int, frame: FrameType | None) -> None:
        if _is_importing(frame):
            timer = threading.Timer(_AGAIN, os.kill, (os.getpid(), number))
            timer.daemon = True
            timer.start()
            waiting.append(timer)
        elif number == signal.SIGINT:
            raise KeyboardInterrupt
        else:
            raise Stopped(signal.Signals(number))

    numbers = set(STOPPING)
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        numbers.remove(signal.SIGINT)  # which a shell's background jobs ignore
    old: dict[int, Any] = {n: signal.signal(n, stop) for n in numbers}
    try:
        yield
    finally:
        for timer in waiting:
            timer.cancel()
        for number, handler in old.items():
            signal.signal(number, handler)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
