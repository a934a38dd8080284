import csv

import numpy as np
import pytest

from jaxseg.data.run_lengths import from_counts, painted_runs
from jaxseg.data.source import LabelError
from tests.data.sets.files import write


def runs(mask):
    """Written anew: start and length of each run, from 1, down the columns."""
    text, start = [], None
    for i, value in enumerate([*mask.T.ravel().tolist(), 0], start=1):
        if value and start is None:
            start = i
        if not value and start is not None:
            text += [start, i - start]
            start = None
    return " ".join(map(str, text))


@pytest.mark.parametrize("kind", ["masks", "table"])
def test_masks_and_run_lengths_say_the_same(kind, tmp_path, prepared):
    rng, root = np.random.default_rng(0), tmp_path / "d"
    masks = {"a": rng.random((101, 101)) < 0.4, "b": np.zeros((101, 101), bool)}
    for name, mask in masks.items():
        write(root / f"train/images/{name}.png", rng.integers(0, 256, (101, 101)).astype(np.uint8))
        write(root / "test/images/x.png", np.zeros((101, 101), np.uint8))
        if kind == "masks":
            write(root / f"train/masks/{name}.png", 65535 * mask.astype(np.uint16))
    with (root / "train.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("id", "rle_mask"), *((n, runs(m)) for n, m in masks.items())])
    found = prepared("tgs_salt")
    assert found.sizes == {"train": 2}
    for name, mask in masks.items():
        np.testing.assert_array_equal(found.labels[name], mask)
    assert found.images["a"].shape == (101, 101, 3)
    assert any("run lengths" in note for note in found.notes) == (kind == "table")


@pytest.mark.parametrize("text", ["1", "0 3", "5 -1", "6 2", "a b"])
def test_runs_that_leave_the_image_are_refused(text):
    assert painted_runs("5 2", (2, 3), "x")[1, 2] == 1
    with pytest.raises(LabelError, match="x: "):
        painted_runs(text, (2, 3), "x")


def compressed(lengths):
    """Written anew from the description of the format."""
    text = ""
    for i, length in enumerate(lengths):
        value = length - lengths[i - 2] if i > 2 else length
        while True:
            bits, value = value & 31, value >> 5
            done = value == (-1 if bits & 16 else 0)
            text += chr(48 + bits + (0 if done else 32))
            if done:
                break
    return text


def test_coco_run_lengths_plain_and_compressed():
    rng = np.random.default_rng(0)
    for size in ((1, 1), (7, 5), (60, 300)):
        mask = rng.random(size) < 0.02
        mask[:, : size[1] // 2] = size[1] > 100
        flat = mask.T.ravel()
        ends = (np.flatnonzero(np.diff(flat)) + 1).tolist()
        lengths = np.diff([0, *ends, flat.size]).tolist()
        lengths = [0, *lengths] if flat[0] else lengths
        np.testing.assert_array_equal(from_counts(lengths, size, "x"), mask)
        np.testing.assert_array_equal(from_counts(compressed(lengths), size, "x"), mask)
    with pytest.raises(LabelError, match="x: run lengths of 5 pixels, expected 6"):
        from_counts([2, 3], (2, 3), "x")
