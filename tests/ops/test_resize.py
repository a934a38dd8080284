import itertools
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.ops import lowering
from jaxseg.ops import resize as ops

FIXTURES = Path(__file__).with_name("fixtures")

SIZES = [((4, 5), (8, 10)), ((5, 7), (13, 3)), ((9, 4), (5, 4)), ((1, 1), (6, 7)), ((6, 5), (1, 1))]


@pytest.fixture(params=ops.LOWERINGS, scope="module")
def resize(request):
    """`ops.resize` compiled, in each of its lowerings."""

    def function(x, size, corners="half_pixel", method="bilinear"):
        with lowering.forced({"resize": request.param}):
            return ops.resize(x, size, corners, method)

    return jax.jit(function, static_argnames=("size", "corners", "method"))


def aligned_reference(x, size):
    """First point on first point, last on last, linear between, by numpy's own interpolation."""
    for axis, new in ((1, size[0]), (2, size[1])):
        old = x.shape[axis]
        at = np.linspace(0, old - 1, new) if new > 1 else np.zeros(1)
        line = partial(np.interp, at, np.arange(old))
        x = np.apply_along_axis(line, axis, x)
    return x


def test_worked_example(resize):
    x = jnp.array([[1.0, 2.0], [3.0, 4.0]]).reshape(1, 2, 2, 1)
    expected = [
        [1.00, 1.25, 1.75, 2.00],
        [1.50, 1.75, 2.25, 2.50],
        [2.50, 2.75, 3.25, 3.50],
        [3.00, 3.25, 3.75, 4.00],
    ]
    np.testing.assert_allclose(resize(x, (4, 4))[0, ..., 0], expected)
    thirds = np.arange(4) / 3
    np.testing.assert_allclose(
        resize(x, (4, 4), corners="aligned")[0, ..., 0],
        1 + thirds[None] + 2 * thirds[:, None],
        rtol=1e-6,
    )


@pytest.mark.parametrize(("old", "new"), SIZES)
def test_half_pixel_equals_jax_image_resize(old, new, resize):
    x = np.random.default_rng(0).normal(size=(2, *old, 3)).astype(np.float32)
    expected = jax.image.resize(x, (2, *new, 3), "bilinear", antialias=False)
    np.testing.assert_allclose(resize(x, new), expected, atol=1e-5)


@pytest.mark.parametrize(("old", "new"), SIZES)
def test_aligned_equals_numpy_interpolation(old, new, resize):
    x = np.random.default_rng(0).normal(size=(2, *old, 3)).astype(np.float32)
    y = resize(x, new, corners="aligned")
    np.testing.assert_allclose(y, aligned_reference(x, new), atol=1e-5)


# torch.nn.functional.interpolate(x, size=(4, 5), mode=..., align_corners=...) of torch 2.13, for
# x = [[1, 5, 2], [0, -3, 4], [7, 1, -2]], to six digits
TORCH = {
    ("nearest", "half_pixel"): [
        [1, 1, 5, 5, 2], [1, 1, 5, 5, 2], [0, 0, -3, -3, 4], [7, 7, 1, 1, -2],
    ],
    ("bilinear", "half_pixel"): [
        [1, 2.6, 5, 3.2, 2], [0.375, 0.225, 0, 1.95, 3.25],
        [2.625, 0.975, -1.5, 0.45, 1.75], [7, 4.6, 1, -0.8, -2],
    ],
    ("bilinear", "aligned"): [
        [1, 3, 5, 3.5, 2], [0.333333, 0, -0.333334, 1.5, 3.333334],
        [2.333334, 0.333334, -1.666666, 0.166667, 2], [7, 4, 1, -0.5, -2],
    ],
    ("bicubic", "half_pixel"): [
        [0.639543, 3.086404, 5.574219, 3.623116, 1.499540],
        [-0.394488, -0.789743, -0.556641, 2.183719, 4.370008],
        [2.878207, 0.207111, -2.437500, -0.035694, 2.489148],
        [8.099114, 5.358570, 1.287109, -1.435671, -2.787571],
    ],
    ("bicubic", "aligned"): [
        [1, 3.281250, 5, 3.875000, 2],
        [-0.462963, -1.159722, -0.925925, 1.512154, 4.037038],
        [2.092591, -0.733797, -2.629630, -0.590857, 2.333333],
        [7, 4.281250, 1, -1.062500, -2],
    ],
}  # fmt: skip


@pytest.mark.parametrize(("method", "corners"), TORCH)
def test_equals_pytorch(method, corners, resize):
    x = jnp.array([[1, 5, 2], [0, -3, 4], [7, 1, -2]], jnp.float32).reshape(1, 3, 3, 1)
    y = resize(x, (4, 5), corners, method)
    np.testing.assert_allclose(y[0, ..., 0], TORCH[method, corners], atol=2e-6)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("form", ops.LOWERINGS)
def test_value_and_gradient_equal_pytorch(form, dtype, run_compiled):
    """Odd sizes, enlarged and reduced: `tests/ops/references.py` wrote the numbers."""
    with np.load(FIXTURES / "pytorch_interpolate.npz") as file:
        arrays = {name: file[name] for name in file}
    count = sum(name.startswith("x_") for name in arrays)
    cases = [*itertools.product(range(count), ["bilinear", "bicubic"], ["half_pixel", "aligned"])]

    def results(arrays):
        with lowering.forced({"resize": form}):
            for number, method, corners in cases:
                x, weights = arrays[f"x_{number}"], arrays[f"w_{number}"]
                size = weights.shape[1:3]
                y, back = jax.vjp(lambda x: ops.resize(x, size, corners, method), x)  # noqa: B023
                yield y, *back(weights)

    found = run_compiled(
        lambda arrays: [*results(arrays)], jax.tree.map(jnp.dtype(dtype).type, arrays)
    )
    tolerance = 1e-5 if dtype == "float32" else 2**-6  # inputs too are rounded
    for (number, method, corners), (y, gradient) in zip(cases, found, strict=True):
        assert y.dtype == gradient.dtype == dtype
        for ours, kind in ((y, "y"), (gradient, "g")):
            theirs = arrays[f"{kind}_{number}_{method}_{corners}"]
            scale = np.abs(theirs).max()
            np.testing.assert_allclose(np.float32(ours), theirs, rtol=0, atol=tolerance * scale)


