"""Logits at the size of the labels, a band of rows at a time: they are never held as a whole.

Enlarged float32 logits are the largest tensor of a step: 2.5 GB for 16 images of 512x512 pixels
and 150 classes, and a plain loss holds three such. A band is made from the few rows of the
small logits that it lies between, used and dropped.

Bands hold all images of the batch: where that is split over devices, no pixel travels. They lie as
[b, rows, classes, columns], so that sums over classes add whole lines of columns.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import core
from jaxtyping import Array, Bool, Float, Int

from jaxseg.ops import resize

# Float32 logits of one image in a band, in bytes. On a CPU 0.5 to 2 MiB were the fastest, where
# bands stay in its caches; a GPU, not yet measured, starts kernels for every band.
BAND_BYTES = 2**20


@dataclasses.dataclass(frozen=True)
class Band:
    """Some rows of the enlarged logits, and the rows of the logits that they are made from."""

    height: int
    source_height: int
    matrix: Float[Array, "r s"]  # interpolates rows
    columns: Float[np.ndarray, "W w"] | None  # interpolates columns; None: logits are not enlarged
    start: Int[Array, ""]
    source_start: Int[Array, ""]
    begins: Int[Array, ""]  # rows above this one belong to the previous band too

    def crop(self, x: Array) -> Array:
        """These rows of [b, rows, ...] at the enlarged size."""
        return jax.lax.dynamic_slice_in_dim(x, self.start, self.height, axis=1)

    def put(self, x: Array, rows: Array) -> Array:
        """`x` with these rows."""
        return jax.lax.dynamic_update_slice_in_dim(x, rows, self.start, axis=1)

    def is_new(self) -> Bool[Array, "r 1"]:
        """Rows that the previous band did not have."""
        row = self.start + jnp.arange(self.height, dtype=jnp.int32)
        return (row >= self.begins)[:, None]

    def source(self, logits: Float[Array, "b h w c"]) -> Float[Array, "b s w c"]:
        """The rows of the logits that `enlarge` takes."""
        return jax.lax.dynamic_slice_in_dim(logits, self.source_start, self.source_height, axis=1)

    def add_to_source(
        self, logits: Float[Array, "b h w c"], rows: Float[Array, "b s w c"]
    ) -> Float[Array, "b h w c"]:
        total = self.source(logits) + rows
        return jax.lax.dynamic_update_slice_in_dim(logits, total, self.source_start, axis=1)

    def enlarge(self, source: Float[Array, "b s w c"]) -> Float[Array, "b r c W"]:
        """These rows, bilinear in float32."""
        x = source.astype(jnp.float32).swapaxes(2, 3)
        if self.columns is None:
            return x
        einsum = partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)  # as in `resize`
        return einsum("brcw,Ww->brcW", einsum("rs,bscw->brcw", self.matrix, x), self.columns)


def argmax(
    logits: Float[Array, "b h w c"], size: tuple[int, ...], corners: str
) -> Int[Array, "b H W"]:
    """The class of the highest logit, of logits enlarged to `size`: the first of equals."""
    if logits.shape[1:3] == tuple(size):
        return logits.argmax(-1).astype(jnp.int32)

    def step(result: Array, band: Band) -> Array:
        return band.put(result, first_highest(band.enlarge(band.source(logits)), axis=2))

    return walk(step, _image_of(logits, size, jnp.int32), logits, size, corners)


def max_probability(
    logits: Float[Array, "b h w c"], size: tuple[int, ...], corners: str, temperature: float = 1.0
) -> Float[Array, "b H W"]:
    """The probability of the most likely class, of logits enlarged to `size`."""

    def step(result: Array, band: Band) -> Array:
        y = band.enlarge(band.source(logits)) / temperature
        return band.put(result, 1 / jnp.exp(y - y.max(2, keepdims=True)).sum(2))

    return walk(step, _image_of(logits, size, jnp.float32), logits, size, corners)


def first_highest(y: Array, axis: int) -> Int[Array, "..."]:
    """As `y.argmax(axis)`, which takes five times as long on a CPU; NaN is above all."""
    count, shape = y.shape[axis], [1] * y.ndim
    shape[axis] = count
    y = jnp.where(jnp.isnan(y), jnp.inf, y)
    best = y == y.max(axis, keepdims=True)
    return jnp.where(best, np.arange(count, dtype=np.int32).reshape(shape), count).min(axis)


def _image_of(logits: Float[Array, "b h w c"], size: tuple[int, ...], dtype: Any) -> Array:
    """Zeros for one number a pixel, placed as the logits are."""
    return jnp.zeros_like(logits, dtype, shape=(logits.shape[0], *size))


def sum_pixels(
    loss: Callable[..., Float[Array, "b r W"]],
    logits: Float[Array, "b h w c"],
    *pixels: Array,
    corners: str,
) -> Float[Array, ""]:
    """The sum of a loss over the pixels of logits enlarged to the size of `pixels`.

    Where a gradient is asked for, it is added up in the same walk, at the size of the logits. It
    flows to the logits and to the traced floats that `loss` closes over: learned, scheduled or
    vmapped parameters of the loss.

    Args:
      loss: (logits [b r c W], each of `pixels` [b r W]) -> the loss of each pixel.
      logits: of any float type and size.
      pixels: [b H W] each: labels, weights. No gradient flows to them.
      corners: see `ops.resize`.
    """
    (b, H, W), c = pixels[0].shape, logits.shape[-1]
    rows = split_rows(H, W, c)[0]
    examples = (jnp.zeros((b, rows, c, W), jnp.float32), *(x[:, :rows] for x in pixels))
    explicit, learned, constants = _without_closure(loss, *examples)

    def band_sums(
        band: Band, pixels: tuple[Array, ...], constants: Any, source: Array, learned: Any
    ) -> Array:
        losses = explicit(learned, constants, band.enlarge(source), *map(band.crop, pixels))
        # The sum of each image, so that devices add up once, after the last band.
        return jnp.where(band.is_new(), losses, 0.0).sum((1, 2))

    def no_sums(logits: Array) -> Array:
        return jnp.zeros_like(logits, jnp.float32, shape=logits.shape[0])

    @jax.custom_vjp
    def total(logits: Array, learned: Any, constants: Any, pixels: tuple[Array, ...]) -> Array:
        def step(sums: Array, band: Band) -> Array:
            return sums + band_sums(band, pixels, constants, band.source(logits), learned)

        return walk(step, no_sums(logits), logits, (H, W), corners).sum()

    def forward(
        logits: Array, learned: Any, constants: Any, pixels: tuple[Array, ...]
    ) -> tuple[Array, Any]:
        def step(state: tuple[Array, Array, Any], band: Band) -> tuple[Array, Array, Any]:
            sums, gradient, learned_gradient = state
            source = band.source(logits).astype(jnp.float32)
            more, pull = jax.vjp(partial(band_sums, band, pixels, constants), source, learned)
            rows, more_learned = pull(jnp.ones_like(more))
            learned_gradient = jax.tree.map(jnp.add, learned_gradient, more_learned)
            return sums + more, band.add_to_source(gradient, rows), learned_gradient

        zeros = jnp.zeros_like(logits, jnp.float32), jax.tree.map(jnp.zeros_like, learned)
        sums, *gradients = walk(step, (no_sums(logits), *zeros), logits, (H, W), corners)
        return sums.sum(), gradients

    def backward(gradients: Any, cotangent: Array) -> tuple[Array, Any, None, None]:
        gradient, learned_gradient = gradients
        scaled = jax.tree.map(lambda x: (cotangent * x).astype(x.dtype), learned_gradient)
        return (cotangent * gradient).astype(logits.dtype), scaled, None, None

    total.defvjp(forward, backward)
    return total(logits, learned, constants, pixels)


def _without_closure(
    function: Callable[..., Array], *examples: Array
) -> tuple[Callable[..., Array], dict[int, Array], dict[int, Any]]:
    """`function`, with what it closes over as its first two arguments, and these.

    The first are floats that a trace is working on, which may want a gradient, the second all other
    arrays. The rules of `custom_vjp` run when that trace may have ended: they can't close over it.
    """
    jaxpr = jax.make_jaxpr(function)(*examples)
    learned, constants = {}, {}
    for number, value in enumerate(jaxpr.consts):
        traced = isinstance(value, core.Tracer) and jnp.issubdtype(value.dtype, jnp.floating)
        (learned if traced else constants)[number] = value

    def explicit(learned: dict[int, Array], constants: dict[int, Any], *args: Array) -> Array:
        values = learned | constants
        consts = [values[number] for number in range(len(values))]
        return core.eval_jaxpr(jaxpr.jaxpr, consts, *args)[0]

    return explicit, learned, constants


def walk(
    step: Callable[[Any, Band], Any],
    state: Any,
    logits: Float[Array, "b h w c"],
    size: tuple[int, ...],
    corners: str,
) -> Any:
    """`state = step(state, band)` for the bands of `logits` enlarged to `size`, from the top.

    All bands have one height. Where it does not divide the image's, the last begins early.
    """
    _, h, w, c = logits.shape
    height, count = split_rows(size[0], size[1], c)
    begins = np.arange(count, dtype=np.int32) * height
    start = np.minimum(begins, size[0] - height)
    matrix = resize.interpolation_matrix(h, size[0], corners)
    matrices, source_start = cut_columns(np.stack([matrix[i : i + height] for i in start]))
    same = (h, w) == tuple(size)
    columns = None if same else resize.interpolation_matrix(w, size[1], corners)

    def scanned(state: Any, part: tuple[Array, ...]) -> tuple[Any, None]:
        matrix, *places = part
        return step(state, Band(height, matrix.shape[1], matrix, columns, *places)), None

    parts = tuple(map(jnp.asarray, (matrices, start, source_start, begins)))
    return jax.lax.scan(scanned, state, parts)[0]


def split_rows(rows: int, columns: int, classes: int) -> tuple[int, int]:
    """Rows of each band, as even as can be, and how many bands there are."""
    most = max(1, BAND_BYTES // (4 * classes * columns))
    count = -(-rows // most)
    return -(-rows // count), count


def cut_columns(
    matrices: Float[np.ndarray, "n r h"],
) -> tuple[Float[np.ndarray, "n r s"], Int[np.ndarray, " n"]]:
    """The columns that each matrix uses, as many for all, and which is the first."""
    used = (matrices != 0).any(1)
    first = used.argmax(1)
    width = (used.shape[1] - used[:, ::-1].argmax(1) - first).max()
    first = np.minimum(first, used.shape[1] - width)
    cut = [matrix[:, i : i + width] for matrix, i in zip(matrices, first, strict=True)]
    return np.stack(cut), first.astype(np.int32)
