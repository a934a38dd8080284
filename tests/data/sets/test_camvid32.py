import numpy as np

from jaxseg import data
from jaxseg.data.sets.camvid32 import COLOURS
from tests.data.sets.files import photograph, write


def test_colours_become_classes_and_sequences_splits(tmp_path, prepared, make_dataset):
    colours = np.array([*COLOURS.values(), (0, 0, 0)], np.uint8)
    chosen = {}
    for i, name in enumerate(("0001TP_006690", "0001TP_006720", "0016E5_00390", "Seq05VD_f00000")):
        photograph(tmp_path / f"d/701_StillsRaw_full/{name}.png", (4, 8), seed=i)
        chosen[name] = np.random.default_rng(i).permutation(32).reshape(4, 8)
        write(tmp_path / f"d/LabeledApproved_full/{name}_L.png", colours[chosen[name]])
    found = prepared("camvid32")
    assert found.sizes == {"seq_0001TP": 2, "seq_0016E5": 1, "seq_Seq05VD": 1}
    for name, index in chosen.items():
        np.testing.assert_array_equal(found.labels[name], np.where(index == 31, 255, index))
    assert (found.classes.names[5], found.classes.palette[5]) == ("Car", (64, 0, 128))
    dataset = make_dataset(name="camvid32", data_dir=str(tmp_path / "out"))
    assert len(data.load(dataset, "seq_0001TP+seq_Seq05VD")) == 3


def test_a_colour_that_is_none_of_the_list_is_refused(tmp_path, refused):
    photograph(tmp_path / "d/images/0001TP_1.png", (2, 3))
    colours = np.full((2, 3, 3), (64, 0, 129), np.uint8)
    write(tmp_path / "d/labels/0001TP_1_L.png", colours)
    assert "[64, 0, 129] at row 0, column 0 is no colour of label_colors.txt" in refused("camvid32")
