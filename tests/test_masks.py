"""Masks of a folder get the scores of the same predictions; what is wrong with them is listed."""

import numpy as np
import pytest
from PIL import Image

from jaxseg import masks
from jaxseg.config import check_config
from jaxseg.data.palettes import voc_palette
from jaxseg.data.source import Classes, Example
from jaxseg.errors import UserError
from jaxseg.evaluators import boundary, miou, per_image


class Split:
    """Images of three sizes, with void."""

    classes = Classes(("a", "b", "c"), voc_palette(3))
    sizes = ((20, 30), (24, 24), (30, 20), (20, 30), (24, 24))

    def __init__(self, blobs):
        rng = np.random.default_rng(0)
        self.labels = [blobs(rng, size, 3, 0.1) for size in self.sizes]
        self.guesses = [blobs(rng, size, 3) for size in self.sizes]

    def __len__(self):
        return len(self.sizes)

    def size(self, index, /):
        return self.sizes[index]

    def __getitem__(self, index, /):
        label = self.labels[index]
        image = np.zeros((*label.shape, 3), np.uint8)
        return Example(image=image, label=label, name=f"photo{index}")


def blobs(rng, size, classes, void=0.0):
    labels = rng.integers(0, classes, size).astype(np.int32)
    labels[rng.random(size) < void] = 255
    return labels


@pytest.fixture
def split():
    return Split(blobs)


@pytest.fixture
def folder(split, tmp_path):
    for i, guess in enumerate(split.guesses):
        inner = tmp_path / ("more" if i % 2 else "")
        inner.mkdir(exist_ok=True)
        Image.fromarray(guess.astype(np.uint8)).save(inner / f"photo{i}.png")
    return tmp_path


@pytest.fixture
def config(tiny_config):
    tiny_config.evals = ("miou", "per_image", "boundary")
    tiny_config.eval.batch_size = 2
    return check_config(tiny_config)


def test_masks_are_scored_as_predictions_are(split, folder, config, scores_of):
    scores, _ = masks.evaluate(folder, config, split)
    pairs = list(zip(split.guesses, split.labels, strict=True))
    for kind in (miou, per_image, boundary):
        expected = scores_of(kind.Evaluator(split.classes), pairs)
        assert {key: scores[key] for key in expected} == expected
    assert scores["examples"] == 5
    assert scores["protocol"]["masks"] == str(folder)


def test_everything_that_is_wrong_gets_a_line(split, folder, tiny_config):
    tiny_config.evals, tiny_config.eval.batch_size = ("miou",), 2
    tiny_config.eval.size_multiple = 10  # three sizes of batches, as of images
    (folder / "photo0.png").unlink()
    Image.new("L", (9, 8)).save(folder / "more/photo1.png")
    Image.fromarray(np.full((30, 20), 7, np.uint8)).save(folder / "photo2.png")
    Image.new("L", (30, 20)).save(folder / "photo3.png")  # besides that in the folder below
    (folder / "photo4.png").write_bytes(b"not an image")
    with pytest.raises(UserError) as error:
        masks.evaluate(folder, check_config(tiny_config), split)
    first, *lines = str(error.value).splitlines()
    assert "can't be scored" in first
    parts = (
        f"photo0: expected one mask photo0.png in {folder}, found none",
        "photo1.png: 9x8, but the label is 24x24",
        "photo2.png: value(s) 7, expected classes 0..2",
        "photo3.png and",
        "photo4.png: not an image",
    )  # in the order of the split, not of the batches
    for part, line in zip(parts, lines, strict=True):
        assert part in line


def test_what_masks_cannot_tell_is_refused(split, folder, config, tiny_config):
    tiny_config.evals = ("miou", "calibration")
    with pytest.raises(UserError, match="'calibration', which reads probabilities"):
        masks.evaluate(folder, check_config(tiny_config), split)
    with pytest.raises(UserError, match="is no folder"):
        masks.evaluate(folder / "missing", config, split)
