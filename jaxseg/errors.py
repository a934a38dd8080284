"""The exceptions that mean "this is wrong, and here is how to mend it"."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Bad input. Its message is one line: what came, what was expected, and the fix.

    The command line prints it without a traceback and exits with `exit_code`.
    """

    exit_code = 2


class NonFiniteLossError(UserError):
    """Training diverged: nothing was wrong with the command, so the exit code is 1."""

    exit_code = 1


def suggest(word: str, known: Iterable[str]) -> str:
    """Words that end an error about an unknown name: a close match, if any, and the list."""
    known = sorted(known)
    close = difflib.get_close_matches(word, known, n=1)
    return (f"did you mean {close[0]!r}? " if close else "") + "known: " + ", ".join(known)
