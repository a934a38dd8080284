import json
import os
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from jaxseg import data
from jaxseg.data import pipeline
from jaxseg.errors import UserError

RNG = np.random.default_rng(0)


def mask(values, shape=(6, 8)):
    """Random values, each of them at least once."""
    out = RNG.choice(values, shape)
    out.flat[: len(values)] = values
    return out


@pytest.fixture
def folder(tmp_path, pair_writer):
    """Two splits of three classes and void; image sizes differ."""
    root = tmp_path / "my data"
    for i in range(5):
        pair_writer(root / "train", f"t{i}", mask([0, 1, 2, 255], (6 + i, 8)), seed=i)
    for i in range(2):
        pair_writer(root / "val", f"v{i}", mask([0, 1, 2]), seed=10 + i)
    return root


def stored_pixels(path):
    return np.asarray(Image.open(path))


def nothing_prepared(data_dir):
    return not list(data_dir.rglob("dataset_info.json")) and not list(
        data_dir.rglob("*.array_record*")
    )


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
            np.testing.assert_array_equal(e["image"], stored_pixels(files[0]))
            np.testing.assert_array_equal(e["label"], stored_pixels(files[1]))


@pytest.mark.parametrize("harm", ["gone", "cut short", "overwritten"])
def test_a_damaged_record_file_is_named_when_it_is_read(
    harm, folder, tmp_path, make_dataset, make_augment
):
    out = tmp_path / "prepared"
    data.prepare("folder", folder, out)
    (path,) = out.rglob("folder-train.array_record*")
    dataset = make_dataset(data_dir=str(out), source=str(folder))
    source = data.load(dataset, "train")  # opens the file when the first example is asked for
    if harm == "gone":
        path.unlink()
    else:
        whole = path.read_bytes()
        half = len(whole) // 2
        path.write_bytes(whole[:half] + bytes(len(whole) - half) * (harm == "overwritten"))
    options = {"start": 0, "batch_size": 5, "seed": 0, "augment": make_augment(), "workers": 1}
    batches = pipeline.train_batches(source, mean=(0, 0, 0), prefetch=1, **options)
    with batches, pytest.raises(pipeline.UnreadableError, match=r"example \d can't be read \("):
        next(batches)


def test_slices_are_disjoint_and_complete(folder, tmp_path, make_dataset):
    dataset = make_dataset(data_dir=str(tmp_path / "out"), source=str(folder))
    parts = [data.load(dataset, s) for s in ("train[:60%]", "train[60%:]")]
    assert [len(p) for p in parts] == [3, 2]
    assert {p[i]["name"] for p in parts for i in range(len(p))} == {f"t{i}" for i in range(5)}


def test_flat_layout_is_one_split(tmp_path, pair_writer):
    for i in range(3):
        pair_writer(tmp_path / "flat", f"a{i}", mask([0, 1]))
    assert data.prepare("folder", tmp_path / "flat", tmp_path / "out").splits == {"train": 3}


def test_a_split_without_masks_is_left_out_with_a_note(folder, tmp_path, pair_writer):
    pair_writer(folder / "test", "x", mask([0, 1]))
    (folder / "test" / "masks" / "x.png").unlink()
    (folder / "test" / "masks").rmdir()
    summary = data.prepare("folder", folder, tmp_path / "out")
    assert set(summary.splits) == {"train", "val"}
    assert any("test" in note for note in summary.notes)


def break_partner(folder):
    (folder / "train/masks/t3.png").unlink()
    return r"images/t3\.png: no file of that stem"


def break_extra_mask(folder):
    (folder / "val/masks/other.png").write_bytes((folder / "val/masks/v0.png").read_bytes())
    return r"masks/other\.png: no file of that stem"


def break_double(folder):
    (folder / "train/images/t3.jpg").write_bytes(b"x")
    return r"t3\.png: same stem as t3\.jpg"


def break_size(folder):
    Image.fromarray(np.zeros((4, 5), np.uint8)).save(folder / "val/masks/v1.png")
    return r"v1\.png: 8x6 .* is 5x4"


