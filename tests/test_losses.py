import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.losses import cross_entropy

VOID = 255


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(2, 5, 4, 3)).astype(np.float32) * 3
    labels = rng.integers(0, 3, (2, 5, 4)).astype(np.int32)
    labels[0, :2] = VOID
    return logits, labels


def reference(logits, labels, weights=(1, 1, 1), smoothing=0.0, added=0.0):
    """Pixel by pixel, in float64, from the definition."""
    total, count = 0.0, 0
    added = np.broadcast_to(added, labels.shape).ravel()
    pixels = zip(logits.reshape(-1, 3).astype(np.float64), labels.ravel(), added, strict=True)
    for scores, label, extra in pixels:
        if label == VOID:
            continue
        log_p = scores - np.log(np.exp(scores).sum())
        target = np.full(3, smoothing / 3)
        target[label] += 1 - smoothing
        total -= (weights[label] + extra) * (target * log_p).sum()
        count += 1
    return total, count


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [(), (0.5, 2.0, 3.0)])
def test_equals_the_definition(batch, weights, smoothing):
    logits, labels = map(jnp.asarray, batch)
    total, count = cross_entropy(
        logits, labels, void=VOID, class_weights=weights, label_smoothing=smoothing
    )
    want_total, want_count = reference(batch[0], batch[1], weights or (1, 1, 1), smoothing)
    np.testing.assert_allclose(total, want_total, rtol=1e-5)
    assert count == want_count == 32


@pytest.mark.parametrize("class_weights", [(), (0.5, 2.0, 3.0)])
def test_pixel_weights_add_to_the_class_weights(batch, class_weights):
    added = np.random.default_rng(1).uniform(0, 10, batch[1].shape).astype(np.float32)
    logits, labels, weights = map(jnp.asarray, (*batch, added))
    got = cross_entropy(logits, labels, weights, void=VOID, class_weights=class_weights)
    want = reference(batch[0], batch[1], class_weights or (1, 1, 1), added=added)
    np.testing.assert_allclose(got, want, rtol=1e-5)


def test_void_pixels_carry_no_gradient(batch):
    logits, labels = map(jnp.asarray, batch)
    heavy = jnp.full(labels.shape, 10.0)
    gradient = jax.grad(lambda x: cross_entropy(x, labels, heavy, void=VOID)[0])(logits)
    void = np.asarray(labels == VOID)
    assert np.all(np.asarray(gradient)[void] == 0)
    assert np.all(np.abs(np.asarray(gradient)[~void]).sum(-1) > 0)


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
    np.testing.assert_allclose(np.sum(parts, 0), whole, rtol=1e-6)


def test_bfloat16_logits_are_summed_in_float32(batch):
    logits, labels = jnp.asarray(batch[0], jnp.bfloat16), jnp.asarray(batch[1])
    total, _ = cross_entropy(logits, labels, void=VOID)
    assert total.dtype == jnp.float32
    want, _ = reference(np.asarray(logits, np.float32), batch[1])
    np.testing.assert_allclose(total, want, rtol=1e-5)
