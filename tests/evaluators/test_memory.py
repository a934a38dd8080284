"""What an evaluation holds does not grow with the split, but for the few numbers of each image."""

import gc
import tracemalloc

import numpy as np
import pytest

from jaxseg import evaluators, masks
from jaxseg.config import check_config
from jaxseg.data.palettes import voc_palette
from jaxseg.data.source import Classes, Example

CLASSES = Classes(("membrane", "cell"), voc_palette(2))
SIZE = (64, 64)


class Blank:
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
        return Example(image=np.zeros((*SIZE, 3), np.uint8), label=label, name="mask")


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in evaluators.names() if n != "miou"])
def test_the_peak_of_1000_images_is_that_of_10(tiny_config, tmp_path, monkeypatch, name):
    """Of Python's and NumPy's memory; compiled steps have arguments of one size."""
    made = evaluators.build(("miou", name), CLASSES)
    if evaluators.needs_scores(made):
        pytest.skip("its sums have one size: nothing of an image leaves the compiled step")
    tiny_config.evals, tiny_config.eval.batch_size = ("miou", name), 4
    config = check_config(tiny_config)
    guess = np.random.default_rng(0).integers(0, 2, SIZE, np.int32)
    monkeypatch.setattr(masks.Files, "_read", lambda *_: guess)
    peaks, rows = {}, 0
    for count in (10, 10, 1000):  # the first one compiles
        gc.collect()
        tracemalloc.start()
        scores, _ = masks.evaluate(tmp_path, config, Blank(count))
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
