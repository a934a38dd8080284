"""Copy jaxseg's variables into a PyTorch model with the same names, and count its cost."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from torch import nn  # pyright: ignore[reportMissingImports]

from jaxseg.bench.torch_models.layers import BilinearUp
from jaxseg.zoo import Cost

LEAVES = {"scale": "weight", "kernel": "weight", "mean": "running_mean", "var": "running_var"}


def copy_variables(model: nn.Module, params: Mapping[str, Any], stats: Mapping[str, Any]) -> None:
    """Set every parameter and statistic of `model`.

    Raises:
      ValueError: names or shapes do not match: the networks differ.
    """
    targets = dict(model.named_parameters())
    targets |= {k: v for k, v in model.named_buffers() if k.rpartition(".")[2] in LEAVES.values()}
    fixed = {f"{k}.weight" for k, v in model.named_modules() if isinstance(v, BilinearUp)}
    fixed -= dict(model.named_parameters()).keys()
    missing = targets.keys() - fixed
    for path, leaf, value in [*_leaves(params), *_leaves(stats)]:
        name = f"{path}.{LEAVES.get(leaf, leaf)}"
        array = np.asarray(value)
        if leaf == "kernel":
            array = _transposed(array, model.get_submodule(path))
        if name not in missing or targets[name].shape != array.shape:
            raise ValueError(f"jaxseg's {name} {array.shape} has no match in the PyTorch model")
        with torch.no_grad():
            targets[name].copy_(torch.tensor(array))
        missing = missing - {name}
    if missing:
        raise ValueError(f"the PyTorch model has more than jaxseg's: {sorted(missing)}")


def cost(model: nn.Module, height: int, width: int) -> Cost:
    """Parameters and multiply-adds for one image, counted as `jaxseg.zoo.cost` counts."""
    multiply_adds = 0

    def count(module: Any, args: Any, out: Any) -> None:
        nonlocal multiply_adds
        positions = min(math.prod(x.shape[2:]) for x in (args[0], out))
        multiply_adds += positions * module.weight.numel()

    learned = {id(parameter) for parameter in model.parameters()}
    kinds = (nn.Conv2d, nn.ConvTranspose2d, BilinearUp)
    layers = [m for m in model.modules() if isinstance(m, kinds) and id(m.weight) in learned]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    was_training = model.training
    device = next(model.parameters()).device
    with torch.no_grad():
        model.eval()(torch.zeros(1, 3, height, width, device=device))
    model.train(was_training)
    for hook in hooks:
        hook.remove()
    return Cost(sum(p.numel() for p in model.parameters()), multiply_adds)


def _leaves(tree: Mapping[str, Any], path: str = "") -> list[tuple[str, str, Any]]:
    """(path, name, array) of each array."""
    found = []
    for key, value in tree.items():
        if isinstance(value, Mapping):
            found += _leaves(value, f"{path}.{key}" if path else key)
        else:
            found.append((path, key, value))
    return found


def _transposed(kernel: np.ndarray, layer: nn.Module) -> np.ndarray:
    """A kernel [rows, columns, inputs, features] in the layer's axis order."""
    if isinstance(layer, BilinearUp):
        return kernel.transpose(2, 0, 1)[:, None]
    return kernel.transpose((2, 3, 0, 1) if isinstance(layer, nn.ConvTranspose2d) else (3, 2, 0, 1))
