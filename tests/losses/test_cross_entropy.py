import functools
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxseg.errors import UserError
from jaxseg.losses.cross_entropy import Loss
from jaxseg.ops import bands
from tests.losses.references import interpolation


def cross_entropy(logits, labels, weights=None, *, void, corners="half_pixel", **options):
    """The sum, and the count it is divided by."""
    loss = Loss(**options)
    total = loss.sum(logits, labels, weights, void=void, corners=corners)
    return total, loss.count(labels, void=void)


VOID = 255


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(2, 5, 4, 3)).astype(np.float32) * 3
    labels = rng.integers(0, 3, (2, 5, 4)).astype(np.int32)
    labels[0, :2] = VOID
    return logits, labels


def reference(logits, labels, weights=(), smoothing=0.0, added: Any = 0.0, corners="half_pixel"):
    """Sum, count and gradient of the sum, from the definition: at full size and in float64."""
    rows = interpolation(logits.shape[1], labels.shape[1], corners)
    cols = interpolation(logits.shape[2], labels.shape[2], corners)
    scores = np.einsum("Hh,Ww,bhwc->bHWc", rows, cols, logits.astype(np.float64))
    valid = labels != VOID
    truth = np.eye(scores.shape[-1])[np.where(valid, labels, 0)]
    scores = np.where(valid[..., None], scores, 0)
    p = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    target = (1 - smoothing) * truth + smoothing / scores.shape[-1]
    factors = (truth @ weights if weights else 1) + np.broadcast_to(added, labels.shape)
    factors = np.where(valid, factors, 0)
    gradient = np.einsum("Hh,Ww,bHW,bHWc->bhwc", rows, cols, factors, p - target)
    return -(factors[..., None] * target * np.log(p)).sum(), valid.sum(), gradient


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [(), (0.5, 2.0, 3.0)])
def test_equals_the_definition(batch, weights, smoothing):
    logits, labels = map(jnp.asarray, batch)
    total, count = cross_entropy(
        logits, labels, void=VOID, class_weights=weights, label_smoothing=smoothing
    )
    want_total, want_count, _ = reference(batch[0], batch[1], weights, smoothing)
    np.testing.assert_allclose(total, want_total, rtol=1e-5)
    assert count == want_count == 32


@pytest.mark.parametrize("class_weights", [(), (0.5, 2.0, 3.0)])
def test_pixel_weights_add_to_the_class_weights(batch, class_weights):
    added = np.random.default_rng(1).uniform(0, 10, batch[1].shape).astype(np.float32)
    logits, labels, weights = map(jnp.asarray, (*batch, added))
    got = cross_entropy(logits, labels, weights, void=VOID, class_weights=class_weights)
    want = reference(batch[0], batch[1], class_weights, added=added)
    np.testing.assert_allclose(got, want[:2], rtol=1e-5)


SIZES = {  # of logits, of labels, rows that a band may have
    "one band": ((4, 3), (13, 9), 99),
    "bands of a row": ((4, 3), (13, 9), 1),
    "a last band that begins early": ((4, 3), (13, 9), 5),
    "as large, the last band early": ((13, 9), (13, 9), 5),
    "as high": ((13, 3), (13, 9), 5),
    "as wide": ((3, 9), (13, 9), 5),
    "one pixel": ((1, 1), (7, 9), 2),
    "larger than the labels": ((11, 12), (7, 9), 2),
}


