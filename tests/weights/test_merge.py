"""Every entry is accounted for: imported, excused and said so, or named in the error."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.weights.imported import Imported, flatten, unflatten
from jaxseg.weights.merge import merge

ENCODER = {
    "params/encoder/stem_conv/kernel": (3, 3, 3, 4),
    "params/encoder/stem_norm/scale": (4,),
    "batch_stats/encoder/stem_norm/mean": (4,),
}


def head(name, inputs, classes):
    return {
        f"params/{name}/kernel": (1, 1, inputs, classes),
        f"params/{name}/bias": (classes,),
    }


SEGMENTER = {**ENCODER, "params/aspp/kernel": (1, 1, 4, 8), **head("logits", 8, 21)}


def variables(shapes):
    return unflatten({path: np.zeros(shape, np.float32) for path, shape in shapes.items()})


def imported(shapes, model="segmenter", **fields):
    rng = np.random.default_rng(0)
    arrays = {path: rng.normal(size=shape).astype(np.float32) for path, shape in shapes.items()}
    names = {path: path.split("/", 1)[1].replace("/", ".") for path in shapes}
    tops = {path.split("/")[1] for path in shapes}
    heads = tuple(top for top in ("logits", "aux_logits") if top in tops)
    return Imported("theirs", arrays, names, ("counter",), {}, model=model, heads=heads, **fields)


def assert_imported(merged, source, paths):
    """Exactly the entries at `paths` are the source's; all others are still zero."""
    merged = flatten(merged)
    for path, value in merged.items():
        expected = source.variables[path] if path in paths else np.zeros_like(value)
        np.testing.assert_array_equal(value, expected, err_msg=path)


def test_all_entries_are_imported():
    source = imported(SEGMENTER)
    merged, report = merge(variables(SEGMENTER), source, model="segmenter")
    assert_imported(merged, source, SEGMENTER)
    assert report.imported == len(SEGMENTER)
    assert str(report) == "theirs: 6 entries imported; not used: counter"


def without(shapes, name):
    return {path: shape for path, shape in shapes.items() if name not in path}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (without(SEGMENTER, "stem_norm/scale"), "missing: params/encoder/stem_norm/scale"),
        (without(SEGMENTER, "batch_stats"), "missing: batch_stats/encoder/stem_norm/mean"),
        (
            {**SEGMENTER, "params/encoder/conv9/kernel": (1,)},
            "left over: encoder.conv9.kernel (params/encoder/conv9/kernel)",
        ),
        (
            {**SEGMENTER, "params/aspp/kernel": (1, 1, 4, 9)},
            "misshapen: params/aspp/kernel is 1x1x4x9 there and 1x1x4x8 in the model",
        ),
        (
            without(SEGMENTER, "aspp"),
            "missing: params/aspp/kernel",
        ),  # only a classifier's model may have more
        ({**SEGMENTER, **head("logits", 9, 21)}, "misshapen: params/logits/kernel is 1x1x9x21"),
    ],
)
def test_entries_that_do_not_fit_are_named(given, message):
    with pytest.raises(UserError) as error:
        merge(variables(SEGMENTER), imported(given), model="segmenter")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_every_kind_is_in_one_error_and_many_are_counted():
    given = {f"params/encoder/{i:02}/kernel": (1,) for i in range(25)}
    with pytest.raises(UserError) as error:
        merge(variables(SEGMENTER), imported(given), model="segmenter")
    message = str(error.value)
    assert "missing: batch_stats/encoder/stem_norm/mean, params/aspp/kernel" in message
    assert "(params/encoder/09/kernel) and others, 25 in all" in message
    assert "params/encoder/10" not in message


def test_a_classifier_initialises_an_encoder():
    """Its own head is not used, although the model has logits for as many classes."""
    source = imported({**ENCODER, **head("logits", 8, 21), "params/fc/kernel": (2,)}, "classifier")
    merged, report = merge(variables(SEGMENTER), source, model="segmenter")
    assert_imported(merged, source, ENCODER)
    assert report.fresh == ("aspp", "logits")
    assert set(report.unused) == {"fc.kernel", "logits.kernel", "logits.bias", "counter"}


def test_a_foreign_entry_that_becomes_several_of_ours_is_named_once():
    source = imported({**ENCODER, **head("logits", 8, 21)}, "classifier")
    shared = {path: "fc" for path in source.variables if "logits" in path}
    source = dataclasses.replace(source, source_names={**source.source_names, **shared})
    _, report = merge(variables(SEGMENTER), source, model="segmenter")
    assert report.unused == ("fc", "counter")


def test_a_classifier_initialises_other_layers_of_the_same_name():
    """VGG's fully connected layers initialise FCN's."""
    fcn = {**ENCODER, **head("fc6", 4, 16), **head("score_fc7", 16, 21)}
    source = imported({**ENCODER, **head("fc6", 4, 16), **head("logits", 16, 1000)}, "classifier")
    merged, report = merge(variables(fcn), source, model="fcn")
    assert_imported(merged, source, {**ENCODER, **head("fc6", 4, 16)})
    assert report.fresh == ("score_fc7",)


