"""Training that a signal asks to stop saves first, at a step on which all processes agree."""

import contextlib
import os
import signal
import sys
import threading

import jax
from jax.experimental import multihost_utils

from jaxseg import hosts
from jaxseg.errors import Stopped, print_end
from jaxseg.signals import STOPPING


class Stop:
    """Whether training was asked to stop: a `with` block in the main thread listens to signals.

    A thread reads them, so that the second Ctrl-C ends this process at once even while the main
    thread compiles or waits for a device.
    """

    def __init__(self) -> None:
        self.requested = False  # the last answer of `poll`
        self._signal: signal.Signals | None = None
        self._polls = 0

    def poll(self) -> bool:
        """Ask whether to stop now: once per step, and per batch of an evaluation.

        Processes agree by counting: all call this equally often and get the same answers.
        """
        self._polls += 1
        if jax.process_count() == 1:
            self.requested = self._signal is not None
        elif not self.requested:
            self.requested = multihost_utils.reached_preemption_sync_point(self._polls)
        return self.requested

    def stopped(self, text: str) -> Stopped:
        """What to raise once everything is saved; the first process says `text`."""
        number = self._signal or signal.SIGTERM  # which another process got
        return Stopped(number, text if hosts.is_first() else "")

    def __enter__(self) -> "Stop":
        # With several processes JAX listens to SIGTERM and tells the others.
        numbers = [n for n in STOPPING if n != signal.SIGTERM or jax.process_count() == 1]
        with contextlib.ExitStack() as undo:
            reader, writer = os.pipe()
            os.set_blocking(writer, False)
            thread = threading.Thread(target=self._listen, args=(reader,), daemon=True)
            undo.callback(os.close, reader)
            undo.callback(thread.join)
            undo.callback(os.close, writer)  # ends the thread
            thread.start()
            undo.callback(signal.set_wakeup_fd, signal.set_wakeup_fd(writer))
            for number in numbers:  # a signal needs a handler to reach the thread
                undo.callback(signal.signal, number, signal.signal(number, lambda *_: None))
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    def _listen(self, reader: int) -> None:
        while byte := os.read(reader, 1):
            number = signal.Signals(byte[0])
            if number not in STOPPING:
                continue
            if number == signal.SIGINT and self._signal:
                print_end(128 + number, "interrupted")
                os._exit(128 + number)
            self._signal = self._signal or number
            print(f"jaxseg: {number.name}: saving, then stopping", file=sys.stderr, flush=True)
            if jax.process_count() > 1:
                signal.raise_signal(signal.SIGTERM)
