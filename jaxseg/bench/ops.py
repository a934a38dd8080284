"""Every lowering of every operation, beside PyTorch: forward, and forward with all gradients.

All alternate in one process, and medians are compared. Without PyTorch only the lowerings are
timed.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp

from jaxseg.bench import choices, record, timing
from jaxseg.bench.cases import CASES, Case
from jaxseg.bench.console import positive, table
from jaxseg.cli import flags
from jaxseg.errors import UserError, suggest
from jaxseg.ops import lowering
from jaxseg.ops.catalogue import OPERATIONS

DTYPES = ("float32", "bfloat16")
# Largest difference of lowerings, as a share of the result's norm. TF32 alone makes 0.001, a row
# of pixels in the wrong place 0.1.
TOLERANCE = {"float32": 0.01, "bfloat16": 0.05}
PYTORCH = "PyTorch, "
PARTS = ("forward", "with gradients")
HEADINGS = (
    "operation", "class of shapes", "dtype", "PyTorch, ms", "with gradients",
    "XLA's own: times that", "with gradients", "chosen", "times PyTorch", "with gradients",
    "compiled in, s",
)  # fmt: skip


def main(argv: Sequence[str]) -> None:
    command = "bench ops"
    values = flags.define()
    flags.string(values, "json", seconds="1", ops="all", dtypes=",".join(DTYPES))
    flags.boolean(values, "markdown", "write")
    flags.no_rest(command, flags.parse(values, command, argv))
    seconds = positive(command, values, "seconds")
    operations = _among(command, values, "ops", tuple(OPERATIONS))
    dtypes = _among(command, values, "dtypes", DTYPES)
    flags.quiet()
    # Both libraries live on one GPU: neither may take all of its memory at the start.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    asked_for = [("ops", operations, OPERATIONS), ("dtypes", dtypes, DTYPES)]
    some = "".join(
        f" --{flag} {','.join(words)}" for flag, words, every in asked_for if words != list(every)
    )
    ran = f"jaxseg {command}{some} --seconds {seconds:g}"
    host = {**timing.machine(), "command": ran + " --write" * values["write"].value}
    rest = choices.kept(host, partial=bool(some)) if values["write"].value else {}
    results = []
    chosen = [case.on(jax.default_backend()) for case in CASES if case.operation in operations]
    for number, (case, dtype) in enumerate((c, d) for c in chosen for d in dtypes):
        results.append(measure(case, dtype, seconds=seconds))
        done = f"{number + 1}/{len(chosen) * len(dtypes)}"
        print(f"{done} {_line(results[-1])}", file=sys.stderr, flush=True)
        if path := values["json"].value:
            record.write(Path(path), record.command_line(command, list(argv)), results)
    best = choices.choose(results)
    if values["write"].value:
        choices.write(host, best, rest)
    print(table(HEADINGS, list(rows(results, best)), markdown=values["markdown"].value))
    print(f"\n{host['machine']}; {host['versions']}")


def _among(command: str, values: Any, name: str, known: Sequence[str]) -> list[str]:
    words = values[name].value.split(",")
    for word in words:
        if word not in known and word != "all":
            raise UserError(f"{command}: --{name} names {word!r}; {suggest(word, known)}")
    return list(known) if "all" in words else words


def asked(case: Case, dtype: str) -> list[tuple[str, str, tuple[str, ...]]]:
    """The questions the case asks `lowering.choose`: (operation, class of shapes, lowerings)."""
    questions = []

    def choose(operation: str, shapes: str, dtype: Any, lowerings: Sequence[str]) -> str:
        questions.append((operation, shapes, tuple(lowerings)))
        return lowerings[0]

    shapes = [jax.ShapeDtypeStruct(s, jnp.dtype(dtype)) for s in (case.x, case.kernel) if s]
    with mock.patch.object(lowering, "choose", choose):
        jax.eval_shape(lambda *arrays: case(*arrays), *shapes)
    return questions


def measure(case: Case, dtype: str, *, seconds: float) -> dict[str, Any]:
    """Times and compile times of every lowering that can do the case, and of PyTorch.

    Raises:
      UserError: a lowering's result differs from the first one's.
    """
    arrays = case.arrays(dtype)
    lowerings = next(forms for name, _, forms in asked(case, dtype) if name == case.operation)
    shape = jax.eval_shape(lambda *arrays: case(*arrays), *arrays)
    gradient = jax.random.normal(jax.random.key(0), shape.shape, shape.dtype)
    forward: dict[str, Callable[[], Any]] = {}
    both: dict[str, Callable[[], Any]] = {}
    compiled = {}
    for name in lowerings:
        with lowering.forced({case.operation: name}):
            forward[name], _ = _compile(lambda *a: case(*a), arrays)
            both[name], compiled[name] = _compile(_with_gradients(case), (gradient, *arrays))
    first = {name: _once(program) for name, program in both.items()}
    _compare(case, dtype, {name: result for name, (result, _) in first.items()})
    known = {name: taken for name, (_, taken) in first.items()}
    del first
    try:
        from jaxseg.bench import torch_ops
    except ModuleNotFoundError:
        pass
    else:
        for layout, program in torch_ops.programs(case, arrays, gradient).items():
            forward[PYTORCH + layout], both[PYTORCH + layout] = program.forward, program.both
    return {
        "operation": case.operation,
        "shapes": case.shapes,
        "where": case.where,
        "x": case.x,
        "kernel": case.kernel,
        "options": case.options,
        "dtype": dtype,
        "forward": _medians(forward, seconds / 3, {}),
        "with gradients": _medians(both, seconds * 2 / 3, known),
        "compile": compiled,
    }


def _with_gradients(case: Case) -> Callable[..., Any]:
    """The output is returned too, or XLA would skip what the gradients do not need."""

    def both(gradient: jax.Array, *arrays: jax.Array) -> Any:
        y, pull = jax.vjp(lambda *a: case(*a), *arrays)
        return y, pull(gradient)

    return both


def _compile(function: Callable[..., Any], arrays: Sequence[jax.Array]) -> tuple[Any, float]:
    """A call of the compiled program that blocks until it is done, and its compile seconds."""
    lowered = jax.jit(function).lower(*arrays)
    start = time.perf_counter()
    program = lowered.compile()
    taken = time.perf_counter() - start
    return lambda: jax.block_until_ready(program(*arrays)), taken


def _once(program: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    return program(), time.perf_counter() - start


def _compare(case: Case, dtype: str, results: Mapping[str, Any]) -> None:
    """A wrong lowering must not win. In bfloat16 maxima are often tied, so gradients may differ."""
    (first, expected), *others = results.items()
    parts = ("output", "gradient of the input", "gradient of the kernel")
    for name, result in others:
        pairs = zip(jax.tree.leaves(expected), jax.tree.leaves(result), strict=True)
        for part, (want, got) in zip(parts, pairs, strict=False):
            want, got = want.astype(jnp.float32), got.astype(jnp.float32)
            difference = float(jnp.linalg.norm(got - want) / jnp.linalg.norm(want))
            if not difference < TOLERANCE[dtype] and (part == "output" or dtype == "float32"):
                raise UserError(
                    f"{case}, {dtype}: lowering {name!r} has another {part} than {first!r}, by "
                    f"{difference:.2g} of its norm: repair jaxseg/ops before timing it"
                )


def _medians(
    functions: Mapping[str, Callable[[], Any]], seconds: float, known: Mapping[str, float]
) -> dict[str, float]:
    """A program slower than a second and than five times the fastest is timed once."""
    once = {name: known.get(name) or _once(function)[1] for name, function in functions.items()}
    limit = max(1.0, 5 * min(once.values()))
    close = {name: function for name, function in functions.items() if once[name] <= limit}
    times = timing.interleaved(close, seconds=seconds)
    return once | {name: timing.median(each) for name, each in times.items()}


def rows(results: Sequence[Mapping[str, Any]], best: choices.Choices) -> Iterator[list[str]]:
    for result in results:
        own = next(iter(result["compile"]))
        chosen = best[result["operation"]][result["dtype"]][result["shapes"]]
        yield [
            f"{result['operation']}: {result['where']}",
            result["shapes"],
            result["dtype"],
            *(_milliseconds(torch_time(result, part)) for part in PARTS),
            *(_ratio(result, part, own) for part in PARTS),
            chosen,
            *(_ratio(result, part, chosen) for part in PARTS),
            f"{result['compile'][chosen]:.1f}",
        ]


def torch_time(result: Mapping[str, Any], part: str) -> float | None:
    """PyTorch's, in the layout that is faster; None without PyTorch."""
    times = [time for name, time in result[part].items() if name.startswith(PYTORCH)]
    return min(times, default=None)


def _milliseconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{1000 * seconds:.2f}"


def _ratio(result: Mapping[str, Any], part: str, name: str) -> str:
    reference = torch_time(result, part)
    return "" if reference is None else f"{result[part][name] / reference:.2f}"


def _line(result: Mapping[str, Any]) -> str:
    times = (f"{name} {1000 * time:.2f}" for name, time in result["with gradients"].items())
    where = f"{result['operation']}, {result['where']}, {result['dtype']}"
    return f"{where}: with gradients, ms: {', '.join(times)}"
