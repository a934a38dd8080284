"""The collectives of one training step, counted in the program compiled for virtual CPU devices.

The aim: gradients are all-reduced once, in few collectives, as many bytes as there are parameters,
and nothing is gathered. XLA combines all-reduces, of any size on a CPU, up to 30 MB on a GPU
(`--xla_gpu_all_reduce_combine_threshold_bytes`), unless one depends on the other: a large network
keeps several, which on a GPU overlap with the rest of the backward pass. Batch norm needs two per
layer forward (mean, then variance) and one backward, which cannot be combined: each depends on the
one before.
"""

import concurrent.futures
import dataclasses
import math
import multiprocessing
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from jaxseg.bench import record, train_config
from jaxseg.bench.console import table
from jaxseg.cli import flags
from jaxseg.errors import UserError

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "collective-permute", "all-to-all")
MODEL = "unet,width=16,depth=3"  # the quickstart's
PARALLEL = ("jit", "pmap")  # values of config.parallel
HEADINGS = (
    "parallel", "devices", "parameters, KB",
    "gradient all-reduces", "KB", "batch-norm all-reduces", "KB", "of scalars alone",
    "gathers and others",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Moved:
    """An array that a collective carries, and the operation that produced it."""

    dtype: str
    shape: tuple[int, ...]
    origin: str

    @property
    def bytes(self) -> int:
        bits = re.sub(r"\D*(\d+).*", r"\1", self.dtype)  # f32, bf16, s32, f8e4m3; pred has none
        return math.prod(self.shape) * max(int(bits) // 8, 1) if bits.isdigit() else 1


@dataclasses.dataclass(frozen=True)
class Collective:
    kind: str  # of KINDS
    arrays: tuple[Moved, ...]

    @property
    def bytes(self) -> int:
        return sum(array.bytes for array in self.arrays)


def main(argv: Sequence[str]) -> None:
    values = flags.define(config=True)
    flags.string(values, "json", devices="1,2,4,8")
    flags.boolean(values, "markdown")
    command = "bench collectives"
    given = argv = list(argv)
    if not any(re.match(r"--?config(=|$)", word) for word in argv):
        argv = [f"--config={train_config.__file__}:{MODEL}", *argv]
    config = flags.parse_config(values, command, argv)
    counts = _device_counts(command, values["devices"].value)
    flags.quiet()
    rows = []
    for parallel in PARALLEL[:1] if config.fsdp else PARALLEL:
        for count in counts:
            print(f"{parallel}, {count} devices ...", file=sys.stderr, flush=True)
            rows.append(_row(parallel, count, *in_process(config.to_dict(), parallel, count)))
    if path := values["json"].value:
        results = [dict(zip(HEADINGS, row, strict=True)) for row in rows]
        record.write(Path(path), record.command_line(command, given), results)
    print(table(HEADINGS, rows, markdown=values["markdown"].value))


def _device_counts(command: str, text: str) -> list[int]:
    words = text.split(",")
    if not all(word.isdecimal() and 1 <= int(word) <= 64 for word in words):
        raise UserError(f"{command}: --devices is {text!r}, expected numbers up to 64: 1,2,4,8")
    return [int(word) for word in words]


def _row(
    parallel: str, devices: int, found: list[Collective], norms: set[str], size: int
) -> list[str]:
    reduces = [c for c in found if c.kind == "all-reduce"]
    parts = {name: [c for c in reduces if carries(c, norms) == name] for name in CARRIED}
    others = Counter(c.kind for c in found if c.kind != "all-reduce")
    cells = [parallel, str(devices), _kilobytes(size)]
    for name in ("gradients", "batch norm"):
        cells += [str(len(parts[name])), _kilobytes(sum(c.bytes for c in parts[name]))]
    gathers = ", ".join(f"{number} {kind}" for kind, number in others.items()) or "none"
    return [*cells, str(len(parts["scalars"])), gathers]


def _kilobytes(number: int) -> str:
    return f"{number / 1000:.1f}"


CARRIED = ("gradients", "batch norm", "scalars")


def carries(collective: Collective, norms: set[str]) -> str:
    """What an all-reduce is for, one of CARRIED.

    XLA combines scalars, such as the loss, with any other; under jit the sum over a norm's output
    gradients, which is also its bias's gradient, is combined with batch norm's.
    """
    owners = {_in_norm(array, norms) for array in collective.arrays if array.shape}
    if False in owners:
        return "gradients"
    return "batch norm" if owners else "scalars"


def _in_norm(array: Moved, norms: set[str]) -> bool:
    return any(f"{norm}/" in array.origin for norm in norms)


def in_process(
    config: dict[str, Any], parallel: str, devices: int
) -> tuple[list[Collective], set[str], int]:
    """`measure` in a process of its own: JAX fixes the number of devices when it starts."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_measure_on, config, parallel, devices).result()


def _measure_on(
    config: dict[str, Any], parallel: str, devices: int
) -> tuple[list[Collective], set[str], int]:
    import jax

    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", devices)
    flags.quiet()
    return measure(config, parallel)


def measure(config: dict[str, Any], parallel: str) -> tuple[list[Collective], set[str], int]:
    """Compile the training step for all devices and one image each; nothing is computed.

    With gradient accumulation it is one image in each micro-batch; a collective inside the loop
    over micro-batches counts once.

    Returns:
      its collectives; the paths of its batch norms; the bytes of its parameters.
    """
    import jax
    import jax.numpy as jnp

    from jaxseg.config import check_config, locked
    from jaxseg.data.palettes import voc_palette
    from jaxseg.data.source import Classes
    from jaxseg.program import build_program

    host = {**config["augment"], "on_device": False}  # nothing of it crosses devices
    settings = check_config(locked({**config, "parallel": parallel, "augment": host}))
    classes = Classes(tuple(f"class_{i}" for i in range(21)), voc_palette(21))  # VOC's number
    program = build_program(settings, classes, announce=lambda _: None)
    state = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=program.parallel.sharding(x)),
        program.state_shapes(),
    )
    devices, parts = program.parallel.num_devices, settings.grad_accum_steps
    share = (devices * parts,) if parallel == "jit" else (devices, parts)
    size = (*share, *settings.augment.crop_size)
    batch = {
        "image": jax.ShapeDtypeStruct((*size, 3), jnp.uint8),
        "label": jax.ShapeDtypeStruct(size, jnp.int32),
    }
    # Optimised as usual, without machine code: nothing will run.
    options = {"xla_backend_optimization_level": "0"}
    program = program.train_step.lower(state, batch).compile(compiler_options=options)
    paths = jax.tree_util.tree_flatten_with_path(state.batch_stats)[0]
    norms = {"/".join(entry.key for entry in path[:-1]) for path, _ in paths}
    sizes = (leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state.params))
    return list(collectives(program.as_text())), norms, sum(sizes)


INSTRUCTION = re.compile(rf"%?([\w.-]+) = (.*?) ({'|'.join(KINDS)})\(")
ARRAY = re.compile(r"\b([a-z]+\d*\w*)\[([\d,]*)\]")
PART = re.compile(r"get-tuple-element\(%?([\w.-]+)\), index=(\d+)")
ORIGIN = re.compile(r'op_name="([^"]*)"')


def collectives(program: str) -> Iterator[Collective]:
    """The collectives in the text of an optimized program, in its order."""
    lines = program.splitlines()
    parts: dict[tuple[str, int], str] = {}  # each array of a combined collective has its own origin
    for line in lines:
        if match := PART.search(line):
            parts[match[1], int(match[2])] = _origin(line)
    for line in lines:
        if match := INSTRUCTION.search(line):
            name, result, kind = match.groups()
            arrays = (
                Moved(dtype, tuple(map(int, filter(None, shape.split(",")))),
                      parts.get((name, i), _origin(line)))
                for i, (dtype, shape) in enumerate(ARRAY.findall(result))
            )  # fmt: skip
            yield Collective(kind, tuple(arrays))


def _origin(line: str) -> str:
    match = ORIGIN.search(line)
    return match[1] if match else ""
