"""Devices: where the batch and the state lie, and how a pure step is compiled for them.

Two ways with the same four methods. `Jit` shards the batch over a mesh and lets the compiler see
the global program; `Pmap` runs one program a device that adds over a named axis. Both keep the
state replicated in the same form, so one checkpoint serves both.
"""

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxseg import compilation
from jaxseg.errors import UserError, suggest

Announce = Callable[[str], None]


class Jit:
    """One program over all devices, batch split along the mesh axis "data"."""

    axis_name = None

    def __init__(self, devices: Sequence[Any]):
        mesh = Mesh(np.asarray(devices), ("data",))
        self.num_devices = len(devices)
        self._replicated = NamedSharding(mesh, PartitionSpec())
        self._split = NamedSharding(mesh, PartitionSpec("data"))

    def replicate(self, tree: Any) -> Any:
        return jax.device_put(tree, self._replicated)

    def place(self, arrays: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
        return {k: jax.device_put(v, self._split) for k, v in arrays.items()}

    def compile_train(self, step: Callable) -> Callable:
        # The old state is never needed again; on the CPU a checkpoint may still be reading it.
        donate = () if jax.default_backend() == "cpu" else (0,)
        return self._compile(step, out=(self._replicated, self._replicated), donate=donate)

    def compile_eval(self, step: Callable) -> Callable:
        return self._compile(step, out=self._replicated, donate=())

    def _compile(self, step: Callable, out: Any, donate: tuple[int, ...]) -> Callable:
        return jax.jit(
            step,
            in_shardings=(self._replicated, self._split),
            out_shardings=out,
            donate_argnums=donate,
        )


class Pmap:
    """One program a device, batch as [devices, share, ...]; sums cross the axis "batch"."""

    axis_name = "batch"

    def __init__(self, devices: Sequence[Any]):
        self.num_devices = len(devices)
        self._devices = list(devices)
        self._replicated = NamedSharding(Mesh(np.asarray(devices), ("data",)), PartitionSpec())

    def replicate(self, tree: Any) -> Any:
        return jax.device_put(tree, self._replicated)

    def place(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {k: v.reshape(self.num_devices, -1, *v.shape[1:]) for k, v in arrays.items()}

    def compile_train(self, step: Callable) -> Callable:
        return self._compile(step)

    def compile_eval(self, step: Callable) -> Callable:
        return self._compile(step)

    def _compile(self, step: Callable) -> Callable:
        step = functools.partial(step, axis_name=self.axis_name)
        return jax.pmap(
            step, self.axis_name, in_axes=(None, 0), out_axes=None, devices=self._devices
        )


Parallel = Jit | Pmap


def create(kind: str, devices: Sequence[Any] | None = None) -> Parallel:
    """`config.parallel` -> the way to compile, over all local devices unless told otherwise."""
    kinds = {"jit": Jit, "pmap": Pmap}
    if kind not in kinds:
        raise UserError(f"config.parallel is {kind!r}; {suggest(kind, kinds)}")
    return kinds[kind](devices or jax.local_devices())


def check_batch_size(name: str, batch_size: int, num_devices: int) -> None:
    if batch_size % num_devices:
        raise UserError(
            f"{name} is {batch_size}, which {num_devices} devices can't share evenly: "
            f"use a multiple of {num_devices}"
        )


class Announced:
    """A step that says what it compiles, how long that took and whether the cache had it.

    It compiles once a batch shape; `compile_seconds` is the time that took in all.
    """

    def __init__(self, compiled: Callable, what: str, announce: Announce):
        self._function, self._what, self._announce = compiled, what, announce
        self._programs: dict[Any, Callable] = {}
        self.compile_seconds = 0.0

    def __call__(self, state: Any, batch: Mapping[str, Any]) -> Any:
        shape = tuple(batch["image"].shape)
        if shape not in self._programs:
            size = "x".join(map(str, shape))
            self._announce(f"compiling {self._what} for images {size} ...")
            self._programs[shape] = self._compile(state, batch)
        return self._programs[shape](state, batch)

    def lower(self, state: Any, batch: Mapping[str, Any]) -> Any:
        """The program before it is compiled, to look into."""
        return self._function.lower(state, batch)

    def _compile(self, state: Any, batch: Mapping[str, Any]) -> Callable:
        start = time.perf_counter()
        lowered = self.lower(state, batch)
        with compilation.hits() as hits:
            program = lowered.compile()
        seconds = time.perf_counter() - start
        self.compile_seconds += seconds
        how = "from the cache" if hits else "compiled"
        self._announce(f"{self._what}: {how} in {seconds:.1f} s")
        return program
