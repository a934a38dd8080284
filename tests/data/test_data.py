"""Data sets by name: loading a split, and which data it is."""

import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from jaxseg import data
from jaxseg.errors import UserError


def test_slices_are_disjoint_and_complete(folder, tmp_path, make_dataset):
    dataset = make_dataset(data_dir=str(tmp_path / "out"), source=str(folder))
    parts = [data.load(dataset, s) for s in ("train[:60%]", "train[60%:]")]
    assert [len(p) for p in parts] == [3, 2]
    assert {p[i]["name"] for p in parts for i in range(len(p))} == {f"t{i}" for i in range(5)}


def test_identity_is_the_content(folder, tmp_path, make_dataset):
    places = iter(range(100))

    def identity(change=None, **options):
        source = tmp_path / f"copy{next(places)}"
        shutil.copytree(folder, source)
        if change is not None:
            change(source)
        dataset = make_dataset(data_dir=str(tmp_path / f"{source}_out"), source=str(source))
        dataset.update(options)
        return data.identity(dataset)

    def classes(**changes):
        fields = {"names": ["a", "b", "c"], "colours": [[1, 1, 1], [2, 2, 2], [3, 3, 3]]}
        return lambda source: (source / "classes.json").write_text(json.dumps(fields | changes))

    def drop(source):
        for kind in ("images", "masks"):
            (source / f"train/{kind}/t4.png").unlink()

    def relabel(source):
        path = source / "val/masks/v0.png"
        Image.fromarray((np.asarray(Image.open(path)) + 1) % 3).save(path)

    def rename(source):
        for kind in ("images", "masks"):
            (source / f"train/{kind}/t4.png").rename(source / f"train/{kind}/other.png")

    def add_split(source):
        shutil.copytree(source / "val", source / "test")

    plain, named = identity(), identity(classes())
    assert re.fullmatch("classes [0-9a-f]{16}, train [0-9a-f]{16}, val [0-9a-f]{16}", plain)
    assert plain.split(", ")[1:] == named.split(", ")[1:]
    for same in (None, add_split, lambda source: (source / "notes.txt").write_text("x")):
        assert identity(same) == plain
    assert identity(classes(colours=[[9, 9, 9], [8, 8, 8], [7, 7, 7]])) == named
    assert identity(train_split="train[:80%]") == plain
    others = [
        identity(drop),
        identity(relabel),
        identity(rename),
        identity(classes(names=["b", "a", "c"])),
        identity(classes(values=[1, 0, 2])),
        identity(add_split, val_split="test"),
    ]
    assert len({plain, named, *others}) == 8


def test_colours_are_those_of_now(folder, tmp_path, make_dataset):
    dataset = make_dataset(data_dir=str(tmp_path / "out"), source=str(folder))
    for palette in ([[1, 1, 1], [2, 2, 2], [3, 3, 3]], [[9, 9, 9], [8, 8, 8], [7, 7, 7]]):
        fields = {"names": ["a", "b", "c"], "colours": palette}
        (folder / "classes.json").write_text(json.dumps(fields))
        assert [list(c) for c in data.load(dataset, "train").classes.palette] == palette


def test_data_made_on_the_fly_is_identified_by_its_config(make_dataset):
    dataset = make_dataset(name="shapes", source="ignored")
    assert data.identity(dataset) == ""
    assert data.resolve(dataset) is None


def test_unknown_names_list_the_known(tmp_path, make_dataset):
    with pytest.raises(UserError, match=r"did you mean 'camvid'.*known: ade20k, camvid, camvid32,"):
        data.prepare("camvit", tmp_path, tmp_path)
    with pytest.raises(UserError, match="unknown data set 'pipeline'"):
        data.load(make_dataset(name="pipeline"), "train")
    with pytest.raises(UserError, match="made on the fly"):
        data.prepare("shapes", tmp_path, tmp_path)
