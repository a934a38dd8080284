"""Are the operations right on this device? Each lowering against loops of NumPy in float64.

And their gradients: an operation is linear in its kernel and in its input (a pooling as long as its
maxima stay where they are), so <u, f(x)> = <x, gradient of x> = <kernel, gradient of kernel> for
any u.
"""

import itertools
from collections.abc import Callable, Collection, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.bench.cases import Case
from jaxseg.bench.ops import asked
from jaxseg.ops import lowering
from jaxseg.ops.conv import conv
from jaxseg.ops.depthwise import depthwise_conv
from jaxseg.ops.pooling import max_pool, max_pool_3x3
from jaxseg.ops.resize import resize
from jaxseg.ops.transposed import transposed_conv
from jaxseg.ops.transposed_per_class import transposed_conv_per_class

# Largest error, as a share of the largest value: TF32 on a GPU keeps 11 bits, bfloat16 8.
TOLERANCE = {"float32": 3e-3, "bfloat16": 3e-2}


def results(operations: Collection[str] = ()) -> Iterator[dict[str, Any]]:
    """Each check, in each dtype and lowering: {"error", "gradient_error", "passed"} and what it is.

    Of these operations, or of all.
    """
    checks = [each for each in CHECKS if not operations or each[0].operation in operations]
    for (case, reference), dtype in itertools.product(checks, TOLERANCE):
        forms = next(forms for name, _, forms in asked(case, dtype) if name == case.operation)
        for form in forms:
            shapes = {"x": case.x, "kernel": case.kernel, **case.options}
            found = {"operation": case.operation, **shapes, "dtype": dtype, "lowering": form}
            with lowering.forced({case.operation: form}):
                yield {**found, **_errors(case, reference, dtype)}


def _errors(case: Case, reference: Callable[..., np.ndarray], dtype: str) -> dict[str, Any]:
    def call(*arrays: jax.Array) -> jax.Array:
        return case(*arrays)

    arrays = case.arrays(dtype)
    exact = [np.asarray(a, np.float64) for a in arrays]
    expected = reference(*exact, **case.options)
    drawn = np.random.default_rng(1).standard_normal(expected.shape)
    u = jnp.asarray(drawn, dtype)
    y, gradients = jax.jit(lambda u, *a: (call(*a), jax.vjp(call, *a)[1](u)))(u, *arrays)
    error = np.abs(np.asarray(y, np.float64) - expected).max() / np.abs(expected).max()
    terms = np.asarray(u, np.float64) * expected
    sums = [(a * np.asarray(g, np.float64)).sum() for a, g in zip(exact, gradients, strict=True)]
    # the signs are random: a sum of n terms grows with the root of n
    gradient_error = max(abs(s - terms.sum()) for s in sums) / np.linalg.norm(terms)
    passed = bool(max(error, gradient_error) < TOLERANCE[dtype])
    return {"error": float(error), "gradient_error": float(gradient_error), "passed": passed}


