"""Flags of a command: defined, parsed into values, and asked for."""

import os
import re
import sys
from collections.abc import Sequence
from typing import Any

from jaxseg.errors import UserError


def define(*, config: bool = False) -> Any:
    from absl import flags

    values = flags.FlagValues()
    if config:
        from jaxseg.overrides import define_flag

        define_flag(values)
    return values


def string(values: Any, *names: str, **defaults: str) -> None:
    from absl import flags

    for name in (*names, *defaults):
        flags.DEFINE_string(name, defaults.get(name), "", flag_values=values)


def strings(values: Any, *names: str) -> None:
    """Flags that may be given several times; None where they are not."""
    from absl import flags

    for name in names:
        flags.DEFINE_multi_string(name, None, "", flag_values=values)


def boolean(values: Any, *names: str) -> None:
    from absl import flags

    for name in names:
        flags.DEFINE_boolean(name, False, "", flag_values=values)


PROCESSES = ("coordinator_address", "num_processes", "process_id")


def processes(values: Any) -> None:
    """The flags by which several processes make one run."""
    from absl import flags

    boolean(values, "distributed")
    string(values, PROCESSES[0])
    for name in PROCESSES[1:]:
        flags.DEFINE_integer(name, None, "", lower_bound=0, flag_values=values)


def connect(values: Any, command: str) -> None:
    """Join the run's other processes if the flags of `processes` say that there are some."""
    given = [values[name].value if values[name].present else None for name in PROCESSES]
    missing = [name for name, value in zip(PROCESSES, given, strict=True) if value is None]
    if not values["distributed"].value:
        if len(missing) == len(PROCESSES):
            return
        if missing:
            raise UserError(
                f"{command} got some of --{', --'.join(PROCESSES)} but no --{missing[0]}: give all "
                "three, or --distributed where Slurm, Open MPI or Kubernetes starts the processes"
            )
    if not missing:
        _check_processes(*(values[name].value for name in PROCESSES))
    from jaxseg import hosts

    hosts.connect(*given)


def _check_processes(coordinator: str, count: int, index: int) -> None:
    if not re.fullmatch(r".+:\d+", coordinator):
        raise UserError(
            f"--coordinator_address={coordinator}, expected HOST:PORT of the first process, such "
            "as 10.0.0.1:1234"
        )
    if index >= count:
        raise UserError(
            f"--process_id={index} of --num_processes={count}, expected one of 0 to {count - 1}"
            if count
            else "--num_processes=0, expected at least 1"
        )


def parse(values: Any, command: str, argv: Sequence[str]) -> list[str]:
    from jaxseg.overrides import parse_flags

    return parse_flags(values, command, argv)


def split_overrides(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    from jaxseg.overrides import split_overrides

    return split_overrides(argv)


def parse_config(values: Any, command: str, argv: Sequence[str]) -> Any:
    """The locked config of `--config`, with its overrides."""
    no_rest(command, parse(values, command, argv))
    return required(values, command, "config")


def count(values: Any, command: str, name: str) -> int:
    """The number that a string flag holds, 0 or more."""
    text = values[name].value
    if not text.isdecimal():
        raise UserError(f"{command}: --{name} is {text!r}, expected a number")
    return int(text)


def one_argument(argv: Sequence[str], part: str, what: str) -> str:
    """The only word of `argv`, which is no flag; `what` is expected after `jaxseg sweep PART`."""
    if len(argv) != 1 or argv[0].startswith("-"):
        given = " ".join(argv) or "nothing"
        raise UserError(f"jaxseg sweep {part}: expected {what}, got {given}")
    return argv[0]


def required(values: Any, command: str, name: str) -> Any:
    value = values[name].value
    if not value:
        raise UserError(f"{command} needs --{name}; `jaxseg {command} --help` shows an example")
    return value


def no_rest(command: str, rest: Sequence[str]) -> None:
    if rest:
        raise UserError(f"{command} takes flags only, got {' '.join(rest)}: did you forget `--`?")


def set_up() -> None:
    """For what computes: libraries' chatter off, and compiled programs kept for the next time."""
    quiet()
    from jaxseg import compilation

    compilation.cache()


def quiet() -> None:
    """Libraries' chatter off; what matters to a person, jaxseg says itself."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import logging

    from absl import logging as absl_logging

    absl_logging.set_verbosity(absl_logging.FATAL)  # Orbax logs an error as well as raising it
    # Orbax waits for TensorStore's writes in an event loop, which the first that fails ends. Each
    # of the others, hundreds on a full disk, complains that nobody wants its error any more: as a
    # task of that loop, or as a call to it.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    sys.unraisablehook = _without_closed_loops


def _without_closed_loops(unraisable: Any) -> None:
    if str(unraisable.exc_value) != "Event loop is closed":
        sys.__unraisablehook__(unraisable)
