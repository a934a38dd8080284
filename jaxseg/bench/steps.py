"""Whole steps of training and prediction, jaxseg against PyTorch, side by side in one process.

Both sides run the same networks (`torch_models`) on the same batch; see `sides.py`. They take
turns, and medians are compared. What the first step took longer, compilation and choice of
algorithms, stands apart. PyTorch: on a CPU eager in both memory layouts, on a GPU channels_last,
eager and by torch.compile; the fastest counts.

"of the chip" is the arithmetic of the network, two operations a multiply-add, three times as many
in training, as a share of what the faster library makes of one large matrix product in that dtype.
Memory is that of a step's peak, measured in a process for each side; see `memory.py`.
"""

import dataclasses
import json
import os
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxseg import files
from jaxseg.bench import timing  # before PyTorch, which reads what it sets
from jaxseg.bench.console import positive, table
from jaxseg.cli import flags
from jaxseg.errors import UserError, suggest


@dataclasses.dataclass(frozen=True)
class Case:
    """A network, and the size of images it is usually trained on."""

    model: str
    options: dict[str, Any]
    size: int = 513


CASES = {
    "deeplabv3plus_mobilenet_v2": Case(
        "deeplabv3plus", {"backbone": "mobilenet_v2", "separable": True}
    ),
    "deeplabv3plus_resnet50": Case("deeplabv3plus", {"backbone": "resnet50"}),
    "unet": Case("unet", {}, size=512),
    "deeplabv3_resnet101": Case("deeplabv3", {"backbone": "resnet101", "multi_grid": (1, 2, 4)}),
    "deeplabv3plus_xception65": Case(
        "deeplabv3plus", {"backbone": "xception65", "separable": True}
    ),
    "fcn8s_vgg16": Case("fcn", {}, size=500),
    "deeplabv3_resnet50": Case("deeplabv3", {"backbone": "resnet50", "multi_grid": (1, 2, 4)}),
}
COMMAND = "bench steps"
MODES = ("train", "predict")
DTYPES = ("float32", "bfloat16")
DEFAULTS = {"cpu": (2, "float32"), "cuda": (16, "bfloat16")}  # batch, dtype
HEADINGS = (
    "network", "mode", "batch", "size", "dtype",
    "jaxseg, images/s", "PyTorch, images/s", "PyTorch's fastest way", "jaxseg / PyTorch",
    "jaxseg, of the chip", "PyTorch, of the chip",
    "jaxseg, memory, GB", "PyTorch, memory, GB",
    "jaxseg, compilation, s", "PyTorch, compilation, s",
)  # fmt: skip


def main(argv: Sequence[str]) -> None:
    values = flags.define()
    flags.string(values, "batch", "size", "dtype", "json")
    flags.string(values, models=",".join(CASES), mode=",".join(MODES), seconds="10")
    flags.boolean(values, "markdown", "skip_memory")
    flags.no_rest(COMMAND, flags.parse(values, COMMAND, argv))
    names, modes = _chosen(values, "models", CASES), _chosen(values, "mode", MODES)
    dtypes = _chosen(values, "dtype", DTYPES) if values["dtype"].value else [None]
    batch, size = _count(values, "batch"), _count(values, "size")
    seconds = positive(COMMAND, values, "seconds")
    if len(dtypes) > 1:
        raise UserError(f"{COMMAND}: --dtype is {values['dtype'].value!r}, expected one")
    if batch == 1:  # batch norm after image pooling has no variance within one image
        raise UserError(f"{COMMAND}: --batch is 1, expected at least 2")
    flags.quiet()
    device = _device()
    usual_batch, usual_dtype = DEFAULTS[device]
    settings = [
        {
            "network": name,
            "mode": mode,
            "batch": batch or usual_batch,
            "size": size or CASES[name].size,
            "dtype": dtypes[0] or usual_dtype,
        }
        for name in names
        for mode in modes
    ]
    rows: list[dict[str, Any]] = []
    for row in _measured(settings, device, seconds, memory=not values["skip_memory"].value):
        rows.append(row)
        if path := values["json"].value:
            report = {**timing.machine(), "rows": rows}
            files.write_text(Path(path), json.dumps(report, indent=1) + "\n")
    print(table(HEADINGS, [cells(row) for row in rows], markdown=values["markdown"].value))


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


def _device() -> str:
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


def _measured(
    settings: Sequence[dict[str, Any]], device: str, seconds: float, *, memory: bool
) -> Iterator[dict[str, Any]]:
    """The settings with their figures, one after the other."""
    from jaxseg.bench import contest

    rate = contest.matmul_rate(settings[0]["dtype"], device)
    with tempfile.TemporaryDirectory() as folder:
        cache = os.environ.get("JAX_COMPILATION_CACHE_DIR", folder)
        for row in settings:
            print(f"{row['network']}, {row['mode']} ...", file=sys.stderr, flush=True)
            setting = setting_of(row, device)
            row = {**row, "matmul": rate, **contest.measure(setting, seconds, rate, cache)}
            row["way"] = contest.best(row["seconds"])
            if memory:
                row["peak_bytes"] = contest.memory(setting, row["way"], cache)
            yield row


def setting_of(row: Mapping[str, Any], device: str) -> Any:
    """The `sides.Setting` of a row."""
    from jaxseg.bench.sides import Setting

    case = CASES[row["network"]]
    given = {key: row[key] for key in ("mode", "batch", "size", "dtype")}
    return Setting(case.model, case.options, device=device, **given)


def cells(row: Mapping[str, Any]) -> list[str]:
    """A row as the table has it."""
    seconds, way, peaks = row["seconds"], row["way"], row.get("peak_bytes", {})
    sides = ("jaxseg", way)
    return [
        *(str(row[key]) for key in ("network", "mode", "batch", "size", "dtype")),
        *(f"{row['batch'] / seconds[side]:.3g}" for side in sides),
        way,
        f"{seconds[way] / seconds['jaxseg']:.2f}",
        *(f"{row['of_the_chip'][side]:.0%}" for side in sides),
        *(f"{peaks[side] / 1e9:.2f}" if peaks.get(side) else "" for side in sides),
        *(f"{row['compilation'][side]:.1f}" for side in sides),
    ]


if __name__ == "__main__":
    main(sys.argv[1:])
