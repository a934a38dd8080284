"""jaxseg's side of the benchmark of steps: the compiled steps of `jaxseg train` and `predict`."""

import math
from typing import Any

import jax
import numpy as np

from jaxseg.bench.setting import Setting
from jaxseg.program import build_program
from jaxseg.state import TrainState


class JaxsegSide:
    """A batch on the device, and a step that runs on it again and again."""

    def __init__(self, setting: Setting):
        self._program = build_program(setting.config, setting.classes, announce=lambda _: None)
        self._train = setting.mode == "train"
        self.state = self._program.parallel.place_state(_fresh(self._program.state_shapes()))
        batch = self._program.parallel.place(setting.examples())
        self._batch = batch
        self._variables = self.state.eval_variables
        if not self._train:  # no momentum
            self.state = self.state.replace(opt_state=None)

    def run(self, steps: int = 1) -> Any:
        """Run `steps` steps; returns the last loss, or the classes, when they are ready."""
        out = None
        for _ in range(steps):
            if self._train:
                self._variables = None  # donated
                self.state, metrics = self._program.train_step(self.state, self._batch)
                out = metrics["loss"]
            else:
                out = self._program.predict_step(self._variables, self._batch)
        return jax.block_until_ready((out, self.state))[0]


def _fresh(shapes: TrainState) -> TrainState:
    """A state of these shapes, drawn by NumPy: compiling the initialisation takes longest."""
    rng = np.random.default_rng(0)

    def draw(path: Any, leaf: Any) -> np.ndarray:
        name, shape = path[-1].key, leaf.shape
        if name == "kernel":
            deviation = math.sqrt(2 / math.prod(shape[:-1]))
            return rng.standard_normal(shape, np.float32) * np.float32(deviation)
        # a half, so that features stay finite although the statistics belong to no images
        return np.full(shape, {"scale": 0.5, "var": 1.0}.get(name, 0.0), np.float32)

    state = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    params, batch_stats = (
        jax.tree_util.tree_map_with_path(draw, tree) for tree in (shapes.params, shapes.batch_stats)
    )
    return state.replace(params=params, batch_stats=batch_stats)
