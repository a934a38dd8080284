"""One planted fault of each kind is found, and nothing in a good data set."""

import dataclasses

import numpy as np
import pytest

from jaxseg.data import audit, suspects, verdict
from jaxseg.data.pixels import ChannelsError
from jaxseg.data.sets.shapes import CLASSES, draw_scene
from jaxseg.defaults import Dataset
from jaxseg.errors import UserError

DATASET = Dataset(mean=(128.0, 128.0, 128.0), std=(50.0, 50.0, 50.0))


class Scenes:
    """Drawn scenes, named by their sequence; `changes` replaces what an example holds."""

    classes = CLASSES

    def __init__(self, seeds, changes=None):
        self.seeds, self.changes = [*seeds], changes or {}

    def __len__(self):
        return len(self.seeds)

    def size(self, index, /):
        return self[index]["label"].shape

    def __getitem__(self, index, /):
        seed = self.seeds[index]
        image, label = draw_scene(np.random.default_rng(seed), (60, 80))
        example = {"image": image, "label": label, "name": f"seq{seed // 10}_{seed}"}
        return self.changes.get(index, lambda e: e)(example)


def check(train, val, dataset=DATASET, **options):
    splits = [audit.read_split("train", train), audit.read_split("val", val)]
    return splits, verdict.findings(splits, dataset, from_weights=False, **options)


TRAIN, VAL = range(20), range(100, 115)


def wrong(found):
    return [(f.kind, f.text) for f in found if f.is_wrong]


def test_a_good_data_set_has_no_findings():
    dataset = dataclasses.replace(DATASET, group=r"seq\d+")
    splits, found = check(Scenes(TRAIN), Scenes(VAL), dataset)
    assert found == []
    shown = verdict.table(splits)
    shares = splits[0].stats.pixels / splits[0].stats.pixels.sum()
    for name, share in zip(CLASSES.names, shares, strict=True):
        assert f"{name:<10}" in shown
        assert f"{100 * share:.3f}" in shown
    assert "train: mean (" in shown
    assert "all of 80x60" in shown
    assert suspects.draw_findings(found) is None


def test_leaks_are_found_and_drawn():
    darker = {1: lambda e: {**e, "image": (e["image"] * 0.8).astype(np.uint8)}}
    _, found = check(Scenes(TRAIN), Scenes([7, 9, *VAL], darker))
    assert wrong(found) == [
        ("leak", "1 example of val is in train too, identical: seq0_7 (seq0_7)"),
        ("leak", "1 example of val is in train too, near-identical: seq0_9 (seq0_9)"),
    ]
    picture = suspects.draw_findings(found)
    assert picture is not None
    assert picture.height > 2 * 180  # a row for each pair
    halves = np.array_split(np.asarray(picture), 2, axis=1)
    assert all(half.std() > 20 for half in halves)


def test_frames_of_one_sequence_in_two_splits_are_found():
    dataset = dataclasses.replace(DATASET, group=r"(seq\d+)_")
    _, found = check(Scenes(TRAIN), Scenes([25, 26, 17, *VAL]), dataset)
    assert ("group", "train and val share 1 groups of names: seq1") in wrong(found)
    with pytest.raises(UserError, match=r"config\.dataset\.group is '\(', no regular expression"):
        check(Scenes(TRAIN), Scenes(VAL), dataclasses.replace(DATASET, group="("))


def test_labels_files_and_sizes_that_are_wrong_are_named_and_counted():
    def unreadable(example):
        raise OSError("disk")

    changes = {
        0: unreadable,
        1: lambda e: {**e, "label": e["label"] + 5},
        2: lambda e: {**e, "label": e["label"][1:]},
    }
    splits, found = check(Scenes(TRAIN, changes), Scenes(VAL))
    (labels, first), (unread, second) = wrong(found)
    assert (labels, unread) == ("labels", "unreadable")
    assert first.startswith("train: 1 example: example seq0_1: label value(s) 5")
    assert "in all " in first
    assert second.startswith("train: 2 examples: example 0 can't be read (disk)")
    assert "the image is 80x60, its label 80x59" in second
    assert splits[0].stats.images == len(TRAIN) - 3


def test_a_mean_of_another_depth_is_noted_with_the_measured_one():
    """A config for 8 bits, of images with values of 16."""

    def deepen(example):
        return {**example, "image": example["image"][..., :1].astype(np.uint16) * 257}

    train = Scenes(TRAIN, dict.fromkeys(TRAIN, deepen))
    dataset = Dataset(channels=1, bits=16, mean=(128.0,), std=(50.0,))
    _, found = check(train, Scenes(VAL, dict.fromkeys(VAL, deepen)), dataset)
    (note,) = (f.text for f in found)
    mean = np.stack([train[i]["image"] for i in TRAIN]).mean()
    assert f'--config.dataset.mean="({mean:.1f},)"' in note


def test_an_image_of_other_channels_is_named():
    def refuse(example):
        raise ChannelsError("seq0_4: 5 channels, expected 3")

    _, found = check(Scenes(TRAIN, {4: refuse}), Scenes(VAL))
    assert wrong(found) == [
        ("unreadable", "train: 1 example: example seq0_4: 5 channels, expected 3")
    ]


def test_classes_that_never_occur_and_odd_statistics():
    def dull(example):
        label = np.where(example["label"] == 4, 0, example["label"])
        return {**example, "label": label, "image": example["image"] // 8}

    train = Scenes(TRAIN, dict.fromkeys(range(20), dull))
    _, found = check(train, Scenes(VAL[:3]))
    assert wrong(found) == [("class", "train: no pixel of star: such classes are never learnt")]
    notes = {f.kind: f.text for f in found if not f.is_wrong}
    assert notes["size"] == "val: 3 images to validate on: scores will be noisy"
    mean = np.stack([train[i]["image"] for i in range(20)]).mean((0, 1, 2))
    assert '--config.dataset.mean="(' + ",".join(f"{m:.1f}" for m in mean) in notes["statistics"]
