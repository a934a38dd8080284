"""What an evaluation holds does not grow with the split, but for the few numbers of each image."""

import gc
import json
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from ml_collections import ConfigDict

from jaxseg import evaluation, evaluators, masks, memory
from jaxseg.config import check_config
from jaxseg.data.palettes import voc_palette
from jaxseg.data.source import Classes, Example
from jaxseg.program import build_program

CLASSES = Classes(("membrane", "cell"), voc_palette(2))
SIZE = (64, 64)


class Drawn:
    """Images made when they are read."""

    classes = CLASSES

    def __init__(self, count):
        self._count = count

    def __len__(self):
        return self._count

    def size(self, index, /):
        return SIZE

    def __getitem__(self, index, /):
        label = np.random.default_rng(index).integers(0, 2, SIZE, np.int32)
        image = np.repeat((255 * label).astype(np.uint8)[..., None], 3, -1)
        return Example(image=image, label=label, name="mask")


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in evaluators.names() if n != "miou"])
def test_the_peak_of_1000_images_is_that_of_10(tiny_config, tmp_path, monkeypatch, name):
    """Of Python's and NumPy's memory; compiled steps have arguments of one size."""
    made = evaluators.build(("miou", name), CLASSES)
    if evaluators.needs(made):
        pytest.skip("masks have no probabilities; the test below measures it")
    tiny_config.evals, tiny_config.eval.batch_size = ("miou", name), 4
    config = check_config(tiny_config)
    guess = np.random.default_rng(0).integers(0, 2, SIZE, np.int32)
    monkeypatch.setattr(masks.Files, "_read", lambda *_: guess)
    peaks, rows = {}, 0
    for count in (10, 10, 1000):  # the first one compiles
        gc.collect()
        tracemalloc.start()
        scores, _ = masks.evaluate(tmp_path, config, Drawn(count))
        peaks[count] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert scores["examples"] == count
    each = made[name]
    if isinstance(each, evaluators.OnHost):
        rows = len(each.measure(guess, guess))
    elif isinstance(each, evaluators.PerImage):
        rows = 3 * len(CLASSES)
    # rows as they come, in order, and their copies while scores are read off them; an image has
    # 12 kB of pixels and 33 kB of labels and predictions
    allowed = 990 * (4 * 8 * rows + 600)
    assert peaks[1000] - peaks[10] < allowed + 2**20, (name, peaks)


@pytest.mark.slow
def test_the_peak_of_a_process_is_that_of_10_images(tiny_config):
    """With a network, and all evaluators together; compiled programs and devices' memory count."""
    tiny_config.evals, tiny_config.eval.batch_size = tuple(evaluators.names()), 4
    config = tiny_config.to_json_best_effort()
    code = "import sys; from tests.evaluators.test_memory import child; child(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", code, config], capture_output=True, text=True, check=True
    )
    few, many = map(int, done.stdout.split())
    # labels and images of 1000 would be 28 MB, predictions and confidences as much again; each
    # image has 1 kB of numbers, and the heap a few MB more or less from one evaluation to the next
    assert many - few < 15e6, (few, many)


def child(config_json):
    """Print the peak resident memory after evaluations of 10 and of 1000 images, in bytes.

    The 10 come ten times: an allocator's heap grows for a while, whatever is kept.
    """
    config = check_config(ConfigDict(json.loads(config_json)))
    program = build_program(config, CLASSES, announce=lambda _: None)
    state = program.parallel.place_state(program.init_state())
    peaks = []
    for count in [10] * 10 + [1000]:
        scores = evaluation.evaluate(program, config, state, Drawn(count))
        assert scores["examples"] == count
        peaks.append(memory.peak_resident())
    print(*peaks[-2:])
