"""Which lowering of an operation runs: the one that was measured to be the fastest.

An operation can be computed in several ways, equal to rounding, of which XLA's obvious one is at
times fifty times slower than the best. `lowerings.json` names the fastest for each platform,
operation, dtype and class of shapes, with the machine it was measured on; the command
`jaxseg bench ops --write` writes it. Where nothing was measured, the operation's first lowering
runs, XLA's own form. `config.lowerings` decides otherwise.
"""

import contextlib
import contextvars
import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

MEASURED = "measured"  # in a config: what the table says
# Where one program runs on several devices, each with its part of the batch: "rows" adds up the
# whole batch in every iteration of a loop, and in each the devices would wait for each other.
SPLIT = {"conv": "native"}
TABLE = Path(__file__).with_name("lowerings.json")

_forced: contextvars.ContextVar[Mapping[str, str] | None] = contextvars.ContextVar(
    "forced", default=None
)
_target: contextvars.ContextVar[str | None] = contextvars.ContextVar("target", default=None)


def choose(operation: str, shapes: str, dtype: Any, lowerings: Sequence[str]) -> str:
    """The lowering of `operation` to trace now, one of `lowerings`: those that can do it.

    Args:
      operation: its name in the table and in `config.lowerings`.
      shapes: the class of its shapes, as the operation itself divides them.
      dtype: of its input.
      lowerings: XLA's own first.
    """
    wanted = (_forced.get() or {}).get(operation, MEASURED)
    if wanted in lowerings:
        return wanted
    choices = table().get(platform(), {}).get("choices", {})
    measured = choices.get(operation, {}).get(jnp.dtype(dtype).name, {}).get(shapes)
    return measured if measured in lowerings else lowerings[0]


def platform() -> str:
    """What the function traced now will run on, "cpu" or "gpu": as `forced` says, or JAX's default.

    A device or backend given to `jax.jit` does not show while it traces: say it to `forced`.
    """
    if target := _target.get():
        return target
    settings: Any = jax.config  # its attributes are made at run time
    device = settings.jax_default_device
    if isinstance(device, str):
        device = jax.local_devices(backend=device)[0]
    return device.platform if device else jax.default_backend()


@contextlib.contextmanager
def forced(choices: Mapping[str, str], platform: str | None = None) -> Iterator[None]:
    """While a function is traced in here, these operations have these lowerings.

    An operation whose choice is "measured", or can't do the shapes at hand, has the table's for
    `platform`, that of the devices which the function will run on.
    """
    choices_token = _forced.set(dict(choices))
    target_token = _target.set(platform or _target.get())
    try:
        yield
    finally:
        _target.reset(target_token)
        _forced.reset(choices_token)


@functools.cache
def table() -> dict[str, Any]:
    """For each platform "machine", "versions", "command" and the "choices".

    These are {operation: {dtype: {class of shapes: lowering}}}.
    """
    return json.loads(TABLE.read_text())
