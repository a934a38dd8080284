"""Lists in CSV and JSON; the masks are read as those of a folder, see test_folder.py."""

import json

import numpy as np
import pytest

from jaxseg import data
from tests.data.sets.files import photograph, write


@pytest.fixture
def masks(tmp_path, make_mask):
    """Images and masks that lie anywhere, two of them of one name."""
    found = {}
    for i, name in enumerate(("a/x", "b/x", "b/y")):
        photograph(tmp_path / f"elsewhere/{name}.png", (6, 8), seed=i)
        found[name] = make_mask([0, 1, 2, 255])
        write(tmp_path / f"elsewhere/{name}_mask.png", found[name].astype(np.uint8))
    (tmp_path / "d").mkdir()
    return found


def row(name, place="../elsewhere"):
    return [f"{place}/{name}.png", f"{place}/{name}_mask.png"]


def read(tmp_path, make_dataset):
    source = str(tmp_path / "d")
    dataset = make_dataset(name="file_list", data_dir=str(tmp_path / "out"), source=source)
    found = {}
    for split in ("train", "val"):
        source = data.load(dataset, split)
        found[split] = {e["name"]: e["label"] for e in (source[i] for i in range(len(source)))}
    return found


@pytest.mark.parametrize("kind", ["a column", "files", "JSON"])
def test_lists_say_the_splits(kind, masks, tmp_path, make_dataset):
    folder = tmp_path / "d"
    if kind == "a column":
        splits = ("train", "train", "val")
        rows = [",".join((*row(n), s)) for n, s in zip(masks, splits, strict=True)]
        text = "image,mask,split\n" + "\n".join(rows) + "\n"
        (folder / "all.csv").write_text(text, encoding="utf-8-sig")  # as spreadsheets do
    elif kind == "files":
        absolute = tmp_path / "elsewhere"
        lines = {"train": [row("a/x"), row("b/x")], "val": [row("b/y", absolute)]}
        for split, rows in lines.items():
            text = "\n".join(",".join(map(str, r)) for r in rows)
            (folder / f"{split}.csv").write_text(f"image,mask\n{text}\n")
    else:
        keys = ("image", "mask", "split")
        objects = [
            dict(zip(keys, (*row(n), s), strict=True))
            for n, s in zip(masks, ("train", "train", "val"), strict=True)
        ]
        (folder / "list.json").write_text(json.dumps(objects))
    (folder / "classes.json").write_text(json.dumps({"names": ["p", "q", "r"]}))
    found = read(tmp_path, make_dataset)
    assert {split: len(names) for split, names in found.items()} == {"train": 2, "val": 1}
    np.testing.assert_array_equal(found["val"]["y"], masks["b/y"])
    for name, label in found["train"].items():
        np.testing.assert_array_equal(label, masks["a/x" if "a_x" in name else "b/x"])


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("l.csv", "image,label\na.png,b.png\n", "expected columns image and mask"),
        ("l.csv", "image,mask\n", "lists nothing"),
        ("l.csv", "image,mask\nnever.png,never.png\n", "never.png: no such file, but train lists"),
        ("l.json", "{", "expected columns image and mask"),
        ("l.txt", "", "found no list, *.csv or *.json"),
    ],
)
def test_a_list_that_says_too_little_is_refused(name, text, said, tmp_path, refused):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / name).write_text(text)
    assert said in refused("file_list")
