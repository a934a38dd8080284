import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.ops import lowering, pooling

max_pool_with_indices = jax.jit(pooling.max_pool_with_indices, static_argnums=(1, 2))
max_unpool = jax.jit(pooling.max_unpool, static_argnums=(2, 3))

SIZES = [(1, 1), (2, 3), (4, 6), (7, 5), (9, 8)]


def definition(x, settings, size, weigh):
    """Maxima, and where their weights go: to the first pixel, row by row, that is the maximum."""
    window, stride, dilation, ends = settings
    fill = ((0, 0), *ends, (0, 0))
    x = np.pad(x.astype(np.float64), fill, constant_values=-np.inf)
    b, _, _, c = x.shape
    y, gradient = np.zeros((b, *size, c)), np.zeros_like(x)
    weights = weigh(y.shape)
    reach = dilation * (window - 1) + 1
    for n, i, j, channel in np.ndindex(y.shape):
        top, left = i * stride, j * stride
        at = n, slice(top, top + reach, dilation), slice(left, left + reach, dilation), channel
        row, col = np.unravel_index(np.argmax(x[at]), (window, window))
        y[n, i, j, channel] = x[at][row, col]
        place = n, top + row * dilation, left + col * dilation, channel
        gradient[place] += weights[n, i, j, channel]
    (above, below), (before, after) = ends
    h, w = x.shape[1:3]
    return y, gradient[:, above : h - below, before : w - after]


def check(function, operation, form, cases, dtype, values, run_compiled):
    """Value and gradient of one lowering against the definition, for every case.

    `cases` are (height, width, arguments of the function, those of the definition).
    """
    dtype = jnp.dtype(dtype)
    images = [jnp.asarray(values((2, h, w, 2)), dtype) for h, w, *_ in cases]

    def weigh(shape):
        cosines = np.cos(np.arange(np.prod(shape), dtype=np.float32)).reshape(shape)
        return np.asarray(cosines.astype(dtype), np.float64)

    def one(x, arguments):
        y, back = jax.vjp(lambda x: function(x, *arguments), x)
        return y, *back(jnp.asarray(weigh(y.shape), dtype))

    def results(images):
        with lowering.forced({operation: form}):
            return [one(x, case[2]) for x, case in zip(images, cases, strict=True)]

    found = run_compiled(results, images)
    for x, case, (y, gradient) in zip(images, cases, found, strict=True):
        expected = definition(np.asarray(x, np.float64), case[3], y.shape[1:3], weigh)
        assert y.dtype == gradient.dtype == dtype
        np.testing.assert_array_equal(np.asarray(y, np.float64), expected[0], err_msg=str(case))
        # XLA adds bfloat16 gradients up in bfloat16, nine of them at most
        rtol = 1e-6 if dtype == jnp.float32 else 2**-6
        np.testing.assert_allclose(
            np.asarray(gradient, np.float64), expected[1], rtol, 2 * rtol, err_msg=str(case)
        )


def distinct(shape):
    """All negative, no two alike, exact in bfloat16 within 256 neighbours."""
    numbers = np.random.default_rng(0).permutation(np.prod(shape[1:3]))
    return -1.0 - np.stack([numbers.reshape(shape[1:3])] * shape[3], -1)[None].repeat(shape[0], 0)


def tied(shape):
    """Few values, so that most windows hold their maximum more than once."""
    return np.random.default_rng(0).integers(-3, -1, size=shape)


@pytest.mark.parametrize(("dtype", "values"), [("float32", distinct), ("bfloat16", tied)])
@pytest.mark.parametrize("form", pooling.LOWERINGS)
def test_blocks(form, dtype, values, run_compiled):
    cases = [
        (h, w, (window,), (window, window, 1, tuple((0, -n % window) for n in (h, w))))
        for h, w in SIZES
        for window in (2, 3)
    ]
    check(pooling.max_pool, "max_pool", form, cases, dtype, values, run_compiled)


