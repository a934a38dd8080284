"""The command `jaxseg`. Each part imports what it needs when it runs: help is instant."""

import os
import sys
from collections.abc import Callable, Sequence

from jaxseg.cli import allocator, bench, data, models, predict, runs, weights
from jaxseg.errors import UserError, suggest

HELP = """\
jaxseg: train, evaluate and look at segmentation networks in JAX

  jaxseg train     train a model from a config, or continue a run
  jaxseg evaluate  score a run on a split: per-class IoU
  jaxseg predict   masks and overlays for your own images
  jaxseg data      prepare a data set, show what training sees, count its classes
  jaxseg models    every model: paper, parameters, multiply-adds, whose weights fit
  jaxseg weights   look into other people's weights, make a run of them
  jaxseg bench     measure speed beside PyTorch, and what devices exchange

Example:
  jaxseg train --config configs/quickstart.py --workdir runs/quickstart

`jaxseg COMMAND --help` says more.
"""


COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {
    "train": runs.train,
    "evaluate": runs.evaluate,
    "predict": predict.predict,
    "data": data.data,
    "models": models.models,
    "weights": weights.weights,
    "bench": bench.bench,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 2 for wrong input, 1 for a run that failed."""
    is_program = argv is None
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("--help", "-h", "help"):
        print(HELP, end="")
        return 0
    name, rest = argv[0], argv[1:]
    try:
        if name not in COMMANDS:
            raise UserError(f"no command {name!r}; {suggest(name, COMMANDS)}")
        if {"--help", "-help", "-h"} & set(rest):
            print(_help(COMMANDS[name]), end="")
            return 0
        if is_program:
            allocator.use(name)
        COMMANDS[name](rest)
    except UserError as error:
        print(f"jaxseg: error: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # whoever read the output has seen enough, as in `jaxseg ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:  # a full disk, a folder without permission: it names itself
        print(f"jaxseg: error: {error.strerror}: {error.filename}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("jaxseg: interrupted", file=sys.stderr)
        return 130
    return 0


def _help(command: Callable) -> str:
    import inspect

    return inspect.getdoc(command) + "\n"  # pyright: ignore[reportOptionalOperand]
