"""Every lowering as users run it: at XLA's default optimisation level, and on several devices."""

from functools import partial
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxseg.errors import UserError
from jaxseg.ops import catalogue, lowering
from jaxseg.ops.conv import conv
from jaxseg.ops.depthwise import depthwise_conv
from jaxseg.ops.pooling import max_pool, max_pool_3x3
from jaxseg.ops.pyramid import mean_bins
from jaxseg.ops.resize import resize
from jaxseg.ops.transposed import transposed_conv
from jaxseg.ops.transposed_per_class import transposed_conv_per_class

# What is called, the shape of its input, and of its kernel if it has one.
CASES: dict[str, tuple[Any, ...]] = {
    "conv": (conv, (8, 17, 15, 16), (3, 3, 16, 8)),
    "conv, strided": (partial(conv, stride=2), (8, 33, 31, 16), (3, 3, 16, 24)),
    "pointwise_conv": (conv, (8, 9, 8, 16), (1, 1, 16, 24)),
    "atrous_conv": (partial(conv, dilation=2), (8, 17, 15, 16), (3, 3, 16, 24)),
    "depthwise_conv": (partial(depthwise_conv, stride=2), (8, 17, 15, 16), (3, 3, 1, 16)),
    "transposed_conv": (
        partial(transposed_conv, stride=2, padding=1), (8, 9, 8, 16), (4, 4, 16, 8)
    ),
    "transposed_conv, apart": (partial(transposed_conv, stride=2), (8, 9, 8, 16), (2, 2, 16, 8)),
    "transposed_conv_per_class": (
        partial(transposed_conv_per_class, stride=4, padding=2), (8, 9, 8, 5), (8, 8, 5)
    ),
    "resize": (partial(resize, size=(33, 29)), (8, 17, 15, 5)),
    "max_pool": (max_pool, (8, 17, 15, 16)),
    "max_pool_3x3": (max_pool_3x3, (8, 17, 15, 16)),
    "image pooling": (partial(mean_bins, bins=1), (8, 17, 15, 16)),
    "pyramid of means": (partial(mean_bins, bins=4), (8, 17, 15, 16)),
}  # fmt: skip


def arrays_of(name):
    rng = np.random.default_rng(0)
    return [jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in CASES[name][1:]]


def results(name, *arrays):
    """The output and the gradients of its sum weighted by cosines, the same for every image."""
    y, pull = jax.vjp(CASES[name][0], *arrays)
    weights = jnp.cos(jnp.arange(y[0].size, dtype=jnp.float32)).reshape(1, *y.shape[1:])
    return y, *pull(jnp.broadcast_to(weights, y.shape))


def lowerings(name):
    """The operation of this case and its lowerings that can do it."""
    found = []

    def choose(operation, shapes, dtype, names):
        found.append((operation, names))
        return names[0]

    with mock.patch.object(lowering, "choose", choose):
        jax.eval_shape(CASES[name][0], *arrays_of(name))
    return found[0] if found else ("", ())


EVERY = [
    (name, operation, form)
    for name in CASES
    for operation, forms in [lowerings(name)]
    for form in forms
]


def test_every_lowering_has_a_case():
    assert {(operation, form) for _, operation, form in EVERY} == {
        (operation, form) for operation, forms in catalogue.OPERATIONS.items() for form in forms
    }


@pytest.mark.parametrize(("name", "operation", "form"), EVERY)
def test_a_lowering_optimized_equals_the_first_unoptimized(name, operation, form, run_compiled):
    """The first, unoptimized, is compared with the definition beside each operation."""
    arrays = arrays_of(name)
    first = catalogue.OPERATIONS[operation][0]
    with lowering.forced({operation: first}):
        expected = run_compiled(partial(results, name), *arrays)
    with lowering.forced({operation: form}):
        found = jax.jit(partial(results, name))(*arrays)
    assert_close(found, expected)


def assert_close(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5 * np.abs(other).max())


@pytest.fixture(scope="module")
def on_one_device():
    return jax.jit(all_results)({name: arrays_of(name) for name in CASES})


def all_results(arrays):
    """Of every case, by the lowerings that the table of this machine names."""
    return {name: results(name, *arrays[name]) for name in CASES}


@pytest.mark.parametrize("compiler", ["jit", "pmap"])
def test_eight_devices_compute_what_one_does(compiler, on_one_device):
    """Maps are split over the devices; a kernel's gradient is the sum of all their shares."""
    arrays, devices = {name: arrays_of(name) for name in CASES}, jax.devices()[:8]
    if compiler == "jit":
        mesh = Mesh(np.asarray(devices), ("data",))
        split, whole = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in (("data",), ()))
        shardings = {name: [split, whole][: len(each)] for name, each in arrays.items()}
        found = jax.jit(all_results, in_shardings=(shardings,))(arrays)
    else:

        def share(images, kernels):
            both = {name: [image, *kernels[name]] for name, image in images.items()}
            for name, (y, x_gradient, *rest) in all_results(both).items():
                out[name] = (y, x_gradient, *jax.lax.psum(rest, "batch"))
            return out

        out: dict[str, Any] = {}
        images = {name: each[0][:, None] for name, each in arrays.items()}
        kernels = {name: each[1:] for name, each in arrays.items()}
        step = jax.pmap(share, "batch", in_axes=(0, None), devices=devices)
        shares = step(images, kernels)
        found = {
            name: (y[:, 0], x_gradient[:, 0], *(each[0] for each in rest))
            for name, (y, x_gradient, *rest) in shares.items()
        }
    for name in CASES:
        assert_close(found[name], on_one_device[name])


def test_an_unknown_lowering_is_refused():
    with pytest.raises(UserError, match=r"lowerings.conv is 'rowz'; did you mean 'rows'"):
        catalogue.check({"conv": "rowz"})
