"""The temperature that is fitted is the one that an optimiser finds."""

import dataclasses
import functools
from typing import Any
from unittest import mock

import jax
import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from jaxseg import data, parallel, temperature
from jaxseg.config import check_config
from jaxseg.data.source import Classes, Example
from jaxseg.errors import UserError
from jaxseg.inference.views import Views
from jaxseg.program import Program, build_program
from jaxseg.state import TrainState


def nll(logits, labels, t):
    z = logits.astype(np.float64) / t
    log_sum = np.log(np.exp(z - z.max(-1, keepdims=True)).sum(-1)) + z.max(-1)
    return float((log_sum - np.take_along_axis(z, labels[..., None], -1)[..., 0]).mean())


def drawn(logits):
    """Labels drawn with the probabilities of logits."""
    p = np.exp(logits - logits.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    threshold = np.random.default_rng(1).random((*p.shape[:-1], 1))
    return (p.cumsum(-1) < threshold).sum(-1).clip(0, p.shape[-1] - 1).astype(np.int32)


@dataclasses.dataclass(frozen=True)
class Labelled:
    """Images with these labels."""

    images: np.ndarray
    labels: np.ndarray
    classes: Classes

    def __len__(self):
        return len(self.images)

    def size(self, index, /):
        return self.labels[index].shape

    def __getitem__(self, index, /):
        return Example(image=self.images[index], label=self.labels[index], name=str(index))


@pytest.mark.parametrize("true", [0.31, 1.0, 4.7])
def test_the_parabola_finds_the_minimum(true):
    """Of logits that are right once divided by `true`."""
    right = np.random.default_rng(0).normal(size=(20000, 4)) * 2
    labels = drawn(right)
    curve = functools.partial(nll, right * true, labels)
    best: Any = minimize_scalar(curve, bounds=(0.05, 20), method="bounded", options={"xatol": 1e-6})
    found, lowest = temperature.minimum([curve(t) for t in temperature.TEMPERATURES])
    assert found == pytest.approx(best.x, rel=5e-3)
    assert found == pytest.approx(true, rel=0.03)
    assert lowest == pytest.approx(best.fun, abs=1e-3)


def test_a_minimum_beyond_those_tried_is_refused():
    with pytest.raises(UserError, match="temperature is 10 or beyond"):
        temperature.minimum([1 / t for t in temperature.TEMPERATURES])


@pytest.mark.parametrize("way", [("jit", 1), ("pmap", 2)])
def test_a_split_is_fitted_by_its_own_logits(tiny_config, monkeypatch, way):
    """Padding counts nowhere, on any number of devices."""
    kind, devices = way
    make = functools.partial(parallel.create, devices=jax.devices()[:devices])
    monkeypatch.setattr(parallel, "create", make)
    tiny_config.parallel, tiny_config.eval.batch_size = kind, 4
    config = check_config(tiny_config)
    source = data.load(config.dataset, "val")
    program = build_program(config, source.classes, announce=lambda _: None)
    state: Any = program.init_state()
    last = state.params["logits"]
    surer = {**last, "kernel": 9 * last["kernel"]}
    state = state.replace(params={**state.params, "logits": surer})
    images = np.stack([source[i]["image"] for i in range(len(source))])
    logits = np.asarray(jax.jit(program.logits)(state.eval_variables, images))
    labels = drawn(logits / 2.5)
    labels[:, :5] = source.classes.void
    state = program.parallel.place_state(state)
    fitted = temperature.fit(program, config, state, Labelled(images, labels, source.classes))
    valid = labels != source.classes.void
    curve = functools.partial(nll, logits[valid], labels[valid])
    best: Any = minimize_scalar(curve, bounds=(0.1, 10), method="bounded", options={"xatol": 1e-6})
    assert fitted["nll_before"] == pytest.approx(curve(1.0), rel=1e-4)
    assert fitted["temperature"] == pytest.approx(best.x, rel=5e-3)
    assert fitted["nll"] == pytest.approx(best.fun, rel=1e-3)
    assert fitted["nll"] < fitted["nll_before"]
    assert fitted["temperature"] == pytest.approx(2.5, rel=0.1)
    assert fitted["examples"] == 7


@pytest.mark.parametrize("text", ["{", "[1]", '{"temperature": "hot"}', "{}"])
def test_a_stored_temperature_that_is_none(tmp_path, text):
    (tmp_path / "temperature.json").write_text(text)
    with pytest.raises(UserError, match=r'holds no \{"temperature": NUMBER\}'):
        temperature.stored(tmp_path)
    (tmp_path / "temperature.json").write_text('{"temperature": 1.25, "before": 0.1}')
    assert temperature.stored(tmp_path) == 1.25


@pytest.mark.parametrize(
    "views", [Views(scales=(0.5, 1.0)), Views(flip=True), Views(window=(8, 8))]
)
def test_only_the_image_as_it_is_can_be_fitted(tiny_config, views):
    config = check_config(tiny_config)
    program = mock.Mock(spec=Program, views=views)
    state, source = mock.Mock(spec=TrainState), data.load(config.dataset, "val")
    with pytest.raises(UserError, match=r'give --config.eval.scales="\(1.0,\)" --config.eval.flip'):
        temperature.fit(program, config, state, source)
