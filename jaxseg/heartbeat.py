"""A sign of life while nothing else is said."""

import contextlib
import threading
import time
from collections.abc import Callable


class Heartbeat:
    """Calls `beat` whenever `every` seconds have passed without a `touch`, until it is closed.

    It does so in a thread, which doesn't keep the process alive: the main thread may be compiling,
    or waiting for a device or a disk.
    """

    def __init__(self, beat: Callable[[], None], every: float):
        self._beat, self._every = beat, every
        self._touched = time.monotonic()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="jaxseg-heartbeat", daemon=True)
        self._thread.start()

    def touch(self) -> None:
        """Something was said."""
        self._touched = time.monotonic()

    def close(self) -> None:
        """No beat begins after this, and one that is under way ends first."""
        self._closed.set()
        self._thread.join()

    def _run(self) -> None:
        with contextlib.suppress(OSError, ValueError):  # nobody reads any more
            while not self._closed.wait(max(self._due(), 0.0)):
                if self._due() <= 0:
                    self.touch()
                    self._beat()

    def _due(self) -> float:
        """Seconds until the next beat."""
        return self._touched + self._every - time.monotonic()
