import shutil

import numpy as np
import pytest

from jaxseg.data import digests, preparation


@pytest.fixture
def folder(tmp_path, pair_writer):
    for name in ("a", "b"):
        pair_writer(tmp_path / "mine", name, np.eye(6, 8))
    return tmp_path / "mine"


@pytest.fixture
def key(tmp_path):
    builder = preparation.module("folder").Builder

    def key(source):
        files = builder.files(source) if source.is_dir() else None
        return digests.source_key(files, str(source), tmp_path / "memory")

    return key


def test_files_are_read_once_and_again_when_one_changed(folder, key, monkeypatch):
    read = []
    digest = digests._file_digest
    monkeypatch.setattr(digests, "_file_digest", lambda path: read.append(path) or digest(path))
    first = key(folder)
    assert len(read) == 4
    assert key(folder) == first
    assert len(read) == 4
    path = folder / "masks/a.png"
    shutil.copy(folder / "images/a.png", path)
    assert key(folder) != first
    assert len(read) == 8


def test_only_names_and_contents_count(folder, key, tmp_path):
    first = key(folder)
    (folder / "images/Thumbs.db").write_text("x")
    assert key(folder) == first
    assert key(folder.rename(tmp_path / "other")) == first
    assert key(folder) == first  # what it was when it was last there
    assert key(tmp_path / "never") is None
    for kind in ("images", "masks"):
        (tmp_path / f"other/{kind}/a.png").rename(tmp_path / f"other/{kind}/c.png")
    assert key(tmp_path / "other") != first


def test_what_cannot_be_kept_is_computed_again(folder, key, tmp_path):
    (tmp_path / "memory").write_text("a file where the folder would be")
    assert key(folder) == key(folder)
