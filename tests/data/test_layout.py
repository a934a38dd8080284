"""How folders of images and masks may be laid out."""

import pytest

from jaxseg import data
from jaxseg.data.layout import find_pairs
from jaxseg.errors import UserError


@pytest.fixture
def make_files(tmp_path):
    """Empty files, each in its folder."""

    def make(*names):
        for name in names:
            path = tmp_path / "d" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return tmp_path / "d"

    return make


def named(layout):
    """Image and mask of each pair, by split."""
    return {
        split: {(pair.name, pair.mask.name) for pair in pairs}
        for split, pairs in layout.pairs.items()
    }


def faults(layout):
    return [fault.text for fault in layout.faults]


def test_flat_layout_is_one_split(tmp_path, pair_writer, make_mask):
    for i in range(3):
        pair_writer(tmp_path / "flat", f"a{i}", make_mask([0, 1]))
    assert data.prepare("folder", tmp_path / "flat", tmp_path / "out").splits == {"train": 3}


def test_a_split_without_masks_is_left_out_with_a_note(folder, tmp_path, pair_writer, make_mask):
    pair_writer(folder / "test", "x", make_mask([0, 1]))
    (folder / "test" / "masks" / "x.png").unlink()
    (folder / "test" / "masks").rmdir()
    summary = data.prepare("folder", folder, tmp_path / "out")
    assert set(summary.splits) == {"train", "val"}
    assert any("test" in note for note in summary.notes)


@pytest.mark.parametrize("make", ["", "stuff", "images"])
def test_a_folder_of_another_layout_is_refused(make, tmp_path):
    root = tmp_path / "root"
    (root / make).mkdir(parents=True)
    with pytest.raises(UserError, match=r"root.*(images|masks)"):
        data.prepare("folder", root, tmp_path / "out")
    with pytest.raises(UserError, match="no such folder"):
        data.prepare("folder", tmp_path / "absent", tmp_path / "out")


def test_other_names_of_the_two_folders_are_read_and_said(make_files):
    root = make_files("JPEGImages/a.jpg", "SegmentationClass/a.png", "Annotations.xml")
    layout = find_pairs(root)
    assert named(layout) == {"train": {("a", "a.png")}}
    assert layout.faults == []
    assert layout.notes == [
        f"{root}/JPEGImages is read as images/",
        f"{root}/SegmentationClass is read as masks/",
    ]


def test_the_first_name_is_taken_where_it_is_there(make_files):
    root = make_files("images/a.jpg", "imgs/b.jpg", "masks/a.png", "annotations/a.json")
    layout = find_pairs(root)
    assert named(layout) == {"train": {("a", "a.png")}}
    assert (layout.notes, layout.faults) == ([], [])


def test_of_two_other_names_none_is_guessed(make_files):
    root = make_files("images/a.jpg", "labels/a.png", "annotations/a.png")
    assert faults(find_pairs(root)) == [
        f"{root}: holds annotations and labels; call the one to read masks"
    ]


def test_splits_within_images_and_masks(make_files):
    root = make_files(
        "images/training/a.jpg",
        "images/validation/b.jpg",
        "images/test/c.jpg",
        "annotations/training/a.png",
        "annotations/validation/b.png",
    )
    layout = find_pairs(root)
    assert named(layout) == {"training": {("a", "a.png")}, "validation": {("b", "b.png")}}
    assert "test: no masks/, left out" in layout.notes
    assert layout.faults == []


def test_a_split_to_train_or_validate_on_has_both_folders(make_files):
    root = make_files(
        "train/images/a.jpg", "train/masks/a.png", "val/images/b.jpg", "more/masks/c.png"
    )
    assert faults(find_pairs(root)) == [
        f"{root}: split more has masks but no images; add its images",
        f"{root}: split val has images but no masks; add its masks",
    ]


def test_a_name_that_is_none_for_a_split(make_files):
    root = make_files("fold 1/images/a.jpg", "fold 1/masks/a.png")
    assert "fold 1: can't name a split" in faults(find_pairs(root))[0]


