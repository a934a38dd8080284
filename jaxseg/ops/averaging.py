"""The mean of several maps' probabilities at the pixels of an image, a band of rows at a time.

Each map's logits are interpolated, the softmax is taken, and then the mean. As in `bands`, nothing
of the image's size is held besides the result.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxseg.ops.bands import Band, cut_columns, first_highest, split_rows
from jaxseg.ops.resize import matrix_at


@dataclasses.dataclass(frozen=True)
class Map:
    """Logits, and where on them the pixels of an image lie."""

    logits: Float[Array, "b h w c"]
    rows: Float[np.ndarray, " H"]  # places in the logits' own pixels, see `resize.matrix_at`
    columns: Float[np.ndarray, " W"]

    @property
    def has_every_pixel(self) -> bool:
        """Whether there is nothing to interpolate."""
        sides = zip((self.rows, self.columns), self.logits.shape[1:3], strict=True)
        return all(np.array_equal(at, np.arange(n)) for at, n in sides)


def classes(maps: Sequence[Map], temperature: float = 1.0) -> Int[Array, "b H W"]:
    """The class of the highest mean probability: the first of equals."""

    def step(result: Array, bands: Sequence[Band]) -> Array:
        return bands[0].put(result, first_highest(_total(maps, bands, temperature), axis=2))

    return _walk(step, _empty(maps[0], jnp.int32), maps)


def max_probability(maps: Sequence[Map], temperature: float = 1.0) -> Float[Array, "b H W"]:
    """The highest mean probability."""

    def step(result: Array, bands: Sequence[Band]) -> Array:
        return bands[0].put(result, _total(maps, bands, temperature).max(2) / len(maps))

    return _walk(step, _empty(maps[0], jnp.float32), maps)


def probabilities(maps: Sequence[Map], temperature: float = 1.0) -> Float[Array, "b H W c"]:
    """The mean probability of every class: 4 bytes for each class and pixel."""

    def step(result: Array, bands: Sequence[Band]) -> Array:
        mean = _total(maps, bands, temperature) / len(maps)
        return bands[0].put(result, mean.swapaxes(2, 3))

    return _walk(step, zeros(maps[0]), maps)


def add(
    total: Float[Array, "b H W c"], one: Map, share: float, temperature: float = 1.0
) -> Float[Array, "b H W c"]:
    """`total` and `share` of the probabilities of a map."""

    def step(total: Array, bands: Sequence[Band]) -> Array:
        (band,) = bands
        more = share * _softmax(one, band, temperature).swapaxes(2, 3)
        rows = band.crop(total)
        return band.put(total, jnp.where(band.is_new()[..., None], rows + more, rows))

    return _walk(step, total, [one])


def zeros(one: Map) -> Float[Array, "b H W c"]:
    """What probabilities are added to."""
    return _empty(one, jnp.float32, one.logits.shape[-1])


def _total(
    maps: Sequence[Map], bands: Sequence[Band], temperature: float
) -> Float[Array, "b r c W"]:
    parts = (_softmax(one, band, temperature) for one, band in zip(maps, bands, strict=True))
    return functools.reduce(jnp.add, parts)


def _softmax(one: Map, band: Band, temperature: float) -> Float[Array, "b r c W"]:
    return jax.nn.softmax(band.enlarge(band.source(one.logits)) / temperature, axis=2)


def _empty(one: Map, dtype: Any, *more: int) -> Array:
    shape = (len(one.logits), len(one.rows), len(one.columns), *more)
    return jnp.zeros_like(one.logits, dtype, shape=shape)


def _walk(step: Callable[[Any, Sequence[Band]], Any], state: Any, maps: Sequence[Map]) -> Any:
    """`state = step(state, bands)` from the top, with the same rows' band of every map.

    All bands have one height. Where it does not divide the image's, the last begins early.
    """
    rows, columns = len(maps[0].rows), len(maps[0].columns)
    height, count = split_rows(rows, columns, maps[0].logits.shape[-1])
    begins = np.arange(count, dtype=np.int32) * height
    start = np.minimum(begins, rows - height)
    fixed, moving = [], []
    for one in maps:
        _, h, w, _ = one.logits.shape
        matrix = matrix_at(one.rows, h)
        moving.append(cut_columns(np.stack([matrix[i : i + height] for i in start])))
        fixed.append(None if one.has_every_pixel else matrix_at(one.columns, w))

    def scanned(state: Any, part: Any) -> tuple[Any, None]:
        start, begins, sources = part
        bands = [
            Band(height, matrix.shape[1], matrix, columns, start, source_start, begins)
            for columns, (matrix, source_start) in zip(fixed, sources, strict=True)
        ]
        return step(state, bands), None

    parts = jax.tree.map(jnp.asarray, (start, begins, moving))
    return jax.lax.scan(scanned, state, parts)[0]