def break_value(folder):
    Image.fromarray(np.full((6, 8), 7, np.uint8)).save(folder / "val/masks/v1.png")
    return r"v1\.png: value 7; .*classes\.json"


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
    damage, folder, tmp_path, make_dataset
):
    message = damage(folder)
    dataset = make_dataset(data_dir=str(tmp_path / "out"), source=str(folder))
    for prepare in (
        lambda: data.prepare("folder", folder, tmp_path / "out"),
        lambda: data.load(dataset, "train"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            prepare()
        assert "\n" not in str(caught.value)
        assert nothing_prepared(tmp_path / "out")


def test_an_interrupt_leaves_nothing(folder, tmp_path, monkeypatch):
    from jaxseg.data import builder

    def interrupted(pair, *rest):
        if pair.name == "v1":
            raise KeyboardInterrupt
        return original(pair, *rest)

    original = builder.check_pair
    monkeypatch.setattr(builder, "check_pair", interrupted)
    with pytest.raises(KeyboardInterrupt):
        data.prepare("folder", folder, tmp_path / "out")
    assert nothing_prepared(tmp_path / "out")
    monkeypatch.undo()
    assert data.prepare("folder", folder, tmp_path / "out").splits == {"train": 5, "val": 2}


@pytest.mark.parametrize("make", ["", "stuff", "images"])
def test_a_folder_of_another_layout_is_refused(make, tmp_path):
    root = tmp_path / "root"
    (root / make).mkdir(parents=True)
    with pytest.raises(UserError, match=r"root.*(images|masks)"):
        data.prepare("folder", root, tmp_path / "out")
    with pytest.raises(UserError, match="no such folder"):
        data.prepare("folder", tmp_path / "absent", tmp_path / "out")


def test_rotated_by_exif_the_mask_must_be_upright(tmp_path, pair_writer, make_dataset):
    pair_writer(tmp_path / "d", "a", mask([0, 1], (6, 8)))
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    image = tmp_path / "d/images/a.png"
    Image.open(image).save(image, exif=exif)
    with pytest.raises(UserError, match=r"6x8 .upright.*is 8x6"):
        data.prepare("folder", tmp_path / "d", tmp_path / "out")
    upright = mask([0, 1], (8, 6)).astype(np.uint8)
    Image.fromarray(upright).save(tmp_path / "d/masks/a.png")
    dataset = make_dataset(data_dir=str(tmp_path / "out"), source=str(tmp_path / "d"))
    example = data.load(dataset, "train")[0]
    np.testing.assert_array_equal(example["label"], upright)
    assert example["image"].shape == (8, 6, 3)


def labels_with(folder, out, make_dataset, classes_json):
    (folder / "classes.json").write_text(json.dumps(classes_json))
    summary = data.prepare("folder", folder, out)
    dataset = make_dataset(data_dir=str(out), source=str(folder))
    return summary.classes, data.load(dataset, "train")[0]["label"]


def test_classes_json_maps_values(tmp_path, pair_writer, make_dataset):
    values = mask([0, 255, 9])
    pair_writer(tmp_path / "d", "a", values)
    with pytest.raises(UserError, match=r"a\.png: value 9.*0, 9, 255.*classes\.json"):
        data.prepare("folder", tmp_path / "d", tmp_path / "out")
    given = {
        "names": ["ground", "cell"],
        "values": [0, 255],
        "void": 9,
        "colours": [[1, 2, 3], [4, 5, 6]],
    }
    classes, label = labels_with(tmp_path / "d", tmp_path / "out", make_dataset, given)
    assert classes.names == ("ground", "cell")
    assert classes.palette == ((1, 2, 3), (4, 5, 6))
    expected = np.select([values == 0, values == 255], [0, 1], classes.void)
    np.testing.assert_array_equal(label, expected)


def test_classes_json_reads_rgb_masks(tmp_path, pair_writer, make_dataset):
    colours = np.array([[0, 0, 0], [255, 0, 0], [90, 90, 90]])
    chosen = mask([0, 1, 2])
    pair_writer(tmp_path / "d", "a", colours[chosen])
    given = {"names": ["a", "b"], "colours": colours[:2].tolist()}
    with pytest.raises(UserError, match=r"a\.png: a colour at row 0, column 2"):
        labels_with(tmp_path / "d", tmp_path / "out", make_dataset, given)
    given["void"] = [90, 90, 90]
    classes, label = labels_with(tmp_path / "d", tmp_path / "out", make_dataset, given)
    np.testing.assert_array_equal(label, np.where(chosen == 2, classes.void, chosen))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "expected JSON"),
        ('{"name": ["a"]}', "names"),
        ('{"names": ["a", "b"], "valeus": [0, 1]}', "did you mean 'values'"),
        ('{"names": ["a", "b"], "values": [0]}', "1 values for 2 names"),
        ('{"names": ["a", "a"]}', "all different"),
    ],
)
def test_a_wrong_classes_json_is_refused(text, said, folder, tmp_path):
    (folder / "classes.json").write_text(text)
    with pytest.raises(UserError, match=said):
        data.prepare("folder", folder, tmp_path / "out")