@pytest.mark.parametrize("corners", ["half_pixel", "aligned"])
@pytest.mark.parametrize("name", SIZES)
def test_value_and_gradient_at_any_size_by_any_bands(monkeypatch, run_compiled, name, corners):
    small, size, rows = SIZES[name]
    monkeypatch.setattr(bands, "BAND_BYTES", rows * 4 * size[1] * 5)
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(2, *small, 5)).astype(np.float32) * 3
    labels = rng.integers(0, 5, (2, *size)).astype(np.int32)
    labels[rng.random(labels.shape) < 0.2] = VOID
    added = rng.uniform(0, 5, labels.shape).astype(np.float32)
    weights = (0.5, 2.0, 3.0, 0.0, 1.0)

    def half(logits, labels, added):
        options = {"void": VOID, "class_weights": weights, "label_smoothing": 0.1}
        total, count = cross_entropy(logits, labels, added, corners=corners, **options)
        return total / 2, count

    arrays = map(jnp.asarray, (logits, labels, added))
    (total, count), gradient = run_compiled(jax.value_and_grad(half, has_aux=True), *arrays)
    want = reference(logits, labels, weights, 0.1, added, corners)
    np.testing.assert_allclose(total, want[0] / 2, rtol=1e-5)
    assert count == want[1]
    np.testing.assert_allclose(gradient, want[2] / 2, rtol=1e-4, atol=1e-5 * size[0] * size[1])


def test_an_unknown_corners_is_refused(batch):
    with pytest.raises(UserError, match="corners"):
        cross_entropy(*map(jnp.asarray, batch), void=VOID, corners="round")


def test_void_pixels_carry_no_gradient(batch):
    logits, labels = map(jnp.asarray, batch)
    heavy = jnp.full(labels.shape, 10.0)
    gradient = jax.grad(lambda x: cross_entropy(x, labels, heavy, void=VOID)[0])(logits)
    void = np.asarray(labels == VOID)
    assert np.all(np.asarray(gradient)[void] == 0)
    assert np.all(np.abs(np.asarray(gradient)[~void]).sum(-1) > 0)


def test_nothing_but_void_gives_zero(batch):
    """Weights and smoothing or not, for logits that are enlarged."""
    logits, labels = jnp.asarray(batch[0]), jnp.full((2, 9, 8), VOID, jnp.int32)
    heavy = jnp.full(labels.shape, 10.0)
    loss = functools.partial(cross_entropy, void=VOID, label_smoothing=0.1)
    (total, count), gradient = jax.value_and_grad(loss, has_aux=True)(logits, labels, heavy)
    assert total == count == 0
    assert not np.any(gradient)


def test_extreme_logits_under_void_give_no_nan(batch):
    logits, labels = map(jnp.asarray, batch)
    wild = jnp.where((labels == VOID)[..., None], jnp.array([1e38, -1e38, 0.0]), logits)
    value, gradient = jax.value_and_grad(lambda x: cross_entropy(x, labels, void=VOID)[0])(wild)
    assert np.isfinite(value)
    assert np.all(np.isfinite(gradient))


def test_parts_add_up_to_the_whole(batch):
    logits, labels = map(jnp.asarray, batch)
    whole = cross_entropy(logits, labels, void=VOID)
    parts = [cross_entropy(logits[i : i + 1], labels[i : i + 1], void=VOID) for i in range(2)]
    np.testing.assert_allclose(np.sum(np.asarray(parts), 0), whole, rtol=1e-6)


@pytest.mark.parametrize("size", [(5, 4), (9, 7)])
def test_bfloat16_logits_are_enlarged_and_summed_in_float32(monkeypatch, batch, size):
    monkeypatch.setattr(bands, "BAND_BYTES", 1)  # several bands add to a row of the gradient
    logits = jnp.asarray(batch[0], jnp.bfloat16)
    labels = np.random.default_rng(0).integers(0, 3, (2, *size)).astype(np.int32)
    loss = functools.partial(cross_entropy, void=VOID)
    (total, _), gradient = jax.value_and_grad(loss, has_aux=True)(logits, jnp.asarray(labels))
    assert total.dtype == jnp.float32
    assert gradient.dtype == jnp.bfloat16
    want, _, want_gradient = reference(np.asarray(logits, np.float32), labels)
    np.testing.assert_allclose(total, want, rtol=1e-5)
    # rounded once, to 8 bits
    np.testing.assert_allclose(np.float32(gradient), want_gradient, rtol=1.01 * 2**-8, atol=1e-5)