def test_a_classifiers_encoder_has_to_fit():
    source = imported({**ENCODER, "params/encoder/conv9/kernel": (1,)}, "classifier")
    with pytest.raises(UserError, match=r"left over: encoder\.conv9\.kernel"):
        merge(variables(SEGMENTER), source, model="segmenter")
    source = imported(without(ENCODER, "scale"), "classifier")
    with pytest.raises(UserError, match=r"missing: params/encoder/stem_norm/scale"):
        merge(variables(SEGMENTER), source, model="segmenter")


def test_a_head_of_other_classes_stays_fresh_and_says_so():
    target = {**SEGMENTER, **head("logits", 8, 11)}
    source = imported(SEGMENTER)
    merged, report = merge(variables(target), source, model="segmenter")
    assert_imported(merged, source, without(SEGMENTER, "logits"))
    assert report.fresh == ("logits",)
    assert "logits re-initialised: 21 classes there, 11 here" in str(report)


@pytest.mark.parametrize("channels", [1, 2, 4, 7])
def test_the_first_convolution_adapts_to_other_inputs(channels):
    kernel = "params/encoder/stem_conv/kernel"
    target = {**SEGMENTER, kernel: (3, 3, channels, 4)}
    source = imported(SEGMENTER)
    merged, report = merge(variables(target), source, model="segmenter")
    ours, theirs = flatten(merged)[kernel], source.variables[kernel]
    for channel in range(
        channels if channels > 1 else 0
    ):  # timm's rule: repeated in turn, times 3 / N
        expected = theirs[:, :, channel % 3] * 3 / channels
        np.testing.assert_allclose(ours[:, :, channel], expected, rtol=1e-6)
    if channels == 1:  # grey gives what it gives in all three channels
        grey = np.random.default_rng(0).normal(size=(3, 3, 1))
        expected = np.einsum("hwc,hwco->o", grey.repeat(3, -1), theirs)
        np.testing.assert_allclose(np.einsum("hwc,hwco->o", grey, ours), expected, rtol=1e-5)
    assert f"{kernel} adapted from 3 to {channels} input channels" in str(report)


def test_patterns_exempt_the_entries_they_match():
    """FCN-16s from FCN-32s: its skip is new, and an entry is left out."""
    target = {**SEGMENTER, **head("score_pool4", 4, 21), "params/up_to_pool4/kernel": (4, 4, 21)}
    source = imported({**SEGMENTER, "params/up_final/kernel": (64, 64, 21)})
    merged, report = merge(
        variables(target), source, model="fcn",
        fresh=("score_pool4*", "up_to_pool4*"), unused=("up_final",),
    )  # fmt: skip
    assert_imported(merged, source, SEGMENTER)
    assert report.fresh == ("score_pool4", "up_to_pool4")
    assert report.unused == ("up_final.kernel", "counter")


def test_a_pattern_keeps_an_entry_fresh_that_the_source_has():
    source = imported(SEGMENTER)
    merged, report = merge(variables(SEGMENTER), source, model="x", fresh=("logits/bias",))
    assert_imported(merged, source, without(SEGMENTER, "logits/bias"))
    assert report.fresh == ("params/logits/bias",)
    assert "logits.bias" in report.unused


@pytest.mark.parametrize("key", ["fresh", "unused"])
def test_a_pattern_that_matches_nothing_is_a_mistake(key):
    patterns: Any = {key: ("logit",)}
    with pytest.raises(UserError, match=rf"config\.init_{key}: 'logit' matches no.*aspp, encoder"):
        merge(variables(SEGMENTER), imported(SEGMENTER), model="x", **patterns)


CLASSIFIER = {
    **ENCODER,
    "params/head_conv/kernel": (1, 1, 4, 8),
    "batch_stats/head_norm/mean": (8,),
    **head("logits", 8, 21),
}


def test_a_classifier_without_its_top_initialises_another():
    for given in (ENCODER, without(CLASSIFIER, "logits")):
        source = imported(given, "classifier")
        merged, report = merge(variables(CLASSIFIER), source, model="classifier")
        assert_imported(merged, source, given)
        assert set(report.fresh) == {path.split("/")[1] for path in CLASSIFIER.keys() - given}


@pytest.mark.parametrize("lost", ["head_conv", "head_norm", "head_"])
def test_a_classifier_that_lacks_a_layer_in_its_middle_is_refused(lost):
    source = imported(without(CLASSIFIER, lost), "classifier")
    with pytest.raises(UserError, match=rf"missing: .*{lost}"):
        merge(variables(CLASSIFIER), source, model="classifier")


def test_an_error_holds_the_flags_that_may_fix_it():
    with pytest.raises(UserError, match=r"missing: .*: add --config.model.aspp=False, or change"):
        merge(
            variables(SEGMENTER),
            imported(without(SEGMENTER, "aspp")),
            model="segmenter",
            hint="--config.model.aspp=False",
        )