def test_masks_of_0_and_255_alone_are_refused_with_the_fix(tmp_path, pair_writer):
    pair_writer(tmp_path / "d", "a", mask([0, 255]))
    with pytest.raises(UserError, match=re.escape('"values": [0, 255]')):
        data.prepare("folder", tmp_path / "d", tmp_path / "out")


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
def test_another_source_is_other_data(name, tmp_path, pair_writer, make_dataset):
    """Whatever was prepared before, from another folder or by `jaxseg data prepare`."""
    for i, folder in enumerate(("old", "new")):
        pair_writer(tmp_path / folder / "train", f"{folder}_image", mask([0, 1, 2]), seed=i)
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
        Image.fromarray((stored_pixels(path) + 1) % 3).save(path)

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


def test_isbi_nuclei_and_camvid_labels(tmp_path, pair_writer, make_dataset):
    out = tmp_path / "out"
    cell, nuclei, road = mask([0, 255]), mask([0, 1, 2, 40]), mask([0, 3, 10, 11])
    pair_writer(tmp_path / "isbi/train", "00", cell)
    pair_writer(tmp_path / "nuclei", "n", nuclei)
    pair_writer(tmp_path / "camvid/val", "c", road)
    for name, split, label in (
        ("isbi_em", "train", cell == 255),
        ("nuclei", "train", nuclei > 0),
        ("camvid", "val", road),
    ):
        source_dir = tmp_path / name.removesuffix("_em")
        classes = data.prepare(name, source_dir, out).classes
        source = data.load(make_dataset(name=name, data_dir=str(out)), split)
        np.testing.assert_array_equal(source[0]["label"], label)
        assert source.classes == classes
    assert classes.void == 11
    assert classes.names[3] == "Road"
    again = data.prepare("camvid", tmp_path / "camvid", out)
    assert "before" in again.notes[0]


def test_a_value_that_is_no_class_is_refused(tmp_path, pair_writer):
    pair_writer(tmp_path / "camvid/train", "c", mask([0, 12, 200]))
    pair_writer(tmp_path / "isbi/train", "00", mask([0, 128, 255]))
    with pytest.raises(UserError, match=r"c\.png: label .* 12, 200, expected 0\.\.10 or void 11"):
        data.prepare("camvid", tmp_path / "camvid", tmp_path / "out")
    with pytest.raises(UserError, match=r"00\.png: mask value 128"):
        data.prepare("isbi_em", tmp_path / "isbi", tmp_path / "out")
    assert nothing_prepared(tmp_path / "out")


def test_unknown_names_list_the_known(tmp_path, make_dataset):
    with pytest.raises(UserError, match=r"did you mean 'camvid'.*known: camvid, folder, isbi_em"):
        data.prepare("camvit", tmp_path, tmp_path)
    with pytest.raises(UserError, match="unknown data set 'pipeline'"):
        data.load(make_dataset(name="pipeline"), "train")
    with pytest.raises(UserError, match="made on the fly"):
        data.prepare("shapes", tmp_path, tmp_path)


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


@pytest.mark.skipif("JAXSEG_DEV_DATA" not in os.environ, reason="no development data")
def test_real_camvid(tmp_path, make_dataset):
    from jaxseg.data import stats

    summary = data.prepare("camvid", f"{os.environ['JAXSEG_DEV_DATA']}/camvid", tmp_path)
    assert summary.splits == {"train": 367, "val": 101}
    measured = stats.measure(
        data.load(make_dataset(name="camvid", data_dir=str(tmp_path)), "train")
    )
    # computed independently from the same files
    weights = [0.2793, 0.2017, 4.7865, 0.1490, 1.0, 0.4217, 3.8467, 1.9736, 0.7889, 6.3747, 8.8587]
    np.testing.assert_allclose(measured.weights, weights, atol=1e-4)
    np.testing.assert_allclose(measured.mean, [105.0, 108.4, 110.3], atol=0.06)
    assert measured.void_pixels == 2503995


def test_a_folder_set_without_a_folder_asks_for_it(make_dataset, tmp_path):
    with pytest.raises(UserError, match=r"own folder.*--config\.dataset\.source=DIR"):
        data.load(make_dataset(name="folder", data_dir=str(tmp_path)), "train")
