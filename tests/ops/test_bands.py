from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.ops import bands, resize

SIZES = [
    ((4, 3), (13, 9)),
    ((8, 8), (32, 32)),
    ((9, 9), (33, 65)),
    ((1, 1), (5, 7)),
    ((9, 8), (5, 6)),
]


@pytest.mark.parametrize("corners", ["half_pixel", "aligned"])
@pytest.mark.parametrize(("small", "size"), SIZES)
def test_the_highest_class_is_that_of_the_whole_enlarged_logits(monkeypatch, small, size, corners):
    monkeypatch.setattr(bands, "BAND_BYTES", 4 * size[1] * 7 * 4)  # four rows
    logits = np.random.default_rng(0).normal(size=(3, *small, 7)).astype(np.float32)
    rows, cols = (resize.interpolation_matrix(*n, corners) for n in zip(small, size, strict=True))
    want = jnp.einsum("Ww,bHwc->bHWc", cols, jnp.einsum("Hh,bhwc->bHwc", rows, logits)).argmax(-1)
    got = bands.argmax(jnp.asarray(logits), size, corners)
    assert got.dtype == jnp.int32
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("size", [(4, 4), (16, 16)])
def test_of_equals_it_is_the_first(size):
    """Ties of whole numbers, enlarged by 4, are exact."""
    logits = np.random.default_rng(0).integers(0, 2, (2, 4, 4, 5)).astype(np.float32)
    large = resize.resize(jnp.asarray(logits), size)
    assert np.any((large == large.max(-1, keepdims=True)).sum(-1) > 1)
    np.testing.assert_array_equal(
        bands.argmax(jnp.asarray(logits), size, "half_pixel"), large.argmax(-1)
    )


@pytest.mark.parametrize("size", [(4, 4), (16, 16)])
def test_nan_is_the_highest(size):
    logits = np.zeros((1, 4, 4, 5), np.float32)
    logits[..., 2] = 1
    logits[..., 3] = np.nan
    assert np.all(bands.argmax(jnp.asarray(logits), size, "half_pixel") == 3)


def test_classes_need_no_memory_for_large_logits():
    """Of 16 images of 512x512 and 150 classes: 2.5 GB of logits."""
    logits = jax.ShapeDtypeStruct((16, 128, 128, 150), jnp.float32)
    function = jax.jit(lambda x: bands.argmax(x, (512, 512), "half_pixel"))
    memory: Any = function.lower(logits).compile().memory_analysis()
    assert memory.temp_size_in_bytes < 100e6
