from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.ops import transposed
from jaxseg.ops.transposed import BilinearUp, UpConv, bilinear_kernel

transposed_conv = jax.jit(transposed.transposed_conv, static_argnums=(2, 3))
transposed_conv_per_class = jax.jit(transposed.transposed_conv_per_class, static_argnums=(2, 3))


def convolution_matrix(line_kernel, out, inner, stride, padding):
    """[inner, out]: the 1-D strided, padded convolution that takes `out` values to `inner`."""
    matrix = np.zeros((inner, out))
    for i in range(inner):
        for t, weight in enumerate(line_kernel):
            if 0 <= i * stride + t - padding < out:
                matrix[i, i * stride + t - padding] += weight
    return matrix


def reference(x, kernel, stride, padding):
    """Transpose the explicit matrix of the 2-D convolution, built from one-hot 1-D kernels."""
    k = kernel.shape[0]
    rows, cols = ((n - 1) * stride + k - 2 * padding for n in x.shape[1:3])
    y = np.zeros((x.shape[0], rows, cols, kernel.shape[-1]))
    for i in range(k):
        for j in range(k):
            down = convolution_matrix(np.eye(k)[i], rows, x.shape[1], stride, padding)
            across = convolution_matrix(np.eye(k)[j], cols, x.shape[2], stride, padding)
            y += np.einsum("hy,wx,bhwi,io->byxo", down, across, x, kernel[i, j])
    return y


@pytest.mark.parametrize(
    ("k", "stride", "padding"),
    [(2, 2, 0), (3, 3, 0), (4, 2, 1), (3, 2, 1), (5, 2, 0), (3, 1, 1), (2, 3, 0), (16, 8, 4)],
)
def test_dense_is_the_transpose_of_the_convolution(k, stride, padding):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 4, 3, 3)).astype(np.float32)
    kernel = rng.normal(size=(k, k, 3, 2)).astype(np.float32)
    y = transposed_conv(x, kernel, stride, padding)
    np.testing.assert_allclose(y, reference(x, kernel, stride, padding), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("k", "stride", "padding"), [(4, 2, 1), (5, 3, 1), (2, 2, 0), (6, 2, 2), (16, 8, 4)]
)
def test_per_class_equals_dense_with_zeros_off_the_diagonal(k, stride, padding):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(2, 3, 4, 5)).astype(np.float32)
    planes = rng.normal(size=(k, k, 5)).astype(np.float32)
    dense = planes[..., None] * np.eye(5, dtype=np.float32)
    y = transposed_conv_per_class(x, planes, stride, padding)
    np.testing.assert_allclose(y, transposed_conv(x, dense, stride, padding), atol=1e-4)


def interpolate_zero_outside(x, factor):
    """Bilinear upsampling with half-pixel centres where everything outside the image is zero."""
    for axis in (1, 2):
        n = x.shape[axis]
        at = (np.arange(n * factor) + 0.5) / factor - 0.5
        low = np.floor(at).astype(int)
        padded = np.moveaxis(x, axis, 0)
        zero = np.zeros_like(padded[:1])
        padded = np.concatenate([zero, padded, zero])  # index -1 is now 0
        t = (at - low).reshape(-1, 1, 1, 1)
        x = np.moveaxis(padded[low + 1] * (1 - t) + padded[low + 2] * t, 0, axis)
    return x


@pytest.mark.parametrize("learned", [True, False])
@pytest.mark.parametrize("factor", [2, 3, 4, 5, 6, 7, 8, 9, 32])
def test_bilinear_initialisation_interpolates(factor, learned):
    x = np.random.default_rng(2).normal(size=(2, 3, 4, 2)).astype(np.float32)
    layer = BilinearUp(factor, learned=learned)
    y, variables = jax.jit(layer.init_with_output)(jax.random.key(0), x)
    np.testing.assert_allclose(y, interpolate_zero_outside(x, factor), atol=1e-5)
    k = 2 * factor - factor % 2
    shapes = [leaf.shape for leaf in jax.tree.leaves(variables)]
    assert shapes == ([(k, k, 2)] if learned else [])


def test_bilinear_kernel_by_hand():
    line = np.array([0.25, 0.75, 0.75, 0.25])
    np.testing.assert_allclose(bilinear_kernel(2), np.outer(line, line))
    line = np.array([1, 2, 3, 2, 1]) / 3
    np.testing.assert_allclose(bilinear_kernel(3), np.outer(line, line), rtol=1e-6)


def test_one_pixel_and_many_classes_need_no_dense_kernel():
    # a dense kernel of stride 32 and 1000 classes would take 16 GB
    y: Any = BilinearUp(32, learned=False).apply({}, jnp.ones((1, 1, 1, 1000)))
    assert y.shape == (1, 32, 32, 1000)


def test_classes_do_not_mix():
    rng = np.random.default_rng(3)
    x, kernel = (rng.normal(size=s).astype(np.float32) for s in ((1, 3, 3, 4), (4, 4, 4)))
    moved = x + np.array([0, 0, 1, 0], np.float32)
    before, after = (transposed_conv_per_class(image, kernel, 2, 1) for image in (x, moved))
    change = np.asarray(after) - np.asarray(before)
    assert np.flatnonzero(np.abs(change).max(axis=(0, 1, 2))).tolist() == [2]


def test_up_convolution_doubles_the_size_and_keeps_the_scale():
    x = jax.nn.relu(jax.random.normal(jax.random.key(0), (2, 8, 9, 128)))
    y, variables = jax.jit(UpConv(64).init_with_output)(jax.random.key(1), x)
    assert y.shape == (2, 16, 18, 64)
    assert variables["params"]["kernel"].shape == (2, 2, 128, 64)
    np.testing.assert_allclose(np.mean(y**2), 2 * np.mean(x**2), rtol=0.1)
