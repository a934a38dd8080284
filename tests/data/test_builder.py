"""What is written as records and read back, and files that are refused."""

import tempfile

import numpy as np
import pytest
from PIL import Image

from jaxseg import data
from jaxseg.data import checking, pipeline
from jaxseg.errors import UserError


def test_prepare_and_load_give_back_every_file(folder, tmp_path, make_dataset):
    summary = data.prepare("folder", folder, tmp_path / "out")
    assert summary.splits == {"train": 5, "val": 2}
    assert summary.classes.names == ("class_0", "class_1", "class_2")
    assert summary.classes.void == 255
    assert "train 5" in str(summary)
    dataset = make_dataset(data_dir=str(tmp_path / "out"), source=str(folder), cache=True)
    for split, count in (("train", 5), ("val", 2)):
        source = data.load(dataset, split)
        assert isinstance(source, data.Source)
        assert source.classes == summary.classes
        assert len(source) == count
        examples = [source[i] for i in range(count)]
        assert {e["name"] for e in examples} == {f"{split[0]}{i}" for i in range(count)}
        for e in examples:
            files = [folder / split / kind / f"{e['name']}.png" for kind in ("images", "masks")]
            np.testing.assert_array_equal(e["image"], np.asarray(Image.open(files[0])))
            np.testing.assert_array_equal(e["label"], np.asarray(Image.open(files[1])))


@pytest.fixture
def bands(folder):
    """The folder's images with five channels of 16 bits, in .npy files."""
    rng, images = np.random.default_rng(0), {}
    for path in sorted(folder.rglob("images/*.png")):
        size = np.asarray(Image.open(path)).shape[:2]
        images[path.stem] = rng.integers(0, 65536, (*size, 5), np.uint16)
        np.save(path.with_suffix(".npy"), images[path.stem])
        path.unlink()
    return images


def test_channels_and_bits_come_back_as_they_were_stored(bands, folder, tmp_path, make_dataset):
    """One preparation serves both depths, and says what it found."""
    notes = data.prepare("folder", folder, tmp_path / "noted").notes
    assert [note for note in notes if "there are images of 5 channels of 16 bits" in note]
    dataset = make_dataset(data_dir=str(tmp_path), source=str(folder), channels=5, bits=16)
    source = data.load(dataset, "train")
    for i in range(len(source)):
        np.testing.assert_array_equal(source[i]["image"], bands[source[i]["name"]])
    scaled = data.load(make_dataset(**{**dataset, "bits": 8}), "train")[0]
    assert scaled["image"].dtype == np.uint8
    assert np.abs(scaled["image"] - bands[scaled["name"]] / 257).max() <= 0.5


def test_other_channels_are_refused_when_the_data_is_opened(bands, folder, tmp_path, make_dataset):
    with pytest.raises(UserError, match=r"t\d: 5 channels, expected 3 .*channels=5"):
        data.load(make_dataset(data_dir=str(tmp_path), source=str(folder)), "train")


@pytest.mark.parametrize("harm", ["gone", "cut short", "overwritten"])
def test_a_damaged_record_file_is_named_when_it_is_read(
    harm, folder, tmp_path, make_dataset, make_augment
):
    out = tmp_path / "prepared"
    data.prepare("folder", folder, out)
    (path,) = out.rglob("folder-train.array_record*")
    dataset = make_dataset(data_dir=str(out), source=str(folder))
    if harm == "gone":
        path.unlink()
    else:
        whole = path.read_bytes()
        half = len(whole) // 2
        path.write_bytes(whole[:half] + bytes(len(whole) - half) * (harm == "overwritten"))
    source = data.load(dataset, "train")  # leaves what can't be read to the reader
    options = {"start": 0, "batch_size": 5, "seed": 0, "augment": make_augment(), "workers": 1}
    batches = pipeline.train_batches(source, mean=(0, 0, 0), prefetch=1, **options)
    with batches, pytest.raises(pipeline.UnreadableError, match=r"example \d can't be read \("):
        next(batches)


