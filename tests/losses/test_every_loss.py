"""Every loss, with options: its definition, degenerate batches, devices, and what is refused."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxseg import losses
from jaxseg.errors import UserError
from jaxseg.losses import WeightedSum, cross_entropy, dice, focal, lovasz, ohem, tversky
from jaxseg.ops import bands
from tests.losses import references

VOID = 255
OPTIONS = {
    "cross_entropy": [{}],
    "focal": [{}, {"gamma": 0.5, "class_weights": True}],
    "ohem": [
        {"threshold": 0.3, "min_share": 0.1},
        {"threshold": 0.0, "min_share": 0.37},
        {"threshold": 0.3, "min_share": 0.0, "class_weights": True},
    ],
    "dice": [{}, {"squared": False, "smooth": 1.0, "classes": "all"}, {"per_image": True}],
    "generalised_dice": [{}, {"per_image": True}],
    "tversky": [{}, {"alpha": 0.8, "smooth": 0.5, "classes": "all", "per_image": True}],
    "lovasz": [{}, {"classes": "all"}, {"per_image": True}, {"classes": "all", "per_image": True}],
}
VARIANTS = {
    f"{name}-{number}": (name, options)
    for name, variants in OPTIONS.items()
    for number, options in enumerate(variants)
}
# Fewer, where compilation takes long: of pixels, of the batch and of images.
SPECIAL = {"classes", "class_weights"}
PLAIN = [key for key, (_, options) in VARIANTS.items() if not SPECIAL & set(options)]


def weights_of_classes(num_classes):
    return tuple(np.linspace(0.5, 2, num_classes).tolist())


def variants(num_classes):
    """The losses, one name each, and how the reference is called."""
    built, calls = {}, {}
    for key, (name, options) in VARIANTS.items():
        options = dict(options)
        if "class_weights" in options:
            options["class_weights"] = weights_of_classes(num_classes)
        (_, loss) = losses.build(
            {name: {"weight": 1.0, **options}}, num_classes=num_classes, void=VOID
        ).losses[name]
        built[key] = (1.0, loss)
        calls[key] = (name, options)
    return WeightedSum(built, VOID), calls


def values_and_gradients(logits, labels, added, keys=VARIANTS, axis_name=None):
    """Of every variant, or of some, of the batch of all devices."""
    every, _ = variants(logits.shape[-1])
    found, how = {}, {"corners": "aligned", "axis_name": axis_name}
    for key in keys:
        alone = WeightedSum({key: every.losses[key]}, VOID)
        counts = alone.counts(labels, axis_name)

        def term(logits, key=key, alone=alone, counts=counts):
            return alone.terms(logits, labels, added, counts=counts, **how)[key]

        found[key] = jax.value_and_grad(term)(logits)
    values, gradients = zip(*found.values(), strict=True)
    return dict(zip(found, values, strict=True)), dict(zip(found, gradients, strict=True))


@pytest.fixture(scope="module")
def compute():
    """`values_and_gradients`, compiled once a shape; images of many bands."""
    compiled = {}

    def run(logits, labels, added):
        arrays = tuple(map(jnp.asarray, (logits, labels, added)))
        shape = logits.shape + labels.shape
        if shape not in compiled:
            options: dict[str, str | bool] = {"xla_backend_optimization_level": "0"}
            lowered = jax.jit(values_and_gradients).lower(*arrays)
            compiled[shape] = lowered.compile(compiler_options=options)
        return jax.device_get(compiled[shape](*arrays))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bands, "BAND_BYTES", 4 * 4 * 7 * 4)  # four rows of 7 pixels and 4 classes
        yield run


def batch(small=(3, 2), size=(9, 7), classes=4, examples=2):
    rng = np.random.default_rng(0)
    logits = (2 * rng.normal(size=(examples, *small, classes))).astype(np.float32)
    labels = rng.integers(0, classes, (examples, *size)).astype(np.int32)
    added = rng.uniform(0, 3, labels.shape).astype(np.float32)
    return logits, labels, added


def with_void():
    logits, labels, added = batch()
    labels[0, :4] = VOID
    labels[1, 2, :3] = VOID
    return logits, labels, added


def two_classes():
    logits, labels, added = batch()
    return logits, np.where(labels < 2, 0, 2).astype(np.int32), added


def with_an_image_of_void():
    logits, labels, added = batch()
    labels[1] = VOID
    return logits, labels, added


def one_label():
    logits, labels, added = batch()
    labels[0] = 1
    labels[1] = 3
    return logits, labels, added


def one_pixel():
    logits, labels, added = batch()
    labels.flat[np.arange(labels.size) != 70] = VOID
    return logits, labels, added


CASES = {
    "void": with_void,
    "absent classes": two_classes,
    "an image of void": with_an_image_of_void,
    "one class in each image": one_label,
    "one pixel": one_pixel,
    "one class": lambda: batch((2, 2), (5, 4), 1),
    "255 classes": lambda: batch((2, 2), (3, 3), 255),
}


@pytest.mark.parametrize("case", CASES)
def test_value_and_gradient_are_the_definitions(compute, case):
    """The gradient along random directions, by finite differences of the reference in float64."""
    logits, labels, added = CASES[case]()
    values, gradients = compute(logits, labels, added)
    rng = np.random.default_rng(1)
    _, calls = variants(logits.shape[-1])
    for key, (name, options) in calls.items():
        of = functools.partial(
            references.loss, name, labels=labels, added=added, void=VOID, corners="aligned",
            **options,
        )  # fmt: skip
        np.testing.assert_allclose(values[key], of(logits), rtol=2e-5, atol=1e-6, err_msg=key)
        for _ in range(3):
            direction = rng.normal(size=logits.shape)
            step = 1e-6 * direction
            slope = (of(logits + step) - of(logits - step)) / 2e-6
            found = (gradients[key] * direction).sum()
            scale = np.abs(gradients[key] * direction).sum()
            np.testing.assert_allclose(found, slope, atol=1e-4 * scale + 1e-7, err_msg=key)


def test_nothing_but_void_gives_zero(compute):
    """However wild the logits under it."""
    logits, labels, added = batch()
    labels[:] = VOID
    logits[0, 0] = (1e38, -1e38, 0, 1)
    values, gradients = compute(logits, labels, added)
    for key in values:
        assert values[key] == 0, key
        assert not np.any(gradients[key]), key


def test_logits_of_certainty_give_numbers(compute):
    """Probabilities that round to 0 and 1, right and wrong."""
    logits, labels, added = with_void()
    for sign in (1, -1):
        values, gradients = compute(sign * 1e4 * logits, labels, added)
        for key in values:
            assert np.isfinite(values[key]), key
            assert np.all(np.isfinite(gradients[key])), key


def test_what_is_right_for_certain_costs_nothing(compute):
    logits, labels, added = one_label()
    logits[:] = 0
    logits[0, ..., 1] = logits[1, ..., 3] = 200
    values, _ = compute(logits, labels, added)
    for key, (_, options) in variants(4)[1].items():
        if not options.get("smooth") and options.get("classes") != "all":
            np.testing.assert_allclose(values[key], 0, atol=1e-6, err_msg=key)


def test_equal_errors_and_equal_losses_count_alike(compute):
    """Uniform probabilities: the hardest share is a part of every pixel."""
    logits, labels, added = with_void()
    values, gradients = compute(0 * logits, labels, 0 * added)
    share = "ohem-1"
    np.testing.assert_allclose(values[share], np.log(4), rtol=1e-5)
    again = compute(0 * logits[::-1], labels[::-1], 0 * added)
    np.testing.assert_allclose(values[share], again[0][share], rtol=1e-6)
    np.testing.assert_allclose(gradients[share], again[1][share][::-1], atol=1e-6)


@pytest.fixture(scope="module")
def eight_images():
    """Void falls unevenly on them: on one entirely, on another not at all."""
    logits, labels, added = batch((3, 2), (9, 7), 4, 8)
    for i in range(8):
        labels[i, : 9 * i // 7] = VOID
    return logits, labels, added


@pytest.mark.parametrize("way", ["jit", "pmap"])
def test_eight_devices_give_the_numbers_of_one(compute, eight_images, way):
    want = compute(*eight_images)
    if way == "jit":
        split = NamedSharding(Mesh(np.asarray(jax.devices()), ("data",)), PartitionSpec("data"))
        arrays = [jax.device_put(array, split) for array in eight_images]
        function = jax.jit(functools.partial(values_and_gradients, keys=PLAIN))
    else:

        def device_loss(*arrays):
            values, gradients = values_and_gradients(*arrays, keys=PLAIN, axis_name="devices")
            return jax.lax.psum(values, "devices"), gradients

        arrays = [array[:, None] for array in eight_images]
        function = jax.pmap(device_loss, "devices", out_axes=(None, 0))
    options: dict[str, str | bool] = {"xla_backend_optimization_level": "0"}
    compiled = function.lower(*arrays).compile(compiler_options=options)
    values, gradients = jax.device_get(compiled(*arrays))
    for key in PLAIN:
        np.testing.assert_allclose(values[key], want[0][key], rtol=1e-5, err_msg=key)
        expected = want[1][key]
        atol = 1e-5 * np.abs(expected).max()
        np.testing.assert_allclose(
            gradients[key].reshape(expected.shape), expected, atol=atol, err_msg=key
        )


def test_losses_of_pixels_and_images_add_up_over_parts(compute, eight_images):
    whole, _ = compute(*eight_images)
    every, _ = variants(4)
    whole_batch = every.names_of_whole_batch()
    parts = WeightedSum({k: v for k, v in every.losses.items() if k not in whole_batch}, VOID)
    assert {"focal-1", "dice-2", "lovasz-3"} < set(parts.losses)
    sums = {name: np.zeros(2) for name in parts.losses}
    for i in range(0, 8, 2):
        part = tuple(x[i : i + 2] for x in eight_images)
        means, _ = compute(*part)
        for name, count in parts.counts(jnp.asarray(part[1])).items():
            sums[name] += np.asarray([means[name] * count, count])
    for name, (total, count) in sums.items():
        np.testing.assert_allclose(total / count, whole[name], rtol=1e-5, err_msg=name)


def test_traced_and_vmapped_weights(run_compiled):
    """Of pixels for all, of classes for those that have them."""
    logits, labels, added = map(jnp.asarray, batch())
    several = jnp.stack([added, 0 * added])
    every = variants(4)[0].losses

    def by_pixel(added):
        how = {"void": VOID, "corners": "aligned"}
        return {k: every[k][1].sum(logits, labels, added, **how) for k in PLAIN}

    def by_class(class_weights):
        made = (each.Loss(class_weights=class_weights) for each in (cross_entropy, focal, ohem))
        return [loss.sum(logits, labels, void=VOID, corners="aligned") for loss in made]

    both = jnp.asarray([[0.5, 1, 2, 3], [1, 1, 1, 1]], jnp.float32)
    found, one = run_compiled(lambda x: (jax.vmap(by_pixel)(x), by_pixel(x[1])), several)
    for name in PLAIN:
        np.testing.assert_allclose(found[name][1], one[name], rtol=1e-5, err_msg=name)
    together, single = run_compiled(lambda x: (jax.vmap(by_class)(x), by_class(x[0])), both)
    for several_values, value in zip(together, single, strict=True):
        np.testing.assert_allclose(several_values[0], value, rtol=1e-5)
        assert several_values[0] != several_values[1]


def test_tversky_of_halves_is_dice():
    logits, labels, added = map(jnp.asarray, with_void())
    half = tversky.Loss(alpha=0.5, beta=0.5).sum(logits, labels, added, void=VOID)
    plain = dice.Loss(squared=False).sum(logits, labels, added, void=VOID)
    np.testing.assert_allclose(half, plain, rtol=1e-6)


def test_focal_without_gamma_is_cross_entropy():
    logits, labels, added = map(jnp.asarray, with_void())
    found = focal.Loss(gamma=0.0).sum(logits, labels, added, void=VOID)
    plain = cross_entropy.Loss().sum(logits, labels, added, void=VOID)
    np.testing.assert_allclose(found, plain, rtol=1e-6)


def test_the_growth_of_lovasz_keeps_its_precision_in_large_batches():
    """Each of n pixels adds 1 / n, which a difference of float32 near 1 would not."""
    count = 2**18
    error = np.random.default_rng(0).random(count).astype(np.float32)
    found = np.asarray(lovasz.lovasz_gradient(jnp.asarray(error), jnp.ones(count)))
    np.testing.assert_allclose(found, 1 / count, rtol=1e-5)


@pytest.mark.parametrize("share", [1e-3, 0.37, 1.0])
def test_the_hardest_share_is_that_of_a_sort(share):
    rng = np.random.default_rng(0)
    nll = np.round(rng.exponential(size=(2, 20, 30)), 1).astype(np.float32)  # with ties
    valid = rng.random(nll.shape) < 0.8
    kept, total = ohem.hardest(jnp.asarray(nll), jnp.asarray(valid), threshold=0.0, min_share=share)
    ordered, room, want = np.sort(nll[valid])[::-1], share * valid.sum(), 0.0
    for value in ordered:
        want, room = want + min(1.0, max(room, 0.0)) * value, room - 1
    np.testing.assert_allclose((kept * nll).sum(), want, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(kept.sum(), total, rtol=1e-5)
    assert not np.any(np.asarray(kept)[~valid])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("focal", {"gamma": -1.0}, "gamma is -1.0, expected 0"),
        ("focal", {"class_weights": (1.0,)}, "1 numbers for 3 classes"),
        ("ohem", {"threshold": 1.5}, "threshold is 1.5, expected 0 to 1"),
        ("ohem", {"min_share": -0.1}, "min_share is -0.1, expected 0 to 1"),
        ("ohem", {"threshold": 0.0, "min_share": 0.0}, "keeps no pixel: raise one"),
        ("ohem", {"class_weights": (1.0, 1.0, -1.0)}, "expected numbers of at least 0"),
        ("dice", {"classes": "presents"}, "classes is 'presents'; did you mean 'present'"),
        ("dice", {"smooth": -1.0}, "smooth is -1.0"),
        ("tversky", {"alpha": -0.1}, "alpha is -0.1, expected 0 or more"),
        ("tversky", {"beta": float("nan")}, "beta is nan"),
        ("lovasz", {"classes": "none"}, "classes is 'none'"),
        ("generalised_dice", {"smooth": 1.0}, "no option 'smooth'"),
    ],
)
def test_wrong_options_are_refused_by_their_names(name, options, message):
    terms = {name: {"weight": 1.0, **options}}
    for build, where in ((losses.build, "config.loss"), (losses.build_aux, "config.loss.aux")):
        with pytest.raises(UserError, match=message) as error:
            build(terms, num_classes=3, void=VOID)
        assert "no option" in message or str(error.value).startswith(f"{where}.{name}.")
