"""What a person gives as a source: a folder, archives, or a folder of archives."""

import fcntl
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from jaxseg import data
from jaxseg.data import checking, origin
from jaxseg.errors import UserError


@pytest.fixture
def small(tmp_path, pair_writer, make_mask):
    for split in ("train", "val"):
        for i in range(2):
            pair_writer(tmp_path / "set" / split, f"{split}{i}", make_mask([0, 1, 11]), seed=i)
    return tmp_path / "set"


def pack(folder, name, *, root=None, kind="zip"):
    """An archive of a folder's content, or of the folder itself below `root`."""
    base = folder.name if root else None
    return shutil.make_archive(str(folder.parent / name), kind, root or folder, base)


def labels(dataset):
    found = {}
    for split in ("train", "val"):
        source = data.load(dataset, split)
        found |= {e["name"]: e["label"] for e in (source[i] for i in range(len(source)))}
    return found


def test_folders_and_archives_give_the_same_records(small, tmp_path, make_dataset):
    together = tmp_path / "downloads"
    together.mkdir()
    for split in ("train", "val"):
        shutil.move(pack(small / split, split, root=small, kind="gztar"), together)
    sources = {
        "folder": small,
        "content": pack(small, "content"),
        "wrapped": pack(small, "wrapped", root=tmp_path, kind="tar"),
        "a folder of archives": together,
        "several": [small / "train", together / "val.tar.gz"],
    }
    for name, source in sources.items():
        out = tmp_path / "out" / name
        summary = data.prepare("camvid", source, out)
        assert summary.splits == {"train": 2, "val": 2}, name
        found = labels(make_dataset(name="camvid", data_dir=str(out)))
        assert len(found) == 4
        for stem, label in found.items():
            path = small / stem[:-1] / "masks" / f"{stem}.png"
            np.testing.assert_array_equal(label, np.asarray(Image.open(path)))
        assert not list(out.glob(f"{origin.PREFIX}*"))


def test_again_does_nothing_and_a_changed_source_is_noticed(small, tmp_path, monkeypatch):
    archive, out = pack(small, "set"), tmp_path / "out"
    for change, source in enumerate((small, archive)):
        first = data.prepare("camvid", source, out)
        with monkeypatch.context() as patch:
            for done in ("check_pair", "read_image"):
                patch.setattr(checking, done, None)
            patch.setattr(origin.Unpacker, "unpack", None)
            again = data.prepare("camvid", source, out)
        assert again.splits == first.splits
        assert again.notes[0] == "it was prepared before; from these files, nothing to do"
        other = np.full((6, 8), change, np.uint8)
        Image.fromarray(other).save(small / "train/masks/train1.png")
        pack(small, "set")
        with pytest.raises(UserError, match=r"was prepared from other files than .* remove it"):
            data.prepare("camvid", source, out)
        shutil.rmtree(out)


def test_an_archive_may_be_a_runs_source(small, tmp_path, make_dataset):
    archive = pack(small, "set")
    dataset = make_dataset(name="camvid", data_dir=str(tmp_path / "out"), source=archive)
    first = data.resolve(dataset)
    assert len(labels(dataset)) == 4
    os.remove(archive)  # the records still serve
    assert data.resolve(dataset) == first


def test_interrupted_while_unpacking_leaves_nothing(small, tmp_path, monkeypatch, nothing_prepared):
    def interrupt(*args):
        original(*args)
        raise KeyboardInterrupt

    original = origin.Unpacker.unpack
    monkeypatch.setattr(origin.Unpacker, "unpack", interrupt)
    with pytest.raises(KeyboardInterrupt):
        data.prepare("camvid", pack(small, "set"), tmp_path / "out")
    assert nothing_prepared(tmp_path / "out")
    assert not list((tmp_path / "out").glob(f"{origin.PREFIX}*"))


def test_what_a_killed_process_left_is_removed(small, tmp_path):
    """Its lock ended with it; the files of a process that still runs stay."""
    left, running = (tmp_path / f"out/{origin.PREFIX}{name}" for name in ("left", "running"))
    for place in (left, running):
        place.mkdir(parents=True)
        (place / origin.LOCK).touch()
    with (running / origin.LOCK).open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        data.prepare("camvid", pack(small, "set"), tmp_path / "out")
        assert (left.exists(), running.exists()) == (False, True)


def test_faults_name_the_file_in_the_archive(small, tmp_path, nothing_prepared):
    (small / "val/images/val0.png").write_bytes(b"")
    archive = pack(small, "set")
    with pytest.raises(UserError, match=r"^set/val/images/val0\.png: the file is empty"):
        data.prepare("camvid", archive, tmp_path / "out")
    (small / "val/images/val1.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"2 faults") as caught:
        data.prepare("camvid", pack(small, "set"), tmp_path / "out")
    assert origin.PREFIX not in str(caught.value)
    assert nothing_prepared(tmp_path / "out")


def test_what_is_neither_folder_nor_archive_is_refused(small, tmp_path):
    (tmp_path / "set.rar").write_text("x")
    for source, said in (("never.zip", "no such folder or file"), ("set.rar", "expected a folder")):
        with pytest.raises(UserError, match=said):
            data.prepare("camvid", tmp_path / source, tmp_path / "out")


def test_counts_are_compared_with_the_published_ones(small, tmp_path):
    notes = data.prepare("camvid", small, tmp_path / "out").notes
    assert "train: 2 images, 367 as published" in notes
    assert "test: none of the 233 images as published" in notes
