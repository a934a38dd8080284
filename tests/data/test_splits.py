"""Which splits a run trains and validates on."""

import pytest

from jaxseg import data
from jaxseg.data.splits import Splits, choose, find
from jaxseg.errors import UserError


def test_splits_that_are_there_are_as_the_config_says():
    sizes = {"train": 9, "val": 3, "extra": 4}
    assert choose("train", "val", sizes) == Splits("train", "val")
    assert choose("train+extra", "val[:2]", sizes) == Splits("train+extra", "val[:2]")


@pytest.mark.parametrize("missing", [("train", "test"), ("train[:60%]", "val"), ("extra", "val")])
def test_only_the_defaults_stand_for_a_share(missing):
    train, val = missing
    assert choose(train, val, {"train": 9, "extra": 4}) == Splits(train, val)


def test_other_names_of_a_split_stand_for_it():
    assert choose("train", "val", {"training": 9, "valid": 3}) == Splits("training", "valid")
    assert find("test", {"testing": 1}) == "testing"
    assert find("test", {"testing": 1, "test": 1}) == "test"
    # which of two is meant is not known: neither, nor a share of what is trained on
    both = {"train": 9, "valid": 3, "validation": 3}
    assert choose("train", "val", both) == Splits("train", "val")


@pytest.mark.parametrize("count", range(2, 60))
def test_a_share_is_what_slices_of_80_percent_are(count):
    found = choose("train", "val", {"train": count, "test": 5})
    kept = min(round(0.8 * count), count - 1)
    assert (found.train, found.val) == (f"train[:{kept}]", f"train[{kept}:]")
    assert f"{count - kept} of {count} images" in found.note


@pytest.fixture
def flat(tmp_path, pair_writer, make_mask):
    for i in range(12):
        pair_writer(tmp_path / "flat", f"a{i}", make_mask([0, 1]), seed=i)
    return tmp_path / "flat"


def test_the_share_is_a_fifth_by_hash_the_same_for_all(flat, tmp_path, make_dataset):
    dataset = make_dataset(data_dir=str(tmp_path / "out"), source=str(flat))
    splits = data.splits(dataset)

    def names(split):
        source = data.load(dataset, split)
        return [source[i]["name"] for i in range(len(source))]

    assert names(splits.train) == names("train[:80%]")
    assert names(splits.val) == names("train[80%:]")
    assert sorted(names(splits.val)) != [f"a{i}" for i in (10, 11)]  # not the last ones
    assert data.split_of(dataset, "train") == splits.train
    assert data.split_of(dataset, "val") == splits.val
    assert data.split_of(dataset, "test") == "test"
    assert data.identity(dataset).endswith(", val is train[10:]")
    for split in ("test", "validation"):
        with pytest.raises(UserError, match=f"no split '{split}'; it has train, or slices"):
            data.load(dataset, data.split_of(dataset, split))


def test_a_share_belongs_to_the_data(flat, tmp_path, make_dataset, pair_writer, make_mask):
    dataset = make_dataset(data_dir=str(tmp_path / "out"), source=str(flat))
    before = data.identity(dataset)
    assert before == data.identity(dataset)
    pair_writer(flat, "another", make_mask([0, 1]))
    assert data.identity(dataset) != before
