"""The exceptions that end a command, and the one line that each of them gets."""

import difflib
import re
import signal
import sys
from collections.abc import Iterable


class UserError(Exception):
    """Bad input. Its message is one line: what came, what was expected, and the fix.

    The command line prints it without a traceback and exits with `exit_code`.
    """

    exit_code = 2


class NonFiniteLossError(UserError):
    """Training diverged: nothing was wrong with the command, so the exit code is 1."""

    exit_code = 1


class IncompleteError(UserError):
    """Some of the work could not be done; the rest is, so the exit code is 1."""

    exit_code = 1


class Stopped(BaseException):  # like KeyboardInterrupt: no `except Exception` may catch it
    """A signal asked to stop. `text` is for a person; empty where another process says it."""

    def __init__(self, number: signal.Signals, text: str | None = None):
        if text is None:
            text = f"stopped by {number.name}; the same command continues or starts again"
        super().__init__(text)
        self.exit_code = 128 + number  # as shells have it: 130 for SIGINT, 143 for SIGTERM


_OUT_OF_MEMORY = re.compile(r"RESOURCE_EXHAUSTED: .*(memory|allocat)", re.DOTALL)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device's memory did not suffice."""
    is_of_jax = isinstance(error, RuntimeError | ValueError)  # JAX raises both
    return is_of_jax and bool(_OUT_OF_MEMORY.match(str(error)))


def explain(error: BaseException) -> tuple[int, str] | None:
    """The exit code and the line that `error` ends a command with; None: it needs its traceback."""
    match error:
        case Stopped():
            return error.exit_code, str(error)
        case KeyboardInterrupt():
            return 128 + signal.SIGINT, "interrupted"
        case UserError():
            return error.exit_code, str(error)
        case OSError():  # a full disk, a folder without permission: it names itself
            reason = error.strerror or first_line(error)
            name = f": {error.filename}" if error.filename is not None else ""
            return 2, f"{reason}{name}"
        case Exception() if is_out_of_memory(error):
            return 1, (
                f"the device is out of memory ({first_line(error)}): lower "
                "config.batch_size or augment.crop_size, raise config.grad_accum_steps, or set "
                "config.remat=True"
            )
    return None


def print_end(code: int, line: str) -> None:
    """The last line of a command that ends with `code`."""
    what = "error: " if code < 128 else ""  # else a signal, which is none
    print(f"jaxseg: {what}{line}", file=sys.stderr, flush=True)


def first_line(error: BaseException) -> str:
    """One line about an error of a library, never an empty one."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200]


def suggest(word: str, known: Iterable[str]) -> str:
    """Words that end an error about an unknown name: a close match, if any, and the list."""
    known = sorted(known)
    close = difflib.get_close_matches(word, known, n=1)
    return (f"did you mean {close[0]!r}? " if close else "") + "known: " + ", ".join(known)
