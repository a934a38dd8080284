"""Devices: where the batch and the state lie, and how a pure step is compiled for them.

Two ways with the same methods. `Jit` shards the batch over a mesh and lets the compiler see the
global program; `Pmap` runs one program a device that adds over a named axis. The state has the same
form in both, so one checkpoint serves both. Devices may belong to several processes, each of which
places its own part of the batch.
"""

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding

from jaxseg import compilation
from jaxseg.errors import UserError, suggest
from jaxseg.ops.norm import Statistics

Announce = Callable[[str], None]

# Smaller arrays are not worth a message of their own: they stay whole on every device.
SHARDED_FROM = 2**14  # numbers


class Jit:
    """One program over all devices, batch split along the mesh axis "data".

    With `fsdp` the large arrays of the state are split too, each along its longest axis that the
    devices divide (Rajbhandari et al. 2020, ZeRO stage 3): XLA gathers a parameter where it is used
    and sums its gradient to where it lies.
    """

    axis_name = None

    def __init__(self, devices: Sequence[Any], *, fsdp: bool = False):
        self._mesh = Mesh(np.asarray(devices), ("data",))
        self.num_devices = len(devices)
        self.platform: str = devices[0].platform  # "cpu" or "gpu", whatever JAX's default is
        self._fsdp = fsdp
        self._replicated = NamedSharding(self._mesh, PartitionSpec())
        self._split = NamedSharding(self._mesh, PartitionSpec("data"))

    def statistics(self, policy: str) -> Statistics:
        """What batch norm takes its statistics of."""
        return Statistics(policy, devices=self.num_devices)

    def sharding(self, array: Any) -> Sharding:
        """Where an array of the state lies, by its shape."""
        axes = sorted(range(len(array.shape)), key=lambda axis: -array.shape[axis])
        fits = [axis for axis in axes if array.shape[axis] % self.num_devices == 0]
        if not self._fsdp or not fits or np.prod(array.shape) < SHARDED_FROM:
            return self._replicated
        return NamedSharding(self._mesh, PartitionSpec(*[None] * fits[0], "data"))

    def place_state(self, tree: Any) -> Any:
        return jax.tree.map(lambda x: jax.device_put(x, self.sharding(x)), tree)

    def whole(self, tree: Any) -> Any:
        """The state on this process's first device; all processes must ask."""
        if self._fsdp:
            tree = jax.jit(lambda x: x, out_shardings=self._replicated)(tree)
        return jax.tree.map(lambda x: x.addressable_data(0), tree)

    def place(self, arrays: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
        """This process's part of a batch, onto its devices."""
        return {
            name: jax.make_array_from_process_local_data(self._split, array)
            for name, array in arrays.items()
        }

    def compile_train(self, step: Callable) -> Callable:
        def placed(state: Any, batch: Any) -> Any:
            state, numbers = step(state, batch)
            shardings = jax.tree.map(self.sharding, state)
            return jax.lax.with_sharding_constraint(state, shardings), numbers

        placed.__name__ = step.__name__
        # The old state is never needed again; on the CPU a checkpoint may still be reading it.
        donate = () if self.platform == "cpu" else (0,)
        return jax.jit(
            placed,
            in_shardings=(None, self._split),  # the state comes as it lies
            out_shardings=(None, self._replicated),
            donate_argnums=donate,
        )

    def compile_eval(self, step: Callable) -> Callable:
        return jax.jit(step, in_shardings=(None, self._split), out_shardings=self._replicated)


class Pmap:
    """One program a device, batch as [devices, share, ...]; sums cross the axis "batch"."""

    axis_name = "batch"

    def __init__(self, devices: Sequence[Any]):
        self.num_devices = len(devices)
        self.platform: str = devices[0].platform  # "cpu" or "gpu", whatever JAX's default is
        self._devices = list(devices)
        self._local = sum(d.process_index == jax.process_index() for d in devices)
        mesh = Mesh(np.asarray(devices), ("data",))
        self._replicated = NamedSharding(mesh, PartitionSpec())
        self._split = NamedSharding(mesh, PartitionSpec("data"))

    def statistics(self, policy: str) -> Statistics:
        """What batch norm takes its statistics of."""
        return Statistics(policy, axis_name=self.axis_name)

    def sharding(self, array: Any) -> Sharding:
        """Where an array of the state lies."""
        return self._replicated

    def place_state(self, tree: Any) -> Any:
        return jax.device_put(tree, self._replicated)

    def whole(self, tree: Any) -> Any:
        """The state on this process's first device."""
        return jax.tree.map(lambda x: x.addressable_data(0), tree)

    def place(self, arrays: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
        """This process's part of a batch, a share a device."""
        return {
            name: jax.make_array_from_process_local_data(
                self._split, array.reshape(self._local, -1, *array.shape[1:])
            )
            for name, array in arrays.items()
        }

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


def create(kind: str, *, fsdp: bool = False, devices: Sequence[Any] | None = None) -> Parallel:
    """`config.parallel` and `config.fsdp` -> the way to compile, over all devices of all processes.

    Raises:
      UserError: there is no such way, or it can't split the state.
    """
    devices = devices or jax.devices()
    if kind == "jit":
        return Jit(devices, fsdp=fsdp)
    if kind != "pmap":
        raise UserError(f"config.parallel is {kind!r}; {suggest(kind, ('jit', 'pmap'))}")
    if fsdp:
        raise UserError("config.fsdp splits the state, which pmap can't: use config.parallel=jit")
    return Pmap(devices)


def check_batch_size(batch_size: int, num_devices: int, grad_accum_steps: int) -> None:
    """Raise UserError unless every device has as many images in every part of a batch."""
    shares = num_devices * grad_accum_steps
    if batch_size % shares:
        parts = f" in {grad_accum_steps} parts" * (grad_accum_steps > 1)
        raise UserError(
            f"config.batch_size is {batch_size}, which {num_devices} devices{parts} can't share "
            f"evenly: use a multiple of {shares}"
        )


class Announced:
    """A step that says what it compiles, how long that took and whether the cache had it.

    It compiles once a batch shape; `compile_seconds` is the time that took in all. What is
    `deterministic` gives the same bits at every run on one kind of device.
    """

    def __init__(
        self, compiled: Callable, what: str, announce: Announce, *, deterministic: bool = False
    ):
        self._function, self._what, self._announce = compiled, what, announce
        self._deterministic = deterministic
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

    def _options(self) -> dict[str, Any]:
        """A GPU adds up some sums in the order in which threads come, unless it is told not to."""
        fixed = self._deterministic and jax.default_backend() == "gpu"
        return {"xla_gpu_deterministic_ops": True} if fixed else {}

    def _compile(self, state: Any, batch: Mapping[str, Any]) -> Callable:
        start = time.perf_counter()
        lowered = self.lower(state, batch)
        with compilation.hits() as hits:
            program = lowered.compile(compiler_options=self._options())
        seconds = time.perf_counter() - start
        self.compile_seconds += seconds
        how = "from the cache" if hits else "compiled"
        self._announce(f"{self._what}: {how} in {seconds:.1f} s")
        return program
