"""The weights and images of the parity tests, drawn anew from seeds rather than stored.

Weights are uniform, seeded by the SHA-256 of the entry's name; images are uniform, seeded by their
size. The script that runs the reference programs and the tests both draw them here, with NumPy
alone.
"""

import hashlib
import math
import re

import numpy as np

# The last batch norms of residual branches, and those between a depthwise convolution and its
# pointwise one, get smaller scales, so that the sum of many branches stays of order one.
_SMALL = re.compile(
    r"layer\d\.\d+\.bn[23]\.|conv\d_block\d+_[23]_bn/"  # ResNet
    r"|conv\.[23]\.weight|\.bn3\.|_blocks\.\d+\._bn2\.|_project_BN/"  # inverted residuals
    r"|bn_dw\.|sepconv\d_bn/"  # Xception
)


def entry(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The float32 values of the entry `name`: activations stay of order one through 100 layers."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    unit = np.random.default_rng(seed).random(shape, dtype=np.float32)
    low, high = _bounds(name, shape)
    unit *= np.float32(high - low)
    unit += np.float32(low)
    return unit


def _bounds(name: str, shape: tuple[int, ...]) -> tuple[float, float]:
    kind = re.split(r"[./]", name)[-1]
    if kind in ("running_var", "moving_variance"):
        return 0.5, 1.5
    if kind in ("running_mean", "moving_mean", "bias", "beta", "biases"):
        return -0.1, 0.1
    if len(shape) == 1:
        return (0.3, 0.7) if _SMALL.search(name) else (0.8, 1.2)
    inputs = math.prod(shape[1:] if kind == "weight" else shape[:-1])
    if "depthwise" in name and shape[-1] == 1:  # TensorFlow's [k, k, channels, 1]
        inputs = shape[0] * shape[1]
    bound = math.sqrt(6 / inputs)  # He et al. 2015: the variance is 2 / inputs
    return -bound, bound


def images(size: tuple[int, int], batch: int = 2) -> np.ndarray:
    """Normalised RGB images [b, h, w, 3], float32, uniform in -1..1, the same for every network."""
    unit = np.random.default_rng(size).random((batch, *size, 3), dtype=np.float32)
    return 2 * unit - 1


def sample(array: np.ndarray, limit: int = 1000) -> np.ndarray:
    """At most `limit` numbers at fixed positions of an array, as a vector."""
    flat = np.asarray(array, np.float32).reshape(-1)
    if flat.size <= limit:
        return flat
    return flat[np.sort(np.random.default_rng(0).choice(flat.size, limit, replace=False))]


def digest(statistic: np.ndarray) -> np.ndarray:
    """Four channels of a batch statistic [c], then its mean and its root mean square over all."""
    four = statistic[np.linspace(0, len(statistic) - 1, 4).astype(int)]
    square = np.sqrt(np.mean(np.square(statistic, dtype=np.float64)))
    return np.append(four, [statistic.mean(dtype=np.float64), square]).astype(np.float32)
