"""PyTorch's side of the benchmark of steps: the same network, batch and work as jaxseg's.

In training: normalise, forward, loss at full resolution, backward, SGD with momentum and weight
decay of kernels. In prediction: the likeliest class of every pixel. bfloat16 is autocast, as
PyTorch's users have it.
"""

import contextlib
from typing import Any

import torch  # pyright: ignore[reportMissingImports]
from torch.nn import functional as F  # pyright: ignore[reportMissingImports]

from jaxseg.bench import torch_models
from jaxseg.bench.modes import Mode
from jaxseg.bench.setting import Setting
from jaxseg.defaults import Config

LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


class TorchSide:
    """A batch on the device, and a step that runs on it again and again."""

    def __init__(self, setting: Setting, mode: Mode):
        c, self._device = setting.config, torch.device(setting.device)
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")  # TF32 on a GPU, JAX's default there
        layout = LAYOUTS[mode.layout]
        self._train, self._size = setting.mode == "train", (setting.size, setting.size)
        self._bfloat16, self._void = setting.dtype == "bfloat16", setting.classes.void
        self.model = torch_models.build(setting.model, setting.num_classes, **setting.options)
        self.model.to(self._device, memory_format=layout).train(self._train)  # pyright: ignore[reportCallIssue, reportArgumentType]
        examples = setting.examples()
        images = torch.tensor(examples["image"], device=self._device).permute(0, 3, 1, 2)
        self._images = images.contiguous(memory_format=layout)
        self._labels = torch.tensor(examples["label"], device=self._device, dtype=torch.int64)
        self._mean, self._std = (
            torch.tensor(value, device=self._device).view(1, 3, 1, 1)
            for value in (c.dataset.mean, c.dataset.std)
        )
        self._function: Any = self._loss if self._train else self._classes
        if mode.compile:
            torch._dynamo.reset()  # it stops compiling a function after eight networks, silently
            self._function = torch.compile(self._function, mode=mode.compile)
        self._optimizer = self._sgd(c)

    def _sgd(self, c: Config) -> torch.optim.Optimizer:
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
        """Run `steps` steps; returns the last loss, or the classes, when they are ready."""
        out = None
        for _ in range(steps):
            torch.compiler.cudagraph_mark_step_begin()  # max-autotune writes over its last output
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

    def _loss(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        with self._precision():
            return F.cross_entropy(self._logits(images), labels, ignore_index=self._void)

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
