"""Records are written once for each content, and found again."""

import os

import numpy as np
import pytest
from PIL import Image

from jaxseg import data
from jaxseg.errors import UserError


def test_own_data_in_one_step_and_again_when_it_changed(folder, tmp_path, make_dataset):
    dataset = make_dataset(data_dir=str(tmp_path / "out"), source=str(folder))
    before = dataset.to_dict()
    first = data.resolve(dataset)
    assert dataset.to_dict() == before
    assert len(data.load(dataset, "train")) == 5
    assert data.resolve(dataset) == first
    path = folder / "train/masks/t0.png"
    os.utime(path, (1, 1))  # touched, not changed
    assert data.resolve(dataset) == first
    Image.fromarray(np.zeros((6, 8), np.uint8)).save(path)
    assert data.resolve(dataset) != first
    source = data.load(dataset, "train")
    labels = {e["name"]: e["label"] for e in (source[i] for i in range(5))}
    assert not labels["t0"].any()


@pytest.mark.parametrize("name", ["folder", "camvid"])
def test_another_source_is_other_data(name, tmp_path, pair_writer, make_dataset, make_mask):
    """Whatever was prepared before, from another folder or by `jaxseg data prepare`."""
    for i, folder in enumerate(("old", "new")):
        pair_writer(tmp_path / folder / "train", f"{folder}_image", make_mask([0, 1, 2]), seed=i)
    out = str(tmp_path / "out")
    data.prepare(name, tmp_path / "old", tmp_path / "out")
    for folder in ("old", "new", "old"):
        dataset = make_dataset(name=name, data_dir=out, source=str(tmp_path / folder))
        assert data.load(dataset, "train")[0]["name"] == f"{folder}_image"
    if name == "camvid":
        dataset = make_dataset(name=name, data_dir=out)
        assert data.load(dataset, "train")[0]["name"] == "old_image"


def test_a_renamed_folder_is_the_same_data(folder, tmp_path, make_dataset):
    def records(source):
        return data.resolve(make_dataset(data_dir=str(tmp_path / "out"), source=str(source)))

    before = records(folder)
    moved = folder.rename(tmp_path / "elsewhere")
    assert records(moved) == before
    # the records of what was there still serve where the files are no longer needed
    assert records(folder) == before
    said = r"never is no folder.* with --config\.dataset\.source=DIR"
    with pytest.raises(UserError, match=said):
        records(tmp_path / "never")


def test_what_a_folder_was_read_as_is_said_when_it_is_prepared(
    tmp_path, pair_writer, make_mask, make_dataset, capsys
):
    for i in range(2):
        pair_writer(tmp_path / "d", f"a{i}", make_mask([0, 1]))
    (tmp_path / "d/masks").rename(tmp_path / "d/labels")
    dataset = make_dataset(data_dir=str(tmp_path / "out"), source=str(tmp_path / "d"))
    for said in ("note: {}/d/labels is read as masks/\n", ""):
        data.resolve(dataset)
        assert capsys.readouterr().out == said.format(tmp_path)


def test_not_prepared_and_unknown_split_say_what_to_do(folder, tmp_path, make_dataset):
    out = str(tmp_path / "out")
    with pytest.raises(
        UserError,
        match=r"prepare camvid --source DIR --data_dir .*out,.*--config\.dataset\.source=DIR",
    ):
        data.load(make_dataset(name="camvid", data_dir=out), "train")
    dataset = make_dataset(data_dir=out, source=str(folder))
    with pytest.raises(UserError, match="no split 'validation'; it has train, val"):
        data.load(dataset, "validation")


def test_the_data_dir_is_the_flag_then_the_config_then_the_environment(monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", "/c")
    assert str(data.resolve_data_dir("/a", "/b")) == "/a"
    assert str(data.resolve_data_dir(None, "/b")) == "/b"
    assert str(data.resolve_data_dir(None, "")) == "/c"
    monkeypatch.delenv("TFDS_DATA_DIR")
    assert data.resolve_data_dir(None, "").name == "tensorflow_datasets"
