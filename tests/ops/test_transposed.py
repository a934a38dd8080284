from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.ops import lowering, transposed, transposed_per_class
from jaxseg.ops.conv import conv
from jaxseg.ops.transposed import BilinearUp, UpConv, bilinear_kernel

FIXTURES = Path(__file__).with_name("fixtures")
PER_CLASS = [form for form in transposed_per_class.LOWERINGS if form != "grouped"]


@pytest.fixture
def quick():
    """XLA's own forms take seconds for large strides on a CPU."""
    with lowering.forced({"transposed_conv_per_class": "phases"}):
        yield


def convolution_matrix(kernel, size, stride, padding):
    """[output, input] pixels and channels of the strided convolution of a map of `size`."""
    k, _, i, o = kernel.shape
    rows, cols = ((n + 2 * padding - k) // stride + 1 for n in size)
    matrix = np.zeros((rows, cols, o, *size, i))
    for row, col, m, n in np.ndindex(rows, cols, k, k):
        y, x = row * stride + m - padding, col * stride + n - padding
        if 0 <= y < size[0] and 0 <= x < size[1]:
            matrix[row, col, :, y, x] += kernel[m, n].T
    return matrix.reshape(rows * cols * o, size[0] * size[1] * i)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize(("k", "padding"), [(1, 0), (2, 0), (3, 1), (4, 1), (5, 2), (3, 0), (4, 2)])
def test_the_transpose_of_the_convolution_matrix(k, padding, stride, run_compiled):
    """conv(x) = C x and transposed_conv(y) = C^T y, for one C made from the kernel alone."""
    rng = np.random.default_rng(0)
    small = (3, 2)
    size = tuple((n - 1) * stride + k - 2 * padding for n in small)
    if min(size) < 1:
        return
    kernel = rng.normal(size=(k, k, 2, 3)).astype(np.float32)
    x, y = (rng.normal(size=(1, *s)).astype(np.float32) for s in ((*size, 2), (*small, 3)))
    matrix = convolution_matrix(kernel, size, stride, padding)
    turned = kernel.swapaxes(2, 3)  # it takes the convolution's outputs to its inputs
    back = run_compiled(lambda y, k: transposed.transposed_conv(y, k, stride, padding), y, turned)
    np.testing.assert_allclose(back.ravel(), matrix.T @ y.ravel(), rtol=1e-4, atol=1e-4)
    if k % 2 and padding in (0, k // 2):
        name = "symmetric" if padding else "valid"
        there = run_compiled(lambda x, k: conv(x, k, stride, padding=name), x, kernel)
        np.testing.assert_allclose(there.ravel(), matrix @ x.ravel(), rtol=1e-4, atol=1e-4)


def definition(x, kernel, stride, padding, weights):
    """Output, and gradients of its sum times `weights(shape)`, each tap put where it belongs."""
    k, _, _, o = kernel.shape
    b, h, w, _ = x.shape
    full = np.zeros((b, (h - 1) * stride + k, (w - 1) * stride + k, o))
    inside = slice(None), *(slice(padding, n - padding) for n in full.shape[1:3])
    g = np.zeros_like(full)
    g[inside] = weights(g[inside].shape)
    dx, dk = np.zeros(x.shape), np.zeros(kernel.shape)
    for m, n in np.ndindex(k, k):
        lines = (slice(i, i + (size - 1) * stride + 1, stride) for i, size in ((m, h), (n, w)))
        at = slice(None), *lines
        full[at] += x @ kernel[m, n]
        dx += g[at] @ kernel[m, n].T
        dk[m, n] = np.einsum("bhwi,bhwo->io", x, g[at])
    return full[inside], dx, dk


def cosines(shape, dtype):
    return np.cos(np.arange(np.prod(shape), dtype=np.float32)).reshape(shape).astype(dtype)


def check(operation, form, function, cases, kernels, dtype, run_compiled, dense=lambda k: k):
    """Value and gradients of one lowering against the definition, compiled together."""
    dtype = jnp.dtype(dtype)
    rng = np.random.default_rng(0)
    sizes = [(2, 4, 3), (1, 1, 5), (2, 3, 3)] * len(cases)
    arrays = [
        [jnp.asarray(rng.normal(size=s), dtype) for s in ((*size, 3), (k, k, *kernels))]
        for size, (k, _, _) in zip(sizes, cases, strict=False)
    ]

    def one(stride, padding, x, kernel):
        y, back = jax.vjp(lambda *a: function(*a, stride, padding), x, kernel)
        return y, *back(jnp.asarray(cosines(y.shape, dtype)))

    def results(arrays):
        with lowering.forced({operation: form}):
            return [one(*case[1:], *pair) for case, pair in zip(cases, arrays, strict=True)]

    tolerance = 1e-5 if dtype == jnp.float32 else 2**-7
    found = run_compiled(results, arrays)
    for (k, stride, padding), (x, kernel), ours in zip(cases, arrays, found, strict=True):
        x64, kernel64 = (np.asarray(a, np.float64) for a in (x, kernel))
        weights = partial(cosines, dtype=dtype)
        *exact, kernel_gradient = definition(x64, dense(kernel64), stride, padding, weights)
        if kernel.ndim == 3:  # planes: the diagonal, its sum where one plane serves all channels
            kernel_gradient = np.diagonal(kernel_gradient, axis1=2, axis2=3)
            if kernel.shape[-1] == 1:
                kernel_gradient = kernel_gradient.sum(axis=-1, keepdims=True)
        for array, expected in zip(ours, (*exact, kernel_gradient), strict=True):
            assert array.dtype == dtype
            assert array.shape == expected.shape
            scale = np.abs(expected).max()
            message = f"kernel {k}, stride {stride}, padding {padding}"
            np.testing.assert_allclose(
                np.asarray(array, np.float64), expected, 0, tolerance * scale, err_msg=message
            )


OVERLAPPING = [(4, 2, 1), (3, 2, 1), (5, 2, 0), (3, 1, 1), (5, 3, 2)]
LARGE = [(9, 3, 2), (11, 2, 0), (9, 1, 4), (12, 12, 1)]  # too large to cut all windows out at once
APART = [(2, 2, 0), (2, 3, 0), (1, 1, 0), (3, 3, 1)]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("form", transposed.LOWERINGS)
def test_dense_equals_the_definition(form, dtype, run_compiled):
    cases = APART if form == "einsum" else OVERLAPPING + APART
    function = transposed.transposed_conv
    cases = cases + (LARGE if form == "windows" else [])
    check("transposed_conv", form, function, cases, (3, 2), dtype, run_compiled)


def test_a_large_kernel_makes_no_large_program():
    """Cut out tap by tap, the windows of 65x65 would make 4225 slices, which do not compile."""

    def program(k):
        def total(x, kernel):
            with lowering.forced({"transposed_conv": "windows"}):
                return transposed.transposed_conv(x, kernel, 13).sum()

        x, kernel = jnp.ones((1, 6, 5, 3)), jnp.ones((k, k, 3, 2))
        return str(jax.make_jaxpr(jax.grad(total, (0, 1)))(x, kernel)).splitlines()

    assert len(program(65)) < 1.2 * len(program(39))  # 5 blocks of 13 columns, and 3


@pytest.mark.parametrize(("planes", "dtype"), [(3, "float32"), (3, "bfloat16"), (1, "float32")])
@pytest.mark.parametrize("form", transposed_per_class.LOWERINGS)
def test_per_class_equals_dense_with_zeros_off_the_diagonal(form, dtype, planes, run_compiled):
    cases = [(4, 2, 1), (5, 3, 1), (6, 2, 2), (3, 1, 1), (2, 3, 0)]
    function = transposed_per_class.transposed_conv_per_class
    operation, diagonal = "transposed_conv_per_class", lambda kernel: kernel[..., None] * np.eye(3)
    check(operation, form, function, cases, (planes,), dtype, run_compiled, dense=diagonal)


def test_classes_of_shapes(asked):
    x, kernel = jnp.ones((1, 2, 2, 1)), jnp.ones((2, 2, 1, 1))
    for stride in (1, 2, 3):
        transposed.transposed_conv(x, kernel, stride)
        transposed.transposed_conv_per_class(x, kernel[..., 0], stride, 0)
    per_class = "transposed_conv_per_class"
    assert asked == [
        ("transposed_conv", "overlapping"),
        (per_class, "stride 2 or less"),
        ("transposed_conv", "stride = kernel"),
        (per_class, "stride 2 or less"),
        ("transposed_conv", "stride = kernel"),
        (per_class, "larger stride"),
    ]


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


@pytest.mark.usefixtures("quick")
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


@pytest.mark.usefixtures("quick")
def test_bilinear_layer_equals_scikit_image(run_compiled):
    """rescale(order=1, mode="constant", cval=0) by 2 to 9: `tests/ops/references.py` wrote it."""
    with np.load(FIXTURES / "skimage_rescale.npz") as file:
        image, *large = (file[name] for name in ("x", *(f"y_{n}" for n in range(2, 10))))

    def enlarge(x) -> Any:
        return [BilinearUp(n, learned=False).apply({}, x) for n in range(2, 10)]

    for ours, theirs in zip(run_compiled(enlarge, image[None, ..., None]), large, strict=True):
        np.testing.assert_allclose(ours[0, ..., 0], theirs, atol=1e-6)


def test_bilinear_kernel_by_hand():
    line = np.array([0.25, 0.75, 0.75, 0.25])
    np.testing.assert_allclose(bilinear_kernel(2), np.outer(line, line))
    line = np.array([1, 2, 3, 2, 1]) / 3
    np.testing.assert_allclose(bilinear_kernel(3), np.outer(line, line), rtol=1e-6)


@pytest.mark.parametrize("form", PER_CLASS)
@pytest.mark.parametrize("learned", [True, False])
def test_32_times_1000_classes_takes_kilobytes_and_its_output(learned, form):
    """A dense kernel of stride 32 and 1000 classes would take 16 GB."""
    layer = BilinearUp(32, learned=learned)
    x = jax.ShapeDtypeStruct((1, 4, 5, 1000), jnp.float32)
    with lowering.forced({"transposed_conv_per_class": form}):
        variables = jax.eval_shape(layer.init, jax.random.key(0), x)
        compiled = jax.jit(layer.apply).lower(variables, x).compile()
    sizes = [leaf.size for leaf in jax.tree.leaves(variables)]
    assert sizes == ([64 * 64 * 1000] if learned else [])
    memory: Any = compiled.memory_analysis()
    output = 4 * 1000 * (4 * 32) * (5 * 32)
    assert memory.output_size_in_bytes == output
    weights = 4 * sum(sizes) if learned else 64 * 64 * 4
    assert memory.argument_size_in_bytes <= 4 * x.size + weights
    assert memory.temp_size_in_bytes < 0.1 * output
    assert memory.generated_code_size_in_bytes < 2**20  # and no large constant in it


@pytest.mark.usefixtures("quick")
def test_classes_do_not_mix():
    rng = np.random.default_rng(3)
    x, kernel = (rng.normal(size=s).astype(np.float32) for s in ((1, 3, 3, 4), (4, 4, 4)))
    moved = x + np.array([0, 0, 1, 0], np.float32)

    def enlarge(x):
        return transposed.transposed_conv_per_class(jnp.asarray(x), jnp.asarray(kernel), 2, 1)

    before, after = enlarge(x), enlarge(moved)
    change = np.asarray(after) - np.asarray(before)
    assert np.flatnonzero(np.abs(change).max(axis=(0, 1, 2))).tolist() == [2]


def test_up_convolution_doubles_the_size_and_keeps_the_scale():
    x = jax.nn.relu(jax.random.normal(jax.random.key(0), (2, 8, 9, 128)))
    y, variables = jax.jit(UpConv(64).init_with_output)(jax.random.key(1), x)
    assert y.shape == (2, 16, 18, 64)
    assert variables["params"]["kernel"].shape == (2, 2, 128, 64)
    np.testing.assert_allclose(np.mean(y**2), 2 * np.mean(x**2), rtol=0.1)
