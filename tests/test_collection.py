"""Sums and numbers of images arrive whole and in order, whoever measured them."""

import functools
import re
import threading
from typing import Any

import jax
import numpy as np
import pytest

from jaxseg import collection, data, evaluation, parallel
from jaxseg.config import check_config
from jaxseg.data.palettes import voc_palette
from jaxseg.data.pipeline import eval_batches
from jaxseg.data.source import Classes, Example
from jaxseg.evaluators import boundary
from jaxseg.program import build_program

EVALS = ("miou", "per_image", "boundary", "medical", "calibration")


def evaluate(config, kind, devices, monkeypatch):
    make = functools.partial(parallel.create, devices=jax.devices()[:devices])
    monkeypatch.setattr(parallel, "create", make)
    config.parallel = kind
    checked = check_config(config)
    source = data.load(checked.dataset, "val")
    program = build_program(checked, source.classes, announce=lambda _: None)
    state = program.parallel.place_state(program.init_state())
    return evaluation.evaluate(program, checked, state, source)


def test_eight_devices_give_the_numbers_of_one(tiny_config, monkeypatch):
    """Seven images: the last device has one that counts nowhere."""
    tiny_config.evals = EVALS
    one = evaluate(tiny_config, "jit", 1, monkeypatch)
    assert one["image_miou_interval"][0] < one["image_miou"]
    assert one["protocol"]["boundary"] == boundary.Evaluator.protocol
    val_loss = one.pop("loss")
    calibrated = [key for key in one if re.search("ece|confidence|reliability", key)]
    rounded = {key: one.pop(key) for key in calibrated}
    assert len(rounded) == 7
    for kind in ("jit", "pmap"):
        eight = evaluate(tiny_config, kind, 8, monkeypatch)
        assert eight.pop("loss") == pytest.approx(val_loss, rel=1e-5)
        # the network's own rounding depends on the batch; counts do not
        for key in calibrated:
            found = eight.pop(key)
            if not isinstance(found, dict | list):
                assert found == pytest.approx(rounded[key], abs=1e-4)
        assert eight == one


def test_rows_are_put_into_the_order_of_the_split(monkeypatch):
    rows = {5: np.array([5.0]), 0: np.array([0.0]), 2: np.array([2.0])}
    np.testing.assert_array_equal(collection._in_order(rows), [[0], [2], [5]])
    assert collection._in_order({}).shape == (0, 0)
    # of two processes, the second with fewer images
    monkeypatch.setattr(collection.hosts, "highest", lambda n: max(n, 1))
    other = np.array([[1.0, 1.0], [4.0, 4.0]])
    monkeypatch.setattr(collection.hosts, "gather", lambda own: np.concatenate([own, other]))
    np.testing.assert_array_equal(collection._in_order(rows), [[0], [1], [2], [4], [5]])


class Waits:
    """Measures nothing, once it may."""

    higher_is_better, protocol = {}, ""

    def __init__(self):
        self.begun, self.may = threading.Semaphore(0), threading.Event()

    def measure(self, prediction, label):
        self.begun.release()
        assert self.may.wait(20)
        if prediction.max() > 3:
            raise ValueError("too large")
        return np.array(prediction.shape, float)

    def compute(self, rows):
        return {"sizes": rows.tolist()}

    def table(self, scores):
        return ""


class Blank:
    """Images of several sizes."""

    classes = Classes(("a", "b"), voc_palette(2))
    sizes = ((20, 30), (24, 24), (30, 20), (18, 30), (20, 30))

    def __len__(self):
        return len(self.sizes)

    def size(self, index, /):
        return self.sizes[index]

    def __getitem__(self, index, /):
        label = np.zeros(self.sizes[index], np.int32)
        image = np.zeros((*label.shape, 3), np.uint8)
        return Example(image=image, label=label, name=str(index))


def test_images_are_measured_without_padding_by_threads_that_end():
    sizes, evaluator = Blank.sizes, Waits()
    options = {"batch_size": 2, "size_multiple": 32, "mean": (0, 0, 0), "workers": 1}
    with eval_batches(Blank(), **options) as iterator:
        batches = list(iterator)
    with collection.Collection({"waits": evaluator}, workers=2) as found:
        first, second = batches[:2]
        prediction: Any = {"rows": {}, "prediction": np.zeros(first.label.shape, np.uint16)}
        found.add({}, prediction, first)
        assert evaluator.begun.acquire(timeout=20)  # while the next batch is computed
        evaluator.may.set()
        for batch in batches[1:]:
            found.add(
                {}, {**prediction, "prediction": np.zeros_like(batch.label, np.uint16)}, batch
            )
        assert found.compute() == {"sizes": [[float(n) for n in size] for size in sizes]}
        assert found.examples == len(sizes)
        wrong = {"rows": {}, "prediction": np.full(second.label.shape, 9, np.uint16)}
        found.add({}, wrong, second)
        with pytest.raises(ValueError, match="too large"):
            found.compute()
    assert not [t for t in threading.enumerate() if t.name.startswith("jaxseg-measure")]
