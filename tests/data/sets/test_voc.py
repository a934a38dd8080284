import os
import re

import numpy as np
import pytest
from PIL import Image

from jaxseg import data
from jaxseg.data.palettes import voc_palette
from jaxseg.errors import UserError


def write_kit(root, masks="SegmentationClass", **stems):
    """A development kit with the lists `stems`: an image of random pixels and a mask for each."""
    for folder in ("JPEGImages", masks, "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for split, names in stems.items():
        for i, name in enumerate(names):
            pixels = np.random.default_rng(i).integers(0, 256, (6, 8 + i, 3), np.uint8)
            Image.fromarray(pixels).save(root / f"JPEGImages/{name}.jpg")
            values = np.random.default_rng(i).choice([0, 5, 20, 255], (6, 8 + i)).astype(np.uint8)
            mask = Image.fromarray(values, "P")
            mask.putpalette(np.array(voc_palette(256), np.uint8).tobytes())
            mask.save(root / f"{masks}/{name}.png")
        (root / f"ImageSets/Segmentation/{split}.txt").write_text("\n".join(names) + "\n")
    return root


@pytest.fixture
def kit(tmp_path):
    return write_kit(tmp_path / "VOCdevkit/VOC2012", train=["a", "b"], val=["c"])


@pytest.mark.parametrize("above", [0, 1, 2])
def test_palette_masks_come_back_as_indices(above, kit, tmp_path, make_dataset):
    source_dir = [kit, kit.parent, kit.parent.parent][above]
    summary = data.prepare("voc", source_dir, tmp_path / "out")
    assert summary.splits == {"train": 2, "val": 1}
    assert all("as published" in note for note in summary.notes)
    dataset = make_dataset(name="voc", data_dir=str(tmp_path / "out"))
    source = data.load(dataset, "train+val")
    assert len(source) == 3
    assert source.classes.names[15] == "person"
    assert source.classes.palette[15] == (192, 128, 128)
    for example in (source[i] for i in range(3)):
        stored = np.asarray(Image.open(kit / f"SegmentationClass/{example['name']}.png"))
        np.testing.assert_array_equal(example["label"], stored)
        assert example["image"].shape[:2] == stored.shape


@pytest.mark.parametrize("name", ["train_aug", "trainaug"])
def test_the_augmented_split_takes_its_own_masks(name, kit, tmp_path, make_dataset):
    write_kit(kit, masks="SegmentationClassAug", **{name: ["a", "d", "e"]})
    path = kit / f"ImageSets/Segmentation/{name}.txt"
    path.write_text("a\n/JPEGImages/d.jpg /SegmentationClassAug/d.png\n\ne\n")
    mask = np.full((6, 8), 20, np.uint8)
    Image.fromarray(mask).save(kit / "SegmentationClassAug/a.png")  # not what train has
    out = tmp_path / "out"
    assert data.prepare("voc", kit, out).splits == {"train": 2, "train_aug": 3, "val": 1}
    source = data.load(make_dataset(name="voc", data_dir=str(out)), "train_aug")
    labels = {e["name"]: e["label"] for e in (source[i] for i in range(3))}
    assert set(labels) == {"a", "d", "e"}
    np.testing.assert_array_equal(labels["a"], mask)


def test_what_is_missing_is_left_out_with_a_note(kit, tmp_path):
    lists = kit / "ImageSets/Segmentation"
    (lists / "train.txt").write_text("")
    (lists / "train_aug.txt").write_text("a\n")
    summary = data.prepare("voc", kit, tmp_path / "out")
    assert summary.splits == {"val": 1}
    assert any(note.startswith("train: train.txt is empty") for note in summary.notes)
    assert any("no SegmentationClassAug/" in note for note in summary.notes)


def break_lists(kit):
    for name in ("train", "val"):
        (kit / f"ImageSets/Segmentation/{name}.txt").write_text("\n")
    return "no split to prepare"


def break_image(kit):
    (kit / "JPEGImages/b.jpg").unlink()
    return r"JPEGImages/b\.jpg: no such file, but train lists it"


def break_mask(kit):
    (kit / "SegmentationClass/c.png").unlink()
    return r"SegmentationClass/c\.png: no such file, but val lists it"


def break_value(kit):
    Image.fromarray(np.full((6, 8), 21, np.uint8)).save(kit / "SegmentationClass/c.png")
    return r"c\.png: label value\(s\) 21, expected 0\.\.20 or void 255"


def break_apart(kit):
    (kit / "ImageSets/Segmentation/train.txt").write_text("a\nc\n")
    return "train: 1 of its images are in val too, such as c"


def break_double(kit):
    (kit / "ImageSets/Segmentation/train.txt").write_text("a\nb\na\n")
    return "train: its list names 1 twice"


def break_layout(kit):
    (kit / "ImageSets/Segmentation").rename(kit / "ImageSets/Main")
    return "found no ImageSets/Segmentation"


BREAKS = [
    break_lists,
    break_image,
    break_mask,
    break_value,
    break_apart,
    break_double,
    break_layout,
]


@pytest.mark.parametrize("damage", BREAKS)
def test_a_damaged_kit_is_refused_and_leaves_nothing(damage, kit, tmp_path):
    message = damage(kit)
    with pytest.raises(UserError, match=message) as caught:
        data.prepare("voc", kit, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "out").rglob("dataset_info.json"))


def test_all_that_is_wrong_with_a_kit_is_said_at_once(kit, tmp_path):
    said = [damage(kit) for damage in (break_double, break_image, break_value)]
    with pytest.raises(UserError, match="3 faults") as caught:
        data.prepare("voc", kit, tmp_path / "out")
    for line in said:
        assert re.search(line, str(caught.value))


@pytest.mark.skipif("JAXSEG_DEV_DATA" not in os.environ, reason="no development data")
def test_real_voc(tmp_path, make_dataset):
    summary = data.prepare("voc", f"{os.environ['JAXSEG_DEV_DATA']}/voc_mini", tmp_path)
    assert summary.splits == {"val": 3}
    source = data.load(make_dataset(name="voc", data_dir=str(tmp_path)), "val")
    counts = {
        e["name"]: np.bincount(e["label"].ravel(), minlength=256)[[0, 2, 12, 15, 255]].tolist()
        for e in (source[i] for i in range(3))
    }
    # bicycles and persons, a dog, a bicycle, by Pillow's reading; one mask is grey, not palette
    assert counts == {
        "2007_000129": [54389, 34183, 0, 61143, 17285],
        "2007_004189": [145856, 0, 12154, 0, 8490],
        "2007_006449": [132550, 32954, 0, 0, 21996],
    }