def test_an_ending_that_all_masks_share_pairs_them(make_files):
    root = make_files(
        *(f"train/images/Image_{i}.jpg" for i in ("01L", "01R", "02L")),
        *(f"train/masks/Image_{i}_1stHO.png" for i in ("01L", "01R", "02L")),
        "val/images/Image_03L.jpg",
        "val/masks/Image_03L_1stHO.png",
    )
    layout = find_pairs(root)
    assert named(layout) == {
        "train": {(f"Image_{i}", f"Image_{i}_1stHO.png") for i in ("01L", "01R", "02L")},
        "val": {("Image_03L", "Image_03L_1stHO.png")},
    }
    assert layout.notes == ["each mask is named like its image with _1stHO at the end"]
    assert layout.faults == []


def test_what_has_no_partner_with_the_ending_is_named(make_files):
    root = make_files(
        *(f"images/{i}.jpg" for i in "abc"),
        *(f"masks/{i}_mask.png" for i in "abd"),
    )
    layout = find_pairs(root)
    assert named(layout) == {"train": {("a", "a_mask.png"), ("b", "b_mask.png")}}
    fix = "add it or remove this one"
    assert faults(layout) == [
        f"{root}/images/c.jpg: no file of the stem c_mask in {root}/masks; {fix}",
        f"{root}/masks/d_mask.png: no file of that stem in {root}/images; {fix}",
    ]


NOT_ALIKE = {
    "two observers": (["a", "b"], ["a_1st", "a_2nd", "b_1st", "b_2nd"]),
    "numbers go on": (["img1", "img2"], ["img10", "img20"]),
    "a number follows": (["img_1", "img_2"], ["img_1_1", "img_2_1"]),
    "letters go on": (["cat", "dog"], ["cats", "dogs"]),
    "one mask": (["cat"], ["cat_dog"]),
    "one has its image's name": (["a", "b"], ["a", "b_mask"]),
    "one has no ending": (["a", "b", "c"], ["a_mask", "b_mask", "x"]),
    "an ending of some": (["a", "b", "a_x"], ["a_x_m", "b_x_m"]),
    "a prefix": (["image_1", "image_2"], ["mask_1", "mask_2"]),
    "nothing": (["a", "b"], ["c", "d"]),
}


@pytest.mark.parametrize("case", NOT_ALIKE)
def test_nothing_is_paired_by_less_than_one_ending_of_all(case, make_files):
    images, masks = NOT_ALIKE[case]
    root = make_files(*(f"images/{i}.jpg" for i in images), *(f"masks/{m}.png" for m in masks))
    layout = find_pairs(root)
    assert named(layout) == {"train": {(m, f"{m}.png") for m in set(images) & set(masks)}}
    assert layout.faults


def test_the_longest_name_that_fits_is_the_images(make_files):
    root = make_files(
        *(f"images/{i}.jpg" for i in ("a", "a_1", "a_1_2")),
        *(f"masks/{i}_mask.png" for i in ("a", "a_1", "a_1_2")),
    )
    layout = find_pairs(root)
    assert named(layout)["train"] == {(i, f"{i}_mask.png") for i in ("a", "a_1", "a_1_2")}
    assert layout.faults == []


def test_masks_of_two_observers_are_told_apart(make_files):
    root = make_files(
        "images/a.jpg", "images/b.jpg", "masks/a_1st.png", "masks/a_2nd.png", "masks/b_1st.png"
    )
    (text,) = faults(find_pairs(root))
    assert "'_1st' (2 masks) and '_2nd' (1 masks): keep the masks of one such ending" in text


def test_images_and_masks_in_one_folder_are_refused_by_what_is_there(make_files):
    root = make_files("a.jpg", "a_mask.png")
    with pytest.raises(UserError, match="but 2 image files beside each other; lay it out as"):
        find_pairs(root)
