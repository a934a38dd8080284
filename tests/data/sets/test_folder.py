"""A user's own folder: its classes, and how masks hold them."""

import json

import numpy as np
import pytest
from PIL import Image

from jaxseg import data
from jaxseg.errors import UserError


def labels_with(folder, out, make_dataset, classes_json):
    (folder / "classes.json").write_text(json.dumps(classes_json))
    summary = data.prepare("folder", folder, out)
    dataset = make_dataset(data_dir=str(out), source=str(folder))
    return summary.classes, data.load(dataset, "train")[0]["label"]


def test_classes_json_maps_values(tmp_path, pair_writer, make_dataset, make_mask):
    values = make_mask([0, 255, 9])
    pair_writer(tmp_path / "d", "a", values)
    with pytest.raises(UserError, match=r"a\.png: value 9; the masks hold 0 .*, 9 .*classes\.json"):
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


def test_classes_json_reads_rgb_masks(tmp_path, pair_writer, make_dataset, make_mask):
    colours = np.array([[0, 0, 0], [255, 0, 0], [90, 90, 90]])
    chosen = make_mask([0, 1, 2])
    pair_writer(tmp_path / "d", "a", colours[chosen])
    given = {"names": ["a", "b"], "colours": colours[:2].tolist()}
    with pytest.raises(UserError, match=r"a\.png: colour \[90, 90, 90\] at row 0, column 2"):
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
        ('{"names": ["a", "b"], "values": [3, 3]}', r"values \[3, 3\]: expected all of them"),
        (
            '{"names": ["a", "b"], "colours": [[0, 0, 0], [1, 1, 1]], "void": [1, 1, 1]}',
            r"void is \[1, 1, 1\], as is the colour of a class",
        ),
    ],
)
def test_a_wrong_classes_json_is_refused(text, said, folder, tmp_path):
    (folder / "classes.json").write_text(text)
    with pytest.raises(UserError, match=said):
        data.prepare("folder", folder, tmp_path / "out")


def offered(folder, out):
    """The classes.json that the error shows."""
    with pytest.raises(UserError) as caught:
        data.prepare("folder", folder, out)
    text = str(caught.value)
    assert f"save this as {folder}/classes.json" in text
    return json.loads(text[text.index("{") : text.rindex("}") + 1])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("values", [(0, 255), (0, 128, 255), (1, 2, 3), (3, 9)])
def test_what_is_offered_for_values_reads_the_masks(
    values, channels, tmp_path, pair_writer, make_dataset, make_mask
):
    chosen = make_mask(range(len(values)))
    mask = np.array(values)[chosen]
    folder = tmp_path / "d"
    pair_writer(folder, "a", mask if channels == 1 else np.dstack([mask] * channels))
    fields = offered(folder, tmp_path / "out")
    classes, label = labels_with(folder, tmp_path / "out", make_dataset, fields)
    assert len(classes) == len(values)
    np.testing.assert_array_equal(label, chosen)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_what_is_offered_for_colours_reads_the_masks(
    mode, tmp_path, pair_writer, make_dataset, make_mask
):
    colours = np.array([[0, 0, 0], [0, 0, 200], [224, 224, 192]])
    chosen = make_mask([0, 1, 1, 1, 2], (9, 9))
    chosen[:2] = 1  # the most frequent one
    chosen[2, :4] = 0  # and the next
    folder = tmp_path / "d"
    pair_writer(folder, "a", colours[chosen])
    pair_writer(folder, "b", colours[chosen * 0])  # no colour in it: grey
    for name in "ab":
        path = folder / f"masks/{name}.png"
        Image.open(path).convert(mode).save(path)
    fields = offered(folder, tmp_path / "out")
    assert fields["colours"][0] == [0, 0, 0]
    assert sorted(fields["colours"]) == sorted(colours.tolist())
    place = [fields["colours"].index(colour) for colour in colours.tolist()]
    (folder / "classes.json").write_text(json.dumps(fields))
    dataset = make_dataset(data_dir=str(tmp_path / "out"), source=str(folder))
    source = data.load(dataset, "train")
    labels = {e["name"]: e["label"] for e in (source[i] for i in range(2))}
    np.testing.assert_array_equal(labels["a"], np.array(place)[chosen])
    assert not labels["b"].any()


def test_colours_are_offered_for_a_classes_json_without(tmp_path, pair_writer, make_mask):
    pair_writer(tmp_path / "d", "a", np.array([[0, 0, 0], [9, 0, 0]])[make_mask([0, 1])])
    (tmp_path / "d/classes.json").write_text('{"names": ["a", "b"]}')
    assert offered(tmp_path / "d", tmp_path / "out")["colours"] == [[0, 0, 0], [9, 0, 0]]


@pytest.mark.parametrize("as_rgb", [False, True])
def test_indices_saved_as_rgb_are_indices(as_rgb, tmp_path, pair_writer, make_dataset, make_mask):
    values = make_mask([0, 1, 2, 255])
    pair_writer(tmp_path / "d", "a", np.dstack([values] * 3) if as_rgb else values)
    summary = data.prepare("folder", tmp_path / "d", tmp_path / "out")
    assert summary.classes.names == ("class_0", "class_1", "class_2")
    dataset = make_dataset(data_dir=str(tmp_path / "out"), source=str(tmp_path / "d"))
    np.testing.assert_array_equal(data.load(dataset, "train")[0]["label"], values)


def test_more_classes_than_likely_have_to_be_named(tmp_path, pair_writer, make_mask, make_dataset):
    """Numbers of objects and smoothed edges come without gaps, too."""
    values = make_mask(range(70), (20, 20))
    pair_writer(tmp_path / "d", "a", values)
    with pytest.raises(UserError, match=r"70 values are smoothed edges or numbers.*classes\.json"):
        data.prepare("folder", tmp_path / "d", tmp_path / "out")
    fields = {"names": [str(i) for i in range(70)]}
    _, label = labels_with(tmp_path / "d", tmp_path / "out", make_dataset, fields)
    np.testing.assert_array_equal(label, values)


def test_a_folder_set_without_a_folder_asks_for_it(make_dataset, tmp_path):
    with pytest.raises(UserError, match=r"own folder.*--config\.dataset\.source=DIR"):
        data.load(make_dataset(name="folder", data_dir=str(tmp_path)), "train")
