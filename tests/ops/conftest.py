"""What a convolution and its gradients are, straight from the definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest


def _ends(size, k, stride, dilation, padding):
    """Zeros before and after the `size` pixels of one axis."""
    reach = dilation * (k - 1)
    if padding == "valid":
        return 0, 0
    if padding == "symmetric":
        return reach // 2, reach // 2
    total = max((-(-size // stride) - 1) * stride + reach + 1 - size, 0)
    return total // 2, total - total // 2


def _convolution(x, kernel, stride, dilation, padding, weigh):
    """Output, and gradients of its sum weighted by `weigh(shape)`, tap by tap in float64."""
    k, _, per_group, outputs = kernel.shape
    groups = x.shape[-1] // per_group
    rows, cols = (_ends(n, k, stride, dilation, padding) for n in x.shape[1:3])
    x = np.pad(x.astype(np.float64), ((0, 0), rows, cols, (0, 0)))
    h, w = ((n - dilation * (k - 1) - 1) // stride + 1 for n in x.shape[1:3])
    x = x.reshape(*x.shape[:3], groups, per_group)
    kernel = kernel.astype(np.float64).reshape(k, k, per_group, groups, outputs // groups)
    y = np.zeros((len(x), h, w, groups, outputs // groups))
    g = weigh((len(x), h, w, outputs)).astype(np.float64).reshape(y.shape)
    dx, dk = np.zeros_like(x), np.zeros_like(kernel)
    for i in range(k):
        for j in range(k):
            seen = (
                slice(None),
                slice(i * dilation, i * dilation + (h - 1) * stride + 1, stride),
                slice(j * dilation, j * dilation + (w - 1) * stride + 1, stride),
            )
            y += np.einsum("bhwgi,igo->bhwgo", x[seen], kernel[i, j])
            dx[seen] += np.einsum("bhwgo,igo->bhwgi", g, kernel[i, j])
            dk[i, j] = np.einsum("bhwgi,bhwgo->igo", x[seen], g)
    inside = dx[:, rows[0] : dx.shape[1] - rows[1], cols[0] : dx.shape[2] - cols[1]]
    return (
        y.reshape(*y.shape[:3], outputs),
        inside.reshape(*inside.shape[:3], -1),
        dk.reshape(k, k, per_group, outputs),
    )


@pytest.fixture(scope="session")
def check_convolution(run_compiled):
    """Compare a lowering, its value and gradients, with the definition, in one compiled program.

    `cases` are (kernel size, stride, dilation, height, width); `kernel` the channels of a kernel
    and its outputs, for images of `channels`.
    """

    def check(function, operation, form, cases, padding, dtype, channels=3, kernel=(3, 4)):
        from jaxseg.ops import lowering

        rng, dtype = np.random.default_rng(0), jnp.dtype(dtype)
        arrays = [
            [jnp.asarray(rng.normal(size=size), dtype) for size in (image, (k, k, *kernel))]
            for k, _, _, h, w in cases
            for image in [(2, h, w, channels)]
        ]

        def weigh(shape):
            cosines = np.cos(np.arange(np.prod(shape), dtype=np.float32)).reshape(shape)
            return cosines.astype(dtype).astype(np.float32)

        def one(stride, dilation, x, kernel):
            y, back = jax.vjp(lambda x, k: function(x, k, stride, dilation, padding), x, kernel)
            return y, *back(jnp.asarray(weigh(y.shape), dtype))

        def results(arrays):
            with lowering.forced({operation: form}):
                pairs = zip(cases, arrays, strict=True)
                return [one(stride, dilation, *pair) for (_, stride, dilation, _, _), pair in pairs]

        found = run_compiled(results, arrays)
        tolerance = 1e-5 if dtype == jnp.float32 else 2**-7
        for (_, stride, dilation, _, _), pair, ours in zip(cases, arrays, found, strict=True):
            pair = (np.asarray(array, np.float32) for array in pair)
            expected = _convolution(*pair, stride, dilation, padding, weigh)
            for array, exact in zip(ours, expected, strict=True):
                assert array.dtype == dtype
                scale = np.abs(exact).max(initial=0)
                np.testing.assert_allclose(
                    np.asarray(array, np.float64), exact, rtol=tolerance, atol=tolerance * scale
                )

    return check


@pytest.fixture
def asked(monkeypatch):
    """The (operation, class of shapes) pairs that the table is asked for."""
    from jaxseg.ops import lowering

    pairs = []

    def choose(operation, shapes, dtype, lowerings):
        pairs.append((operation, shapes))
        return lowerings[0]

    monkeypatch.setattr(lowering, "choose", choose)
    return pairs