def _convolved(
    x: np.ndarray, kernel: np.ndarray, stride: int = 1, dilation: int = 1, groups: int = 1
) -> np.ndarray:
    k, _, inputs, features = kernel.shape
    parts = []
    for i, j, seen in _windows(x, k, stride, dilation, fill=0.0):
        seen = seen.reshape(*seen.shape[:3], groups, inputs)
        weights = kernel[i, j].reshape(inputs, groups, features // groups)
        parts.append(np.einsum("bhwgi,igo->bhwgo", seen, weights))
    return np.sum(parts, axis=0).reshape(*parts[0].shape[:3], features)


def _depthwise(x: np.ndarray, kernel: np.ndarray, **options: int) -> np.ndarray:
    return _convolved(x, kernel, groups=x.shape[-1], **options)


def _windows(
    x: np.ndarray, k: int, stride: int, dilation: int, fill: float
) -> Iterator[tuple[int, int, np.ndarray]]:
    """What each place (i, j) of a window sees, as wide a padding on both sides."""
    side = dilation * (k - 1) // 2
    x = np.pad(x, ((0, 0), (side, side), (side, side), (0, 0)), constant_values=fill)
    rows, cols = (n - 2 * side for n in x.shape[1:3])
    for i, j in itertools.product(range(k), range(k)):
        top, left = i * dilation, j * dilation
        yield i, j, x[:, top : top + rows : stride, left : left + cols : stride]


def _scattered(x: np.ndarray, kernel: np.ndarray, stride: int, padding: int = 0) -> np.ndarray:
    """Transposed convolution: every pixel adds its window. A kernel [k, k, c] acts class by class.

    Others are [k, k, inputs, features].
    """
    k, (b, h, w, _) = kernel.shape[0], x.shape
    y = np.zeros((b, (h - 1) * stride + k, (w - 1) * stride + k, kernel.shape[-1]))
    for i, j in itertools.product(range(k), range(k)):
        part = x @ kernel[i, j] if kernel.ndim == 4 else x * kernel[i, j]
        y[:, i : i + h * stride : stride, j : j + w * stride : stride][:, :h, :w] += part
    return y[:, padding : y.shape[1] - padding, padding : y.shape[2] - padding]


def _pooled(x: np.ndarray) -> np.ndarray:
    """2x2 blocks of an even size."""
    return np.max([x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)], axis=0)


def _pooled_3x3(x: np.ndarray) -> np.ndarray:
    return np.max([seen for _, _, seen in _windows(x, 3, 2, 1, fill=-np.inf)], axis=0)


def _interpolated(x: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bilinear, half-pixel centres."""
    for axis, new in zip((1, 2), size, strict=True):
        old = x.shape[axis]
        at = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
        low = np.minimum(at.astype(int), max(old - 2, 0))
        share = np.expand_dims(at - low, [a for a in range(4) if a != axis])
        high = np.minimum(low + 1, old - 1)
        x = (1 - share) * x.take(low, axis) + share * x.take(high, axis)
    return x


IMAGE, KERNEL = (2, 33, 31, 64), (3, 3, 64, 64)


def _case(operation: str, call: Callable, *shapes: tuple[int, ...], **options: Any) -> Case:
    return Case(operation, "", "check", call, *shapes, options=options)  # pyright: ignore


CHECKS: tuple[tuple[Case, Callable[..., np.ndarray]], ...] = (
    (_case("conv", conv, (2, 33, 31, 3), (3, 3, 3, 64)), _convolved),
    (_case("conv", conv, IMAGE, KERNEL), _convolved),
    (_case("conv", conv, IMAGE, KERNEL, stride=2), _convolved),
    (_case("pointwise_conv", conv, IMAGE, (1, 1, 64, 64)), _convolved),
    (_case("atrous_conv", conv, IMAGE, KERNEL, dilation=2), _convolved),
    (_case("atrous_conv", conv, IMAGE, KERNEL, dilation=12), _convolved),
    (_case("depthwise_conv", depthwise_conv, IMAGE, (3, 3, 1, 64)), _depthwise),
    (_case("depthwise_conv", depthwise_conv, IMAGE, (3, 3, 1, 64), stride=2), _depthwise),
    (_case("depthwise_conv", depthwise_conv, IMAGE, (3, 3, 1, 64), dilation=6), _depthwise),
    (_case("transposed_conv", transposed_conv, IMAGE, (2, 2, 64, 32), stride=2), _scattered),
    (
        _case("transposed_conv", transposed_conv, IMAGE, (4, 4, 64, 32), stride=2, padding=1),
        _scattered,
    ),
    (
        _case(
            "transposed_conv_per_class",
            transposed_conv_per_class,
            (2, 16, 15, 21),
            (16, 16, 21),
            stride=8,
            padding=4,
        ),
        _scattered,
    ),
    (_case("resize", resize, (2, 17, 15, 21), size=(65, 63)), _interpolated),
    (_case("resize", resize, (2, 33, 33, 8), size=(17, 16)), _interpolated),
    (_case("max_pool", max_pool, (2, 32, 30, 64)), _pooled),
    (_case("max_pool_3x3", max_pool_3x3, IMAGE), _pooled_3x3),
)
