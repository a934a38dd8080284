"""The command `jaxseg`. Each part imports what it needs when it runs: help is instant."""

import os
import sys
from collections.abc import Callable, Sequence

from jaxseg import signals
from jaxseg.cli import (
    allocator,
    bench,
    data,
    evaluate,
    models,
    plot,
    predict,
    report,
    sweep,
    train,
    weights,
)
from jaxseg.errors import UserError, explain, print_end, suggest

HELP = """\
jaxseg: train, evaluate and look at segmentation networks in JAX

  jaxseg train     train a model from a config, or continue a run
  jaxseg evaluate  score a run on a split: per-class IoU
  jaxseg predict   masks and overlays for your own images
  jaxseg report    a run on one page: scores, curves, confusion, best and worst images
  jaxseg plot      loss, mIoU and per-class IoU of one or several runs as a picture
  jaxseg sweep     an ablation: rows x seeds of runs, on one machine or a cluster
  jaxseg data      prepare a data set, show what training sees, count its classes
  jaxseg models    every model: paper, parameters, multiply-adds, whose weights fit
  jaxseg weights   inspect other people's weights, convert them into a run
  jaxseg bench     measure speed beside PyTorch, and what devices exchange

Example:
  jaxseg train --config configs/quickstart.py --workdir runs/quickstart

`jaxseg COMMAND --help` says more.
"""


COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {
    "train": train.train,
    "evaluate": evaluate.evaluate,
    "predict": predict.predict,
    "report": report.report,
    "plot": plot.plot,
    "sweep": sweep.sweep,
    "data": data.data,
    "models": models.models,
    "weights": weights.weights,
    "bench": bench.bench,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code.

    0: done. 1: the run failed. 2: wrong input. 128 + N: stopped by signal N, as 130 by Ctrl-C.
    """
    is_program = argv is None
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("--help", "-h", "help"):
        print(HELP, end="")
        return 0
    try:
        with signals.end_command():
            _run(argv[0], argv[1:], is_program)
    except BrokenPipeError:  # whoever read the output has seen enough, as in `jaxseg ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except BaseException as error:
        if (explained := explain(error)) is None:
            raise
        code, line = explained
        if line:
            print_end(code, line)
        return code
    return 0


def _run(name: str, argv: Sequence[str], is_program: bool) -> None:
    if name not in COMMANDS:
        raise UserError(f"no command {name!r}; {suggest(name, COMMANDS)}")
    if {"--help", "-help", "-h"} & set(argv):
        print(_help(COMMANDS[name]), end="")
        return
    if is_program:
        allocator.use(name)
    COMMANDS[name](argv)


def _help(command: Callable) -> str:
    import inspect

    return inspect.getdoc(command) + "\n"  # pyright: ignore[reportOptionalOperand]
