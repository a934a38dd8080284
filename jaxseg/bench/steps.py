"""Whole steps of training and prediction, jaxseg against PyTorch, side by side.

Both sides run the same networks (`torch_models`) on the same batch; see `torch_side.py`. On a CPU
each has a process of its own, and bursts of steps alternate. Medians are compared; what the first
step took longer, compilation and choice of algorithms, stands apart. PyTorch runs in several modes,
of which the fastest counts: on a CPU eager in both memory layouts and torch.compile, on a GPU
channels_last, eager, torch.compile and its max-autotune.

"of matmul" is the arithmetic of the network, two operations a multiply-add, three times as many in
training, as a share of what the faster library makes of one large matrix product in that dtype.
Memory is measured in further processes; see `memory.py`.
"""

import dataclasses
import os
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxseg.bench import record
from jaxseg.bench import timing as timing  # before PyTorch, which reads what it sets
from jaxseg.bench.console import positive, table
from jaxseg.bench.modes import JAXSEG, PYTORCH, fastest
from jaxseg.cli import flags
from jaxseg.errors import UserError, suggest


@dataclasses.dataclass(frozen=True)
class Network:
    """A network, and the size of images it is usually trained on."""

    model: str
    options: dict[str, Any]
    size: int = 513


NETWORKS = {
    "deeplabv3plus_mobilenet_v2": Network(
        "deeplabv3plus", {"backbone": "mobilenet_v2", "separable": True}
    ),
    "deeplabv3plus_resnet50": Network("deeplabv3plus", {"backbone": "resnet50"}),
    "unet": Network("unet", {}, size=512),
    "deeplabv3_resnet101": Network("deeplabv3", {"backbone": "resnet101", "multi_grid": (1, 2, 4)}),
    "deeplabv3plus_xception65": Network(
        "deeplabv3plus", {"backbone": "xception65", "separable": True}
    ),
    "fcn8s_vgg16": Network("fcn", {}, size=500),
    "deeplabv3_resnet50": Network("deeplabv3", {"backbone": "resnet50", "multi_grid": (1, 2, 4)}),
}
COMMAND = "bench steps"
MODES = ("train", "predict")
DTYPES = ("float32", "bfloat16")
DEFAULTS = {"cpu": (2, "float32"), "cuda": (16, "bfloat16")}  # batch, dtype
HEADINGS = (
    "network", "mode", "batch", "size", "dtype",
    "jaxseg, images/s", "PyTorch, images/s", "PyTorch's fastest mode", "jaxseg / PyTorch",
    "jaxseg, of matmul", "PyTorch, of matmul",
    "jaxseg, peak memory, GB", "PyTorch, peak memory, GB",
    "jaxseg, compilation, s", "PyTorch, compilation, s",
)  # fmt: skip


def main(argv: Sequence[str]) -> None:
    values = flags.define()
    flags.string(values, "batch", "size", "dtype", "json", "pytorch")
    flags.string(values, models=",".join(NETWORKS), mode=",".join(MODES), seconds="10")
    flags.boolean(values, "markdown", "skip_memory")
    flags.no_rest(COMMAND, flags.parse(values, COMMAND, argv))
    names, modes = _chosen(values, "models", NETWORKS), _chosen(values, "mode", MODES)
    dtypes = _chosen(values, "dtype", DTYPES) if values["dtype"].value else [None]
    batch, size = _count(values, "batch"), _count(values, "size")
    seconds = positive(COMMAND, values, "seconds")
    if len(dtypes) > 1:
        raise UserError(f"{COMMAND}: --dtype is {values['dtype'].value!r}, expected one")
    if batch == 1:  # batch norm after image pooling has no variance within one image
        raise UserError(f"{COMMAND}: --batch is 1, expected at least 2")
    flags.quiet()
    device = find_device()
    known = PYTORCH[device]
    pytorch = _chosen(values, "pytorch", known) if values["pytorch"].value else known
    rows = [
        start_row(name, mode, device, batch=batch, size=size, dtype=dtypes[0])
        for name in names
        for mode in modes
    ]
    memory = not values["skip_memory"].value
    for _ in measured(rows, device, [JAXSEG, *pytorch], seconds, memory=memory):
        if path := values["json"].value:
            record.write(Path(path), record.command_line(COMMAND, list(argv)), rows)
    print(table(HEADINGS, [cells(row) for row in rows], markdown=values["markdown"].value))
    for line in errors(rows):
        print(line)


def _chosen(values: Any, name: str, known: Collection[str]) -> list[str]:
    words = values[name].value.split(",")
    for word in words:
        if word not in known:
            raise UserError(f"{COMMAND}: --{name} names {word!r}; {suggest(word, known)}")
    return words


