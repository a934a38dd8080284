import numpy as np
import pytest
from scipy.io import savemat

from jaxseg.data.sets.pascal_context import NUMBERS
from tests.data.sets.files import photograph


@pytest.fixture
def values(tmp_path):
    """The label maps, by name."""
    maps = {}
    for split, names in (("train", ("2008_000002",)), ("val", ("2008_000003", "2008_000007"))):
        for name in names:
            photograph(tmp_path / f"d/VOCdevkit/VOC2010/JPEGImages/{name}.jpg", (20, 23))
            maps[name] = np.random.default_rng(len(maps)).permutation(460).reshape(20, 23)
            (tmp_path / "d/trainval").mkdir(exist_ok=True)
            content = {"LabelMap": maps[name].astype(np.uint16)}
            savemat(tmp_path / f"d/trainval/{name}.mat", content)
        path = tmp_path / f"d/VOCdevkit/VOC2010/ImageSets/Main/{split}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{name}\n" for name in names))
    return maps


@pytest.mark.parametrize(("name", "first", "rest"), [("", 1, 0), ("59", 0, 255)])
def test_the_59_classes_and_the_rest(name, first, rest, values, prepared):
    found = prepared(f"pascal_context{name}")
    assert found.sizes == {"train": 1, "val": 2}
    numbers = [*NUMBERS.values()]
    assert len(numbers) == len(set(numbers)) == 59
    for stem, numbered in values.items():
        expected = [
            [first + numbers.index(v) if v in numbers else rest for v in row]
            for row in numbered.tolist()
        ]
        np.testing.assert_array_equal(found.labels[stem], expected)
    assert found.classes.names[first] == "aeroplane"
    assert len(found.classes) == 59 + first


def test_a_file_that_is_no_label_map_is_named(values, tmp_path, refused):
    (tmp_path / "d/trainval/2008_000002.mat").write_bytes(b"MATLAB, or not")
    (tmp_path / "d/trainval/2008_000003.mat").unlink()
    said = refused("pascal_context")
    assert "2008_000002.mat: no MATLAB file with a LabelMap" in said
    assert "2008_000003.mat: no such file, but val lists it" in said
