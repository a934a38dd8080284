import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.ops import pooling

max_pool = jax.jit(pooling.max_pool, static_argnums=(1, 2))
max_pool_with_indices = jax.jit(pooling.max_pool_with_indices, static_argnums=(1, 2))
max_unpool = jax.jit(pooling.max_unpool, static_argnums=(2, 3))
max_pool_3x3 = jax.jit(pooling.max_pool_3x3)

SIZES = [(1, 1), (2, 3), (4, 6), (7, 5), (9, 8)]


def reference(x, size, stride, before):
    """The maximum of every window, clipped to the image; ceil(n / stride) windows."""
    b, h, w, c = x.shape
    rows, cols = -(-h // stride), -(-w // stride)
    y = np.zeros((b, rows, cols, c))
    for i in range(rows):
        for j in range(cols):
            top, left = i * stride - before, j * stride - before
            window = x[:, max(top, 0) : top + size, max(left, 0) : left + size]
            y[:, i, j] = window.max(axis=(1, 2))
    return y


@pytest.mark.parametrize("window", [2, 3])
@pytest.mark.parametrize(("h", "w"), SIZES)
def test_blocks(h, w, window):
    x = np.random.default_rng(0).normal(size=(2, h, w, 3)).astype(np.float32) - 5  # all negative
    y = max_pool(x, window)
    np.testing.assert_array_equal(y, reference(x, window, window, before=0))
    whole = x[:, : h // window * window, : w // window * window]
    np.testing.assert_array_equal(max_pool(x, window, "floor"), max_pool(whole, window))


@pytest.mark.parametrize(("h", "w"), SIZES)
def test_3x3_stride2(h, w):
    x = np.random.default_rng(0).normal(size=(2, h, w, 3)).astype(np.float32) - 5
    y = max_pool_3x3(x)
    np.testing.assert_array_equal(y, reference(x, 3, 2, before=1))


@pytest.mark.parametrize("padding", ["symmetric", "tf_same", "valid"])
@pytest.mark.parametrize(("h", "w"), [(9, 12), (10, 11)])
def test_3x3_equals_xla(h, w, padding, run_compiled):
    settings = [(2, 1), (1, 1), (1, 4), (2, 2), (3, 1)]  # stride, dilation

    def expected(x, stride, dilation):
        beyond = ((0, 0), (dilation, dilation), (dilation, dilation), (0, 0))
        return jax.lax.reduce_window(
            x,
            -np.inf,
            jax.lax.max,
            window_dimensions=(1, 3, 3, 1),
            window_strides=(1, stride, stride, 1),
            padding={"symmetric": beyond, "tf_same": "SAME", "valid": "VALID"}[padding],
            window_dilation=(1, dilation, dilation, 1),
        )

    x = np.random.default_rng(0).normal(size=(2, h, w, 3)).astype(np.float32) - 5
    pairs = run_compiled(
        lambda x: [(pooling.max_pool_3x3(x, *s, padding), expected(x, *s)) for s in settings], x
    )
    for pair in pairs:
        np.testing.assert_array_equal(*pair)


@pytest.mark.parametrize("pool", [max_pool, max_pool_3x3], ids=["blocks", "3x3"])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_gradient_goes_to_the_maxima_and_adds_up(pool, dtype):
    x = jax.random.normal(jax.random.key(0), (1, 5, 7, 1)).astype(dtype)
    gradient = jax.grad(lambda x: pool(x).sum().astype(jnp.float32))(x)
    outputs = pool(x)
    assert gradient.sum() == outputs.size
    np.testing.assert_array_equal(np.isin(x, outputs), gradient != 0)


@pytest.mark.parametrize("pool", [max_pool, max_pool_3x3], ids=["blocks", "3x3"])
def test_gradient_of_ties_is_finite_and_adds_up(pool):
    gradient = jax.grad(lambda x: pool(x).sum())(jnp.zeros((1, 5, 7, 2)))
    assert jnp.isfinite(gradient).all()
    assert gradient.sum() == pytest.approx(3 * 4 * 2)


@pytest.mark.parametrize("rounding", ["ceil", "floor"])
@pytest.mark.parametrize("window", [2, 3])
@pytest.mark.parametrize(("h", "w"), SIZES)
def test_indices_say_where_the_first_maximum_was(h, w, window, rounding):
    x = np.random.default_rng(0).integers(-9, -5, size=(2, h, w, 3)).astype(np.float32)  # ties
    y, indices = max_pool_with_indices(x, window, rounding)
    np.testing.assert_array_equal(y, max_pool(x, window, rounding))
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
        max_pool(jnp.ones((1, 2, 2, 1)), 2, "round")