@pytest.mark.parametrize("form", pooling.LOWERINGS)
def test_rounding_down_drops_what_fills_no_block(form, run_compiled):
    def pool(x):
        with lowering.forced({"max_pool": form}):
            whole = x[:, :9, :6]
            dropped, back = jax.vjp(lambda x: pooling.max_pool(x, 3, "floor"), x)
            return pooling.max_pool(whole, 3), dropped, *back(dropped)

    x = jnp.asarray(distinct((1, 11, 7, 2)), jnp.float32)
    whole, dropped, gradient = run_compiled(pool, x)
    np.testing.assert_array_equal(dropped, whole)
    assert gradient.shape == x.shape
    assert np.count_nonzero(gradient) == np.count_nonzero(gradient[:, :9, :6]) == dropped.size


def cases_3x3(padding):
    settings = [(2, 1), (1, 1), (1, 2), (2, 2), (3, 1), (2, 3), (3, 2)]  # stride, dilation
    sizes = [(9, 12), (8, 7)]
    for (stride, dilation), (h, w) in zip(settings, itertools.cycle(sizes), strict=False):
        reach = 2 * dilation
        if padding == "valid":
            ends = ((0, 0), (0, 0))
        elif padding == "symmetric":
            ends = ((dilation, dilation), (dilation, dilation))
        else:
            total = [max((-(-n // stride) - 1) * stride + reach + 1 - n, 0) for n in (h, w)]
            ends = tuple((n // 2, n - n // 2) for n in total)
        yield h, w, (stride, dilation, padding), (3, stride, dilation, ends)


@pytest.mark.parametrize(("dtype", "values"), [("float32", distinct), ("bfloat16", tied)])
@pytest.mark.parametrize("padding", ["symmetric", "tf_same", "valid"])
@pytest.mark.parametrize("form", pooling.LOWERINGS)
def test_3x3(form, padding, dtype, values, run_compiled):
    cases = [case for case in cases_3x3(padding) if form == "slices" or case[2][1] == 1]
    check(pooling.max_pool_3x3, "max_pool_3x3", form, cases, dtype, values, run_compiled)


def test_lowerings_agree_on_ties(run_compiled):
    """Flat maps, the extreme: each output's gradient is at the first pixel of its window."""
    x = jnp.zeros((1, 7, 8, 1))

    def gradients(x):
        for form in pooling.LOWERINGS:
            with lowering.forced({"max_pool": form, "max_pool_3x3": form}):
                yield jax.grad(lambda x: pooling.max_pool(x).sum())(x)
                yield jax.grad(lambda x: pooling.max_pool_3x3(x, padding="valid").sum())(x)

    xla_blocks, xla_3x3, blocks, ours_3x3 = run_compiled(lambda x: [*gradients(x)], x)
    np.testing.assert_array_equal(blocks, xla_blocks)
    np.testing.assert_array_equal(ours_3x3, xla_3x3)
    first = np.zeros((7, 8))
    first[::2, ::2] = 1
    np.testing.assert_array_equal(blocks[0, ..., 0], first)


@pytest.mark.parametrize("form", pooling.LOWERINGS)
def test_nan_is_not_lost(form):
    x = jnp.zeros((1, 6, 6, 1)).at[0, 3, 3].set(jnp.nan)

    def pools(x):
        with lowering.forced({"max_pool": form, "max_pool_3x3": form}):
            return pooling.max_pool(x), pooling.max_pool_3x3(x)

    for function in (pools, lambda x: jax.vjp(pools, x)[0]):  # alone, and where a gradient is taken
        blocks, overlapping = jax.jit(function)(x)
        assert np.argwhere(np.isnan(blocks[0, ..., 0])).tolist() == [[1, 1]]
        assert np.argwhere(np.isnan(overlapping[0, ..., 0])).tolist() == [
            [1, 1], [1, 2], [2, 1], [2, 2],
        ]  # fmt: skip


def test_classes_of_shapes(asked):
    x = jnp.ones((1, 6, 6, 1))
    for window in (2, 3):
        pooling.max_pool(x, window)
    for stride in (1, 2):
        pooling.max_pool_3x3(x, stride)
    assert asked == [
        ("max_pool", "2x2"),
        ("max_pool", "larger"),
        ("max_pool_3x3", "dense"),
        ("max_pool_3x3", "strided"),
    ]


@pytest.mark.parametrize("rounding", ["ceil", "floor"])
@pytest.mark.parametrize("window", [2, 3])
@pytest.mark.parametrize(("h", "w"), SIZES)
def test_indices_say_where_the_first_maximum_was(h, w, window, rounding):
    x = np.random.default_rng(0).integers(-9, -5, size=(2, h, w, 3)).astype(np.float32)  # ties
    y, indices = max_pool_with_indices(x, window, rounding)
    np.testing.assert_array_equal(y, pooling.max_pool(jnp.asarray(x), window, rounding))
    for b, i, j, c in np.ndindex(y.shape):
        top, left = i * window, j * window
        block = x[b, top : top + window, left : left + window, c]
        row, col = np.unravel_index(np.argmax(block), block.shape)  # the first, row by row
        assert indices[b, i, j, c] == (top + row) * w + left + col


def test_indices_as_pytorch_counts_them():
    """torch.nn.functional.max_pool2d(x, 2, ceil_mode=True, return_indices=True), torch 2.13."""
    x = jnp.array([[1, 3, 3, 2, 0], [3, 0, 2, 3, 4], [1, 1, 5, 0, 2]], jnp.float32)
    y, indices = max_pool_with_indices(x[None, ..., None])
    np.testing.assert_array_equal(y[0, ..., 0], [[3, 3, 4], [1, 5, 2]])
    np.testing.assert_array_equal(indices[0, ..., 0], [[1, 2, 9], [10, 12, 14]])


@pytest.mark.parametrize("rounding", ["ceil", "floor"])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize(("h", "w", "window"), [(1, 1, 2), (7, 5, 2), (9, 8, 3), (6, 10, 2)])
def test_unpooling_puts_values_back_and_is_the_adjoint_of_the_selection(
    h, w, window, dtype, rounding, run_compiled
):
    if rounding == "floor" and min(h, w) < window:
        return

    def round_trip(x, values):
        """Pooled and put back; values put back, and as the gradient of pooling takes them."""
        y, indices = pooling.max_pool_with_indices(x, window, rounding)
        _, pullback = jax.vjp(lambda x: pooling.max_pool_with_indices(x, window, rounding)[0], x)
        back, there = (pooling.max_unpool(v, indices, (h, w), window) for v in (y, values))
        return y, back, there, *pullback(values)

    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(2, h, w, 3)), dtype)
    up = 0 if rounding == "floor" else window - 1
    pooled = (2, (h + up) // window, (w + up) // window, 3)
    y, back, there, gradient = run_compiled(
        round_trip, x, jnp.asarray(rng.normal(size=pooled), dtype)
    )
    assert (back.shape, back.dtype) == (x.shape, dtype)
    assert np.count_nonzero(back) == y.size
    np.testing.assert_array_equal(back, np.where(back != 0, x, 0))  # where it was, as it was
    # Pooling selects: its gradient takes values back to where they came from, as unpooling does.
    np.testing.assert_array_equal(there, gradient)


def test_gradient_of_unpooling_picks_the_indices():
    x = jax.random.normal(jax.random.key(0), (1, 5, 7, 2))
    y, indices = max_pool_with_indices(x)
    target = jax.random.normal(jax.random.key(1), x.shape)
    gradient = jax.grad(lambda y: (max_unpool(y, indices, (5, 7)) * target).sum())(y)
    flat = target.reshape(1, 35, 2)
    picked = np.take_along_axis(np.asarray(flat), np.asarray(indices).reshape(1, 12, 2), axis=1)
    np.testing.assert_array_equal(gradient, picked.reshape(y.shape))


def test_unknown_rounding():
    with pytest.raises(UserError, match="rounding is 'round', expected one of ceil, floor"):
        pooling.max_pool(jnp.ones((1, 2, 2, 1)), 2, "round")
