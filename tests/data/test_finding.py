"""Folders of published data sets are found wherever they lie; files pair by name."""

import pytest

from jaxseg.data.faults import Fault
from jaxseg.data.finding import by_name, find_folder, keep_there, listed, need_folder, pair
from jaxseg.data.layout import Layout, Pair
from jaxseg.errors import UserError


@pytest.fixture
def make(tmp_path):
    def make(*names):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()

    return make


def test_a_folder_is_known_by_its_path_and_its_files(make, tmp_path):
    make("down/train2017/a.jpg", "maps/train2017/a.png", "x/gt/train/city/b.PNG", "gt/other/c.png")
    assert find_folder(tmp_path, "train2017", ".jpg") == tmp_path / "down/train2017"
    assert find_folder(tmp_path, "train2017", ".png") == tmp_path / "maps/train2017"
    assert find_folder(tmp_path, "gt/train", ".png") == tmp_path / "x/gt/train"
    assert find_folder(tmp_path / "down/train2017", "train2017", ".jpg") is not None
    assert find_folder(tmp_path, "val2017", ".jpg") is None
    make("more/train2017/a.jpg", "1/2/3/4/5/deep/a.jpg")
    assert find_folder(tmp_path, "deep", ".jpg") is None
    with pytest.raises(UserError, match=r"down/train2017 and .*more/train2017 could each be"):
        find_folder(tmp_path, "train2017", ".jpg")
    with pytest.raises(UserError, match=r"found no folder val2017/ with \.jpg files; mend it"):
        need_folder(tmp_path, "val2017", ".jpg", "mend it")
    with pytest.raises(UserError, match="no such folder"):
        find_folder(tmp_path / "never", "val2017", ".jpg")


def test_files_pair_by_what_precedes_their_ending(make, tmp_path):
    make(
        "i/a_left.png", "i/b_left.PNG", "i/._c_left.png", "i/x.txt", "m/q/a_ids.png", "m/d_ids.png"
    )
    images = by_name(tmp_path / "i", "_left.png")
    assert set(images) == {"a", "b"}
    layout = Layout()
    masks = by_name(tmp_path / "m", "_ids.png", deep=True)
    pairs = pair(images, masks, "train", layout)
    assert pairs == [Pair("a", tmp_path / "i/a_left.png", tmp_path / "m/q/a_ids.png")]
    assert [fault.text for fault in layout.faults] == [
        f"{tmp_path}/i/b_left.PNG: an image of split train without its mask; add it or remove this",
        f"{tmp_path}/m/d_ids.png: a mask of split train without its image; add it or remove this",
    ]


def test_what_a_list_names_is_there_once(make, tmp_path):
    make("a.jpg", "a.png", "b.jpg")
    (tmp_path / "list.txt").write_text("# comment\n\na x\n/img/a.jpg m.png\nb\n")
    names = listed(tmp_path / "list.txt")
    assert names == ["a", "a", "b"]
    layout = Layout()
    pairs = [Pair(n, tmp_path / f"{n}.jpg", tmp_path / f"{n}.png") for n in names]
    assert keep_there(pairs, "train", layout) == pairs[:1]
    assert layout.faults == [
        Fault("unpaired", f"{tmp_path}/b.png: no such file, but train lists it; unpack all of the "
              "data set"),
        Fault("twice", "train: its list names 1 twice", 1),
    ]  # fmt: skip
