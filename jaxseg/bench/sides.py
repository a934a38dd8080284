"""The two sides of the benchmark of steps: the same network in jaxseg and in PyTorch, ready to run.

Both get the same uint8 images and labels, a tenth of them void, on the device, and do all that a
step of training does: normalise, forward, loss at full resolution, backward, SGD with momentum and
weight decay of kernels. Or they predict: the likeliest class of every pixel.
"""

import contextlib
import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from ml_collections import ConfigDict
from torch.nn import functional as F  # pyright: ignore[reportMissingImports]

from jaxseg import config, defaults
from jaxseg.bench import torch_models
from jaxseg.data.source import Classes, voc_palette
from jaxseg.program import build_program
from jaxseg.state import TrainState
from jaxseg.zoo import Entry

CLASSES = Classes(tuple(f"class_{i}" for i in range(21)), voc_palette(21))  # VOC's number
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


@dataclasses.dataclass(frozen=True)
class Setting:
    """One row of the benchmark."""

    model: str
    options: Mapping[str, Any]  # of the model
    mode: str  # "train" or "predict"
    batch: int
    size: int
    dtype: str
    device: str  # PyTorch's name of it: "cpu" or "cuda"

    @property
    def config(self) -> ConfigDict:
        c = defaults.get_config(Entry(self.model, dict(self.options), paper="").argument)
        c.dtype = self.dtype
        c.batch_size = self.batch
        c.augment.crop_size = (self.size, self.size)
        c.schedule.name = "constant"
        return config.locked(c.to_dict())

    def examples(self) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(0)
        shape = (self.batch, self.size, self.size)
        labels = rng.integers(0, len(CLASSES), shape, dtype=np.int32)
        labels[rng.random(shape) < 0.1] = CLASSES.void
        return {"image": rng.integers(0, 256, (*shape, 3), dtype=np.uint8), "label": labels}


class Ours:
    """jaxseg, by the compiled steps that `jaxseg train` and `jaxseg predict` run."""

    def __init__(self, setting: Setting):
        self._steps = build_program(setting.config, CLASSES, announce=lambda _: None)
        self.model = self._steps.model
        self._train = setting.mode == "train"
        self.state = self._steps.parallel.place_state(_fresh(self._steps.init_state))
        batch = self._steps.parallel.place(setting.examples())
        self._batch = batch
        self._variables = self.state.eval_variables
        if not self._train:  # no momentum
            self.state = self.state.replace(opt_state=None)

    def run(self, steps: int = 1) -> Any:
        """So many steps; returns the last loss, or the classes, once they are there."""
        out = None
        for _ in range(steps):
            if self._train:
                self._variables = None  # they are donated
                self.state, metrics = self._steps.train_step(self.state, self._batch)
                out = metrics["loss"]
            else:
                out = self._steps.predict_step(self._variables, self._batch)
        return jax.block_until_ready((out, self.state))[0]

    def held(self) -> int:
        """Bytes of all that stays from one step to the next."""
        return sum(x.nbytes for x in jax.tree.leaves((self.state, self._batch)))


def _fresh(init_state: Callable[[], TrainState]) -> TrainState:
    """What `init_state` makes, drawn by NumPy: there is nothing to compile, which takes longest."""
    shapes, rng = jax.eval_shape(init_state), np.random.default_rng(0)

    def draw(path: Any, leaf: Any) -> np.ndarray:
        name, shape = path[-1].key, leaf.shape
        if name == "kernel":
            deviation = math.sqrt(2 / math.prod(shape[:-1]))
            return rng.standard_normal(shape, np.float32) * np.float32(deviation)
        # half, so that features stay finite where statistics are those of no images
        return np.full(shape, {"scale": 0.5, "var": 1.0}.get(name, 0.0), np.float32)

    state = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    params, batch_stats = (
        jax.tree_util.tree_map_with_path(draw, tree) for tree in (shapes.params, shapes.batch_stats)
    )
    return state.replace(params=params, batch_stats=batch_stats)


class Theirs:
    """PyTorch, eager or by torch.compile; bfloat16 by autocast, as its users have it."""

    def __init__(self, setting: Setting, layout: str, *, compiled: bool = False):
        c, self._device = setting.config, torch.device(setting.device)
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")  # TF32 on a GPU, JAX's default there
        self._train, self._size = setting.mode == "train", (setting.size, setting.size)
        self._bfloat16 = setting.dtype == "bfloat16"
        self.model = torch_models.build(setting.model, len(CLASSES), **setting.options)
        self.model.to(self._device, memory_format=LAYOUTS[layout]).train(self._train)
        examples = setting.examples()
        images = torch.tensor(examples["image"], device=self._device).permute(0, 3, 1, 2)
        self._images = images.contiguous(memory_format=LAYOUTS[layout])
        self._labels = torch.tensor(examples["label"], device=self._device, dtype=torch.int64)
        self._mean, self._std = (
            torch.tensor(value, device=self._device).view(1, 3, 1, 1)
            for value in (c.dataset.mean, c.dataset.std)
        )
        function = self._loss if self._train else self._classes
        self._function: Any = torch.compile(function) if compiled else function
        self._optimizer = self._sgd(c)

    def _sgd(self, c: ConfigDict) -> torch.optim.Optimizer:
        parameters = list(self.model.parameters())
        groups = [
            {"params": [p for p in parameters if p.dim() == 4]},
            {"params": [p for p in parameters if p.dim() != 4], "weight_decay": 0.0},
        ]
        return torch.optim.SGD(
            groups,
            lr=c.schedule.learning_rate,
            momentum=c.optimizer.momentum,
            weight_decay=c.optimizer.weight_decay,
            fused=True,
        )

    def run(self, steps: int = 1) -> Any:
        """So many steps; returns the last loss, or the classes, once they are there."""
        out = None
        for _ in range(steps):
            if self._train:
                self._optimizer.zero_grad()
                out = self._function(self._images, self._labels)
                out.backward()
                self._optimizer.step()
            else:
                with torch.inference_mode():
                    out = self._function(self._images)
        if self._device.type == "cuda":
            torch.cuda.synchronize()
        return out

    def held(self) -> int:
        """Bytes of all that stays from one step to the next; gradients, which need not, are let go.

        After the first step: before it there is no momentum.
        """
        self._optimizer.zero_grad()
        momenta = [v for s in self._optimizer.state.values() for v in s.values()]
        batch = [self._images, self._labels] if self._train else [self._images]
        tensors = [*self.model.parameters(), *self.model.buffers(), *momenta, *batch]
        return sum(x.nbytes for x in tensors if x is not None)

    def _loss(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        with self._precision():
            return F.cross_entropy(self._logits(images), labels, ignore_index=CLASSES.void)

    def _classes(self, images: torch.Tensor) -> torch.Tensor:
        with self._precision():
            return self._logits(images).argmax(dim=1)

    def _precision(self) -> contextlib.AbstractContextManager:
        return torch.autocast(self._device.type, torch.bfloat16, enabled=self._bfloat16)

    def _logits(self, images: torch.Tensor) -> torch.Tensor:
        logits = self.model((images.float() - self._mean) / self._std)
        if tuple(logits.shape[2:]) == self._size:
            return logits
        return F.interpolate(logits, self._size, mode="bilinear", align_corners=False)