def test_one_pixel_to_many_and_back_takes_a_product(resize):
    """As the pooled image of DeepLab: more taps in the gradient than are added up one by one."""
    x = jnp.array([[2.0, -1.0]]).reshape(1, 1, 1, 2)
    y, back = jax.vjp(lambda x: resize(x, (43, 45)), x)
    np.testing.assert_allclose(y, jnp.broadcast_to(x, y.shape))
    np.testing.assert_allclose(back(jnp.ones_like(y))[0], jnp.full_like(x, 43 * 45))


@pytest.mark.parametrize(
    ("old", "new", "order"),
    [((8, 8), (16, 16), (1, 2)), ((8, 8), (8, 16), (2,)), ((64, 64), (65, 4), (2, 1))],
)
def test_the_axis_that_leaves_less_to_multiply_goes_first(old, new, order):
    assert ops._order(old, new) == order


def test_taps_read_no_pixel_of_weight_zero():
    """NaN in pixels that a resize does not use stays where it is."""
    x = jnp.ones((1, 6, 6, 1)).at[0, 0].set(jnp.nan)
    with lowering.forced({"resize": "taps"}):
        y = ops.resize(x, (12, 12))
    assert jnp.isnan(y[0, :3]).all()
    assert not jnp.isnan(y[0, 3:]).any()


@pytest.mark.parametrize(("old", "new"), SIZES)
def test_nearest_copies_the_pixel_that_integer_division_names(old, new, resize):
    x = np.random.default_rng(0).normal(size=(2, *old, 3)).astype(np.float32)
    rows, cols = (np.arange(n) * o // n for o, n in zip(old, new, strict=True))
    np.testing.assert_array_equal(resize(x, new, method="nearest"), x[:, rows][:, :, cols])


def keys_cubic(line, at, a=-0.75):
    """Keys' convolution at one point of a line whose ends are repeated, term by term."""
    total = 0.0
    for k in range(int(np.floor(at)) - 1, int(np.floor(at)) + 3):
        s = abs(at - k)
        if s <= 1:
            weight = (a + 2) * s**3 - (a + 3) * s**2 + 1
        else:
            weight = a * s**3 - 5 * a * s**2 + 8 * a * s - 4 * a
        total += weight * line[min(max(k, 0), len(line) - 1)]
    return total


@pytest.mark.parametrize("corners", ["half_pixel", "aligned"])
@pytest.mark.parametrize(("old", "new"), SIZES)
def test_bicubic_equals_keys_convolution(old, new, corners, resize):
    x = np.random.default_rng(0).normal(size=(1, *old, 2))
    y = x
    for axis in (1, 2):
        o, n = old[axis - 1], new[axis - 1]
        if corners == "aligned":
            points = np.linspace(0, o - 1, n) if n > 1 else np.zeros(1)
        else:
            points = np.linspace(0, o, n + 1)[:-1] + o / n / 2 - 0.5  # middles of n equal parts
        line = lambda v, points=points: np.array([keys_cubic(v, at) for at in points])  # noqa: E731
        y = np.apply_along_axis(line, axis, y)
    got = resize(x.astype(np.float32), new, corners, "bicubic")
    np.testing.assert_allclose(got, y, atol=1e-5)


@pytest.mark.parametrize("method", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize("corners", ["half_pixel", "aligned"])
def test_a_linear_map_with_its_transpose_as_gradient(corners, method, resize):
    x = jax.random.normal(jax.random.key(0), (1, 3, 4, 2))
    y = jax.random.normal(jax.random.key(1), (1, 7, 5, 2))
    up, pullback = jax.vjp(lambda x: resize(x, (7, 5), corners, method), x)
    np.testing.assert_allclose(jnp.vdot(up, y), jnp.vdot(x, pullback(y)[0]), rtol=1e-5)
    ones = resize(jnp.ones((1, 3, 4, 2)), (7, 5), corners, method)
    np.testing.assert_allclose(ones, 1, atol=1e-6)


@pytest.mark.parametrize("size", [(29, 31), (16, 24)])
@pytest.mark.parametrize("method", ["nearest", "bilinear", "bicubic"])
def test_bfloat16_is_summed_in_float32(method, size, resize):
    x = jax.random.normal(jax.random.key(0), (1, 8, 8, 4)).astype(jnp.bfloat16)
    y = resize(x, size, method=method)
    exact = np.asarray(resize(x.astype(jnp.float32), size, method=method))
    assert y.dtype == jnp.bfloat16
    # rounded once, at the end: within half of bfloat16's spacing, and float32's own errors
    half_spacing = np.ldexp(1.0, np.frexp(exact)[1] - 9)
    assert np.all(np.abs(np.asarray(y, np.float32) - exact) <= half_spacing + 1e-6)


def test_unknown_corners():
    with pytest.raises(UserError, match="half_pixel"):
        ops.resize(jnp.ones((1, 2, 2, 1)), (2, 2), corners="align")


def test_unknown_method():
    with pytest.raises(UserError, match="'cubic', expected one of nearest, bilinear, bicubic"):
        ops.resize(jnp.ones((1, 2, 2, 1)), (3, 3), method="cubic")
