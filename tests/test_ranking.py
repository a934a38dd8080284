"""A wrong label comes first, and only the first are held."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import ranking
from jaxseg.config import check_config
from jaxseg.data.palettes import voc_palette
from jaxseg.data.source import Classes, Example
from jaxseg.program import build_program

CLASSES = Classes(("ground", "cat", "dog"), voc_palette(3))


class Split:
    """Square objects: image 1 has one labelled as another class, image 2 misses one's label."""

    classes = CLASSES

    def __init__(self):
        self.truth = np.zeros((4, 40, 50), np.int32)
        self.truth[:, 5:15, 5:25] = 1
        self.truth[:, 25:33, 30:42] = 2
        self.labels = self.truth.copy()
        self.labels[1, 5:15, 5:25] = 2
        self.labels[2, 25:33, 30:42] = 0
        self.labels[3, :, 30:] = 255
        self.labels[0, 5:15, 24] = 0  # a rim
        self.labels[0, 39, 49] = 1  # a pixel

    def __len__(self):
        return 4

    def size(self, index, /):
        return (40, 50)

    def __getitem__(self, index, /):
        image = np.repeat(self.truth[index, ..., None], 3, -1).astype(np.uint8)
        return Example(image=image, label=self.labels[index], name=f"photo{index}")


@jax.jit
def scores_step(variables, batch):
    """Reads the truth off the image, and says it with 90 %; padding is the mean pixel."""
    scores = jax.nn.one_hot(batch["image"][..., 0], 3) * 0.85 + 0.05
    return scores.argmax(-1).astype(jnp.int32), scores


@pytest.fixture
def rank(tiny_config):
    program = build_program(check_config(tiny_config), CLASSES, announce=lambda _: None)
    program, state = dataclasses.replace(program, scores_step=scores_step), program.state_shapes()

    def run(split):
        return ranking.rank(program, check_config(tiny_config), state, split)

    return run


def test_wrong_labels_come_first(rank):
    ranked = rank(Split())
    first, second = ranked["regions"]
    assert (first["name"], first["label"], first["predicted"]) == ("photo1", "dog", "cat")
    assert tuple(first["box"]) == (5, 5, 15, 25)
    assert first["pixels"] == 200
    assert first["margin"] == pytest.approx(0.85)
    assert first["evidence"] == pytest.approx(170)
    assert (second["name"], second["label"], second["predicted"]) == ("photo2", "ground", "dog")
    assert [image["name"] for image in ranked["images"]] == ["photo1", "photo2"]
    assert ranked["images"][0]["share"] == pytest.approx(200 / 2000)
    assert ranked["examples"] == 4
    text = ranking.table(ranked)
    assert "photo1, 5-14 and 5-24: labelled dog, predicted cat" in text


def test_only_the_first_are_held():
    top, rng = ranking.Top(5), np.random.default_rng(0)
    numbers = rng.integers(0, 30, 200).tolist()
    for place, number in enumerate(numbers):
        top.add(number, (number, place))
        assert len(top._heap) <= 5
    assert (
        top.items()
        == sorted(((n, i) for i, n in enumerate(numbers)), key=lambda x: (-x[0], x[1]))[:5]
    )


def test_processes_hold_together_what_one_would(monkeypatch):
    """Many regions have the same evidence, in one image and in images of several processes."""
    rng = np.random.default_rng(0)
    found = [
        ranking.Region(str(i), i, "a", "b", n, 0.5, float(rng.integers(0, 4)), (0, 0, 1, 1))
        for i in range(7)
        for n in range(rng.integers(0, 9))
    ]
    one, parts = ranking.Top(10), [ranking.Top(10) for _ in range(3)]
    for region in found:
        one.add(region.evidence, region)
        parts[region.index % 3].add(region.evidence, region)
    held = [dataclasses.asdict(region) for part in parts for region in part.items()]
    first = [dataclasses.asdict(region) for region in one.items()]
    assert ranking.merge(one, "evidence", 10) == first
    monkeypatch.setattr(ranking.hosts, "gather_items", lambda own: held)
    assert ranking.merge(parts[0], "evidence", 10) == first


def test_touching_regions_of_other_classes_stay_apart():
    label = np.zeros((20, 20), np.int32)
    prediction = np.repeat([[1, 2]], 20, 0).repeat(10, 1)
    example = Example(image=np.zeros((20, 20, 3), np.uint8), label=label, name="x")
    found = ranking.regions(np.full((20, 20), 0.7), prediction, 0, example, CLASSES)
    assert sorted(region.predicted for region in found) == ["cat", "dog"]
    assert [region.pixels for region in found] == [200, 200]
    assert ranking.regions(np.full((20, 20), 0.4), prediction, 0, example, CLASSES) == []