def break_partner(folder):
    (folder / "train/masks/t3.png").unlink()
    return r"images/t3\.png: no file of that stem"


def break_extra_mask(folder):
    (folder / "val/masks/other.png").write_bytes((folder / "val/masks/v0.png").read_bytes())
    return r"masks/other\.png: no file of that stem"


def break_double(folder):
    (folder / "train/images/t3.jpg").write_bytes((folder / "train/images/t3.png").read_bytes())
    return r"t3\.png: same stem as t3\.jpg"


def break_size(folder):
    Image.fromarray(np.zeros((4, 5), np.uint8)).save(folder / "val/masks/v1.png")
    return r"v1\.png: 8x6 .* is 5x4"


def break_value(folder):
    Image.fromarray(np.full((6, 8), 7, np.uint8)).save(folder / "val/masks/v1.png")
    return r"v1\.png: value 7; .*classes\.json, with your names:\n"


def break_truncate(folder):
    path = folder / "val/images/v1.png"
    path.write_bytes(path.read_bytes()[:150])
    return r"v1\.png: truncated"


def break_empty(folder):
    (folder / "val/masks/v1.png").write_bytes(b"")
    return r"v1\.png: the file is empty"


def break_text(folder):
    (folder / "val/images/v1.png").write_text("404: not found")
    return r"v1\.png: not an image"


BREAKS = [
    break_partner,
    break_extra_mask,
    break_double,
    break_size,
    break_value,
    break_truncate,
    break_empty,
    break_text,
]


@pytest.mark.parametrize("damage", BREAKS)
def test_a_damaged_folder_is_refused_by_file_and_leaves_nothing(
    damage, folder, tmp_path, make_dataset, nothing_prepared
):
    message = damage(folder)
    dataset = make_dataset(data_dir=str(tmp_path / "out"), source=str(folder))
    for prepare in (
        lambda: data.prepare("folder", folder, tmp_path / "out"),
        lambda: data.load(dataset, "train"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            prepare()
        assert ("\n" in str(caught.value)) == (damage is break_value)  # there is a file to paste
        assert nothing_prepared(tmp_path / "out")


def test_preparing_leaves_no_temporary_folders(folder, tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    data.prepare("folder", folder, tmp_path / "out")
    assert not list((tmp_path / "temporary").iterdir())


def test_an_interrupt_leaves_nothing(folder, tmp_path, monkeypatch, nothing_prepared):
    def interrupted(pair, *rest):
        if pair.name == "v1":
            raise KeyboardInterrupt
        return original(pair, *rest)

    original = checking.check_pair
    monkeypatch.setattr(checking, "check_pair", interrupted)
    with pytest.raises(KeyboardInterrupt):
        data.prepare("folder", folder, tmp_path / "out")
    assert nothing_prepared(tmp_path / "out")
    monkeypatch.undo()
    assert data.prepare("folder", folder, tmp_path / "out").splits == {"train": 5, "val": 2}


def test_rotated_by_exif_the_mask_must_be_upright(tmp_path, pair_writer, make_dataset, make_mask):
    pair_writer(tmp_path / "d", "a", make_mask([0, 1], (6, 8)))
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    image = tmp_path / "d/images/a.png"
    Image.open(image).save(image, exif=exif)
    with pytest.raises(UserError, match=r"6x8 .upright.*is 8x6"):
        data.prepare("folder", tmp_path / "d", tmp_path / "out")
    upright = make_mask([0, 1], (8, 6)).astype(np.uint8)
    Image.fromarray(upright).save(tmp_path / "d/masks/a.png")
    dataset = make_dataset(data_dir=str(tmp_path / "out"), source=str(tmp_path / "d"))
    example = data.load(dataset, "train")[0]
    np.testing.assert_array_equal(example["label"], upright)
    assert example["image"].shape == (8, 6, 3)
