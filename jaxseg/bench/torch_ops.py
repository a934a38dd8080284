"""PyTorch's side of `ops.py`: the same operations, eager, in both memory layouts."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
import torch  # pyright: ignore[reportMissingImports]
import torch.nn.functional as F  # pyright: ignore[reportMissingImports]

from jaxseg.bench.cases import Case

LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}

# The order of a kernel's axes, from jaxseg's to PyTorch's.
_DENSE = (3, 2, 0, 1)
_AXES = {"transposed_conv": (2, 3, 0, 1), "transposed_conv_per_class": (2, 0, 1)}


def _conv(x: torch.Tensor, kernel: torch.Tensor, stride: int = 1, dilation: int = 1, **_: Any):
    padding = dilation * (kernel.shape[-1] - 1) // 2
    groups = x.shape[1] // kernel.shape[1]
    return F.conv2d(x, kernel, None, stride, padding, dilation, groups)


def _transposed(x: torch.Tensor, kernel: torch.Tensor, stride: int, padding: int = 0):
    return F.conv_transpose2d(x, kernel, None, stride, padding)


def _per_class(x: torch.Tensor, kernel: torch.Tensor, stride: int, padding: int):
    return F.conv_transpose2d(x, kernel[:, None], None, stride, padding, groups=x.shape[1])


def _resize(
    x: torch.Tensor,
    size: tuple[int, int],
    corners: str = "half_pixel",
    method: str = "bilinear",
):
    if method == "nearest":
        return F.interpolate(x, size, mode=method)
    return F.interpolate(x, size, mode=method, align_corners=corners == "aligned")


def _max_pool(x: torch.Tensor, window: int = 2, rounding: str = "ceil"):
    return F.max_pool2d(x, window, ceil_mode=rounding == "ceil")


def _max_pool_3x3(x: torch.Tensor, stride: int = 2, dilation: int = 1):
    return F.max_pool2d(x, 3, stride, padding=dilation, dilation=dilation)


FUNCTIONS: Mapping[str, Callable[..., torch.Tensor]] = {
    "conv": _conv,
    "pointwise_conv": _conv,
    "atrous_conv": _conv,
    "depthwise_conv": _conv,
    "transposed_conv": _transposed,
    "transposed_conv_per_class": _per_class,
    "resize": _resize,
    "max_pool": _max_pool,
    "max_pool_3x3": _max_pool_3x3,
}


class Program:
    """One case in one layout: `forward` and `both` (with gradients) block until they are done."""

    def __init__(self, case: Case, arrays: tuple[jax.Array, ...], gradient: jax.Array, layout: str):
        self._case = case
        self._axes = _AXES.get(case.operation, _DENSE)
        x, *kernel = arrays
        self._arrays = [
            _tensor(x, (0, 3, 1, 2), layout).requires_grad_(),
            *(_tensor(k, self._axes, layout).requires_grad_() for k in kernel),
        ]
        self._gradient = _tensor(gradient, (0, 3, 1, 2), layout)

    def forward(self) -> torch.Tensor:
        with torch.no_grad():
            return _done(self._call())

    def both(self) -> torch.Tensor:
        for array in self._arrays:
            array.grad = None
        y = self._call()
        y.backward(self._gradient)
        return _done(y)

    def _call(self) -> torch.Tensor:
        return FUNCTIONS[self._case.operation](*self._arrays, **self._case.options)

    def output(self) -> np.ndarray:
        """In jaxseg's layout, [b, h, w, c]."""
        return _array(self.forward(), (0, 2, 3, 1))

    def gradients(self) -> list[np.ndarray]:
        """Those of the last call of `both`, in jaxseg's layouts."""
        orders = [(0, 2, 3, 1), tuple(int(i) for i in np.argsort(self._axes))]
        return [_array(a.grad, order) for a, order in zip(self._arrays, orders, strict=False)]  # pyright: ignore[reportArgumentType]


def programs(case: Case, arrays: tuple[jax.Array, ...], gradient: jax.Array) -> dict[str, Program]:
    """One per layout; none where JAX has a GPU and PyTorch does not."""
    if jax.default_backend() != "cpu":
        if not torch.cuda.is_available():
            return {}
        torch.backends.cudnn.benchmark = True
        # as JAX by default: TF32 in convolutions and matrix products
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    return {layout: Program(case, arrays, gradient, layout) for layout in LAYOUTS}


def _tensor(array: jax.Array, axes: tuple[int, ...], layout: str) -> torch.Tensor:
    values = np.array(np.asarray(array, np.float32).transpose(axes), order="C")
    device = "cpu" if jax.default_backend() == "cpu" else "cuda"
    tensor = torch.from_numpy(values).to(device, getattr(torch, array.dtype.name))
    return tensor.contiguous(memory_format=LAYOUTS[layout]) if tensor.ndim == 4 else tensor


def _array(tensor: torch.Tensor, axes: tuple[int, ...]) -> np.ndarray:
    return tensor.detach().float().permute(axes).cpu().numpy()


def _done(result: torch.Tensor) -> torch.Tensor:
    if result.is_cuda:
        torch.cuda.synchronize()
    return result
