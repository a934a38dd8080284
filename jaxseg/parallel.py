"""Devices: how the batch and the state are sharded, and how a pure step is compiled.

Two classes with the same methods. `Jit` shards the batch over a mesh, and the compiler sees the
global program; `Pmap` runs one program per device and sums over a named axis. The state has the
same form in both, so one checkpoint serves both. Devices may belong to several processes, each of
which places its own part of the batch.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding

from jaxseg.errors import UserError, suggest
from jaxseg.ops.norm import Statistics

# Smaller arrays are replicated: a collective of their own would cost more than it saves.
SHARDED_FROM = 2**14  # elements


class Jit:
    """One program over all devices, batch split along the mesh axis "data".

    With `fsdp` the large arrays of the state are sharded too, each along the longest axis that the
    number of devices divides (Rajbhandari et al. 2020, ZeRO stage 3): XLA gathers a parameter
    before it is used, and reduces its gradient to the shards.
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
        """The sharding of an array of the state, by its shape."""
        axes = sorted(range(len(array.shape)), key=lambda axis: -array.shape[axis])
        fits = [axis for axis in axes if array.shape[axis] % self.num_devices == 0]
        if not self._fsdp or not fits or np.prod(array.shape) < SHARDED_FROM:
            return self._replicated
        return NamedSharding(self._mesh, PartitionSpec(*[None] * fits[0], "data"))

    def place_state(self, tree: Any) -> Any:
        return jax.tree.map(lambda x: jax.device_put(x, self.sharding(x)), tree)

    def whole(self, tree: Any) -> Any:
        """The whole state on this process's first device; all processes must call this."""
        if self._fsdp:
            tree = jax.jit(lambda x: x, out_shardings=self._replicated)(tree)
        return jax.tree.map(lambda x: x.addressable_data(0), tree)

    def place(self, arrays: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
        """Put this process's part of a batch on its devices."""
        return {
            name: jax.make_array_from_process_local_data(self._split, array)
            for name, array in arrays.items()
        }

    def compile_train(self, step: Callable) -> Callable:
        """(state, batch, seed) -> (state, numbers). The seed is an input: runs share a program."""

        def placed(state: Any, batch: Any, seed: Any) -> Any:
            state, numbers = step(state, batch, seed=seed)
            shardings = jax.tree.map(self.sharding, state)
            return jax.lax.with_sharding_constraint(state, shardings), numbers

        placed.__name__ = step.__name__
        # The old state is never needed again; on the CPU a checkpoint may still be reading it.
        donate = () if self.platform == "cpu" else (0,)
        return jax.jit(
            placed,
            in_shardings=(None, self._split, self._replicated),  # the state as it is sharded
            out_shardings=(None, self._replicated),
            donate_argnums=donate,
        )

    def compile_eval(self, step: Callable) -> Callable:
        """(variables, batch) -> (sums, sums, arrays by example), see `steps.eval_step`."""
        outputs = (self._replicated, self._replicated, self._split)
        return jax.jit(step, in_shardings=(None, self._split), out_shardings=outputs)

    def local(self, by_example: jax.Array) -> np.ndarray:
        """This process's part of an array by example, as `place` has it."""
        return _local(by_example)


class Pmap:
    """One program per device, batch as [devices, share, ...]; sums over the axis "batch"."""

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
        """The sharding of an array of the state."""
        return self._replicated

    def place_state(self, tree: Any) -> Any:
        return jax.device_put(tree, self._replicated)

    def whole(self, tree: Any) -> Any:
        """The state on this process's first device."""
        return jax.tree.map(lambda x: x.addressable_data(0), tree)

    def place(self, arrays: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
        """Put this process's part of a batch on its devices, an equal share on each."""
        return {
            name: jax.make_array_from_process_local_data(
                self._split, array.reshape(self._local, -1, *array.shape[1:])
            )
            for name, array in arrays.items()
        }

    def compile_train(self, step: Callable) -> Callable:
        """(state, batch, seed) -> (state, numbers)."""

        def seeded(state: Any, batch: Any, seed: Any) -> Any:
            return step(state, batch, seed=seed, axis_name=self.axis_name)

        seeded.__name__ = step.__name__
        return self._compile(seeded, in_axes=(None, 0, None))

    def compile_eval(self, step: Callable) -> Callable:
        """(variables, batch) -> (sums, sums, arrays by example), see `steps.eval_step`."""
        named = functools.partial(step, axis_name=self.axis_name)
        return self._compile(named, in_axes=(None, 0), out_axes=(None, None, 0))

    def local(self, by_example: jax.Array) -> np.ndarray:
        """This process's part of an array by example, as `place` has it."""
        parts = _local(by_example)
        return parts.reshape(-1, *parts.shape[2:])

    def _compile(
        self, step: Callable, *, in_axes: tuple[int | None, ...], out_axes: Any = None
    ) -> Callable:
        axes = {"in_axes": in_axes, "out_axes": out_axes}
        return jax.pmap(step, self.axis_name, **axes, devices=self._devices)


def _local(array: jax.Array) -> np.ndarray:
    shards = sorted(array.addressable_shards, key=lambda shard: shard.index[0].start or 0)
    return np.concatenate([np.asarray(shard.data) for shard in shards])


Parallel = Jit | Pmap


def create(kind: str, *, fsdp: bool = False, devices: Sequence[Any] | None = None) -> Parallel:
    """What `config.parallel` and `config.fsdp` ask for, over all devices of all processes.

    Raises:
      UserError: an unknown kind, or one that can't shard the state.
    """
    devices = devices or jax.devices()
    if kind == "jit":
        return Jit(devices, fsdp=fsdp)
    if kind != "pmap":
        raise UserError(f"config.parallel is {kind!r}; {suggest(kind, ('jit', 'pmap'))}")
    if fsdp:
        raise UserError("config.fsdp shards the state, which pmap can't: use config.parallel=jit")
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
