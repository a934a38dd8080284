"""Everything that is wrong is found in one pass, and nothing is read twice."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from jaxseg import data
from jaxseg.data import checking, digests
from jaxseg.errors import UserError


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path)


@pytest.fixture
def broken(folder, pair_writer, make_mask):
    """A folder with many kinds of faults, and what is said of each."""
    for i in range(20, 40):
        pair_writer(folder / "train", f"t{i}", make_mask([0, 1, 2]), seed=i)
    train = folder / "train"
    (train / "masks/t20.png").unlink()
    (train / "images/t21.png").unlink()
    (train / "images/t22.jpg").write_bytes(b"x")
    (train / "images/t23.png").write_bytes(b"")
    (train / "images/t24.png").write_text("404: not found")
    whole = (train / "images/t25.png").read_bytes()
    (train / "images/t25.png").write_bytes(whole[: len(whole) // 2])
    save(train / "masks/t26.png", np.zeros((3, 4)))
    (train / "masks/t27.png").unlink()
    Image.fromarray(make_mask([0, 1]).astype(np.uint8)).save(train / "masks/t27.jpg")
    (train / "masks/t28.png").write_bytes(b"GIF89a")
    save(train / "masks/t29.png", make_mask([0, 1, 9]))
    save(train / "masks/t30.png", np.full((6, 8, 3), (0, 0, 70)))
    transparent = np.dstack([np.zeros((6, 8, 3)), make_mask([0, 255])])
    save(train / "masks/t31.png", transparent)
    (train / "masks/t32.png").unlink()
    (train / "masks/t32.png").mkdir()
    (folder / "val/masks/v0.png").unlink()
    (folder / "extra/masks").mkdir(parents=True)
    names = {"names": ["a", "b", "c"]}
    (folder / "classes.json").write_text(json.dumps(names))
    return folder, [
        r"images/t20\.png: no file of that stem in train/masks",
        r"masks/t21\.png: no file of that stem in train/images",
        r"images/t22\.png: same stem as t22\.jpg",
        r"images/t23\.png: the file is empty",
        r"images/t24\.png: not an image",
        r"images/t25\.png: truncated",
        r"images/t26\.png: 8x6 .* is 4x3",
        r"masks/t27\.jpg: JPEG changes",
        r"masks/t28\.png: not an image",
        r"masks/t29\.png: value 9 at row 0, column 2",
        r"masks/t30\.png: an RGB mask, as are 1 of \d+; the rest, such as .*, hold indices",
        r"masks/t31\.png: its transparency varies",
        r"masks/t32\.png: can't be read \(Is a directory\)",
        r"images/v0\.png: no file of that stem in val/masks",
        r"split extra has masks but no images",
        r"images/t22\.jpg: not an image",
    ]


def test_all_faults_are_said_at_once_and_nothing_is_written(
    broken, tmp_path, make_dataset, nothing_prepared
):
    folder, said = broken
    dataset = make_dataset(data_dir=str(tmp_path / "out"), source=str(folder))
    texts = []
    for prepare in (
        lambda: data.prepare("folder", folder, tmp_path / "out"),
        lambda: data.load(dataset, "train"),
    ):
        with pytest.raises(UserError) as caught:
            prepare()
        texts.append(str(caught.value))
    assert texts[0] == texts[1]
    assert texts[0].startswith(f"{folder}: {len(said)} faults")
    for line in said:
        assert re.search(line, texts[0]), line
    assert not list((tmp_path / "out").rglob("*"))
    assert nothing_prepared(tmp_path / "out")


def test_faults_in_files_and_in_classes_are_said_together(folder, tmp_path, nothing_prepared):
    """Also where they show late, after records of other splits were written."""
    (folder / "val/images/v1.png").write_bytes(b"")
    save(folder / "val/masks/v0.png", np.full((6, 8), 7))
    with pytest.raises(UserError) as caught:
        data.prepare("folder", folder, tmp_path / "out")
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{folder}: 2 faults, and nothing was prepared:"
    assert lines[2].startswith("    val/masks/v0.png: value 7; ")  # it concerns all examples
    assert lines[-1].startswith("    val/images/v1.png: the file is empty")
    (folder / "classes.json").write_text('{"names": ["a", "a"]}')
    with pytest.raises(UserError, match=r"2 faults(.|\n)*all different(.|\n)*v1\.png"):
        data.prepare("folder", folder, tmp_path / "out")
    assert nothing_prepared(tmp_path / "out")


def test_where_nothing_can_be_read_the_files_are_named(tmp_path, pair_writer, make_mask):
    pair_writer(tmp_path / "d", "a", make_mask([0, 1]))
    (tmp_path / "d/masks/a.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"^\S+/a\.png: the file is empty \(0 bytes\); [^\n]*$"):
        data.prepare("folder", tmp_path / "d", tmp_path / "out")


def test_records_of_a_good_folder_do_not_hide_faults(folder, tmp_path, make_dataset):
    dataset = make_dataset(data_dir=str(tmp_path / "out"), source=str(folder))
    data.load(dataset, "train")
    (folder / "train/images/alone.png").write_bytes(b"")
    for prepare in (
        lambda: data.prepare("folder", folder, tmp_path / "out"),
        lambda: data.load(dataset, "train"),
    ):
        with pytest.raises(UserError, match=r"alone\.png: no file of that stem"):
            prepare()


def test_every_file_is_decoded_once(folder, tmp_path, monkeypatch):
    opened = []
    read = checking.read_image
    monkeypatch.setattr(checking, "read_image", lambda *a: opened.append(a[1]) or read(*a))
    from jaxseg.data import images
    from jaxseg.data.sets import folder as module

    pixels, decode = module.mask_pixels, images.cv2.imdecode
    monkeypatch.setattr(module, "mask_pixels", lambda *a: opened.append(a[1]) or pixels(*a))
    monkeypatch.setattr(images.cv2, "imdecode", lambda *a: opened.append("record") or decode(*a))
    summary = data.prepare("folder", folder, tmp_path / "out")
    assert len(opened) == len(set(opened)) == 14
    digest = digests.contents(summary.directory)
    assert opened.count("record") == 0
    (summary.directory / "contents.json").unlink()
    assert digests.contents(summary.directory) == digest  # as computed from the records
    assert opened.count("record") == 7


def test_threads_change_nothing(folder, tmp_path, monkeypatch):
    found = []
    for workers in (1, 5):
        monkeypatch.setattr(checking, "WORKERS", workers)
        found.append(data.prepare("folder", folder, tmp_path / f"out{workers}"))
    assert digests.contents(found[0].directory) == digests.contents(found[1].directory)
    assert found[0].classes == found[1].classes