def _count(values: Any, name: str) -> int | None:
    """The whole number of a flag, if it was given."""
    if not values[name].value:
        return None
    number = positive(COMMAND, values, name)
    if number % 1:
        raise UserError(f"{COMMAND}: --{name} is {number}, expected a whole number")
    return int(number)


def find_device() -> str:
    """PyTorch's name of the device that both sides run on."""
    # read when the libraries begin: neither takes all memory at once, and one GPU is used
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")
    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise UserError(f"{COMMAND} needs PyTorch to compare with: pip install torch") from None
    import jax

    ours = {"gpu": "cuda"}.get(jax.default_backend(), jax.default_backend())
    theirs = "cuda" if torch.cuda.is_available() else "cpu"
    if ours != theirs:
        raise UserError(
            f"{COMMAND}: JAX runs on {ours}, PyTorch on {theirs}: install both for the GPU, or "
            "hide it with JAX_PLATFORMS=cpu CUDA_VISIBLE_DEVICES=-1"
        )
    return ours


def start_row(
    network: str,
    mode: str,
    device: str,
    *,
    batch: int | None = None,
    size: int | None = None,
    dtype: str | None = None,
) -> dict[str, Any]:
    """A row before it is measured; None is what is usual on the device."""
    usual_batch, usual_dtype = DEFAULTS[device]
    return {
        "network": network,
        "mode": mode,
        "batch": batch or usual_batch,
        "size": size or NETWORKS[network].size,
        "dtype": dtype or usual_dtype,
    }


def measured(
    rows: Sequence[dict[str, Any]],
    device: str,
    sides: Collection[str],
    seconds: float,
    *,
    memory: bool,
) -> Iterator[None]:
    """Fill in the rows, one after the other; yields whenever there is more to keep."""
    import jax

    from jaxseg.bench import compare

    rate = compare.matmul_rate(rows[0]["dtype"], device)
    with tempfile.TemporaryDirectory() as folder:
        cache = os.environ.get("JAX_COMPILATION_CACHE_DIR", folder)
        jax.config.update("jax_compilation_cache_dir", cache)
        for row in rows:
            print(f"{row['network']}, {row['mode']} ...", file=sys.stderr, flush=True)
            for found in compare.measure(setting_of(row, device), sides, seconds, rate, cache):
                row.update(found, matmul_rate=rate)
                yield
            if memory:
                for _ in add_memory(row, device, cache):
                    yield


def add_memory(row: dict[str, Any], device: str, cache: str) -> Iterator[None]:
    """The peak memory of jaxseg and of PyTorch's fastest mode; yields after each."""
    from jaxseg.bench import memory as peaks

    row["peak_bytes"] = {}
    for side in (JAXSEG, fastest(row["seconds"])):
        if side in row["seconds"]:
            try:
                row["peak_bytes"][side] = peaks.peak(setting_of(row, device), side, cache)
            except RuntimeError as error:
                row["errors"][f"memory of {side}"] = str(error)
            yield


def setting_of(row: Mapping[str, Any], device: str) -> Any:
    """The `Setting` of a row."""
    from jaxseg.bench.setting import Setting

    network = NETWORKS[row["network"]]
    given = {key: row[key] for key in ("mode", "batch", "size", "dtype")}
    return Setting(network.model, network.options, device=device, **given)


def cells(row: Mapping[str, Any]) -> list[str]:
    """A row as the table has it; empty where a side has no number."""
    seconds, peaks = row.get("seconds", {}), row.get("peak_bytes", {})
    best = fastest(seconds)
    sides = (JAXSEG, best)

    def each(key: str, form: str, scale: float = 1.0) -> Iterator[str]:
        for side in sides:
            value = row.get(key, {}).get(side)
            yield "" if value is None else format(value * scale, form)

    speeds = {side: row["batch"] / seconds[side] for side in sides if side in seconds}
    return [
        *(str(row[key]) for key in ("network", "mode", "batch", "size", "dtype")),
        *(f"{speeds[side]:.3g}" if side in speeds else "" for side in sides),
        best,
        f"{speeds[JAXSEG] / speeds[best]:.2f}" if len(speeds) == 2 else "",
        *each("matmul_share", ".0%"),
        *(f"{peaks[side] / 1e9:.2f}" if side in peaks else "" for side in sides),
        *each("compilation", ".1f"),
    ]


def errors(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for each side that failed."""
    return [
        f"{row['network']}, {row['mode']}, {side}: {error}"
        for row in rows
        for side, error in row.get("errors", {}).items()
    ]


if __name__ == "__main__":
    main(sys.argv[1:])