def test_the_sum_alone_computes_no_gradient(batch):
    """Two products enlarge a band; two more take its gradient back."""
    logits, labels = jnp.asarray(batch[0]), jnp.zeros((2, 9, 8), jnp.int32)

    def products(function):
        return str(jax.make_jaxpr(function)(logits)).count("dot_general")

    loss = lambda x: cross_entropy(x, labels, void=VOID)[0]  # noqa: E731
    assert products(loss) == 2
    assert products(jax.grad(loss)) == 4


def test_the_gradient_needs_no_memory_for_large_logits():
    """16 images of 512x512 and 150 classes: the large logits and their gradient take 5 GB."""

    def plain(logits, labels):
        large = jax.image.resize(logits, (16, 512, 512, 150), "bilinear", antialias=False)
        log_p = jax.nn.log_softmax(large)
        valid = labels != VOID
        picked = jnp.take_along_axis(log_p, jnp.where(valid, labels, 0)[..., None], -1)[..., 0]
        return -jnp.where(valid, picked, 0).sum()

    def lean(logits, labels):
        return cross_entropy(logits, labels, void=VOID)[0]

    def memory(loss):
        logits = jax.ShapeDtypeStruct((16, 128, 128, 150), jnp.float32)
        labels = jax.ShapeDtypeStruct((16, 512, 512), jnp.int32)
        memory: Any = jax.jit(jax.grad(loss)).lower(logits, labels).compile().memory_analysis()
        return memory.temp_size_in_bytes

    assert memory(plain) - memory(lean) >= 2 * (16 * 512 * 512 * 150 * 4)
    assert memory(lean) < 100e6


@pytest.fixture
def eight_images(monkeypatch):
    """Of which a device gets one, and their loss."""
    monkeypatch.setattr(bands, "BAND_BYTES", 5000)
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(8, 5, 5, 3)).astype(np.float32)
    labels = rng.integers(0, 3, (8, 33, 33)).astype(np.int32)
    for i in range(8):
        labels[i, : 33 * i // 7] = VOID
    weights = rng.uniform(size=labels.shape).astype(np.float32)
    loss = functools.partial(cross_entropy, void=VOID, corners="aligned", label_smoothing=0.1)
    return jax.value_and_grad(loss, has_aux=True), (logits, labels, weights)


def test_a_batch_over_devices_stays_there(eight_images):
    """Each takes the gradient of its own; two numbers cross, once: the sum and the count."""
    function, arrays = eight_images
    split = NamedSharding(Mesh(np.asarray(jax.devices()), ("data",)), PartitionSpec("data"))
    arrays = [jax.device_put(array, split) for array in arrays]
    compiled = jax.jit(function).lower(*arrays).compile()
    program = compiled.as_text() or ""
    assert not re.search("all-gather|all-to-all|collective-permute", program)
    reduced = re.compile(r"= (.*) all-reduce(?:-start)?\(")
    shapes = re.findall(r"\w+\[.*?\]", " ".join(reduced.findall(program)))
    assert shapes == ["f32[]", "f32[]"]
    main = program[program.index("ENTRY") :]  # not in the loop over bands
    assert reduced.findall(main) == reduced.findall(program)
    (total, count), gradient = compiled(*arrays)
    assert gradient.sharding.is_equivalent_to(split, 4)
    logits, labels, weights = map(np.asarray, arrays)
    want = reference(logits, labels, (), 0.1, weights, "aligned")
    np.testing.assert_allclose(total, want[0], rtol=1e-5)
    assert count == want[1]
    np.testing.assert_allclose(gradient, want[2], atol=1e-4)


def test_a_named_axis_of_devices_gives_the_same(eight_images):
    function, arrays = eight_images
    (total, count), gradient = jax.jit(function)(*arrays)

    def share(*arrays):
        sums, gradient = function(*arrays)
        return jax.lax.psum(sums, "batch"), gradient

    shares = [array[:, None] for array in arrays]
    sums, gradients = jax.pmap(share, "batch", out_axes=((None, None), 0))(*shares)
    np.testing.assert_allclose(sums, (total, count), rtol=1e-6)
    np.testing.assert_allclose(gradients[:, 0], gradient, rtol=1e-5, atol=1e-7)
