import numpy as np

from jaxseg import data
from jaxseg.data import digests, stats
from jaxseg.data.source import Classes, Example


class Two:
    """Two images of four pixels: class 2 is in neither, class 1 in one."""

    classes = Classes(("a", "b", "c"), ((0, 0, 0), (9, 9, 9), (5, 5, 5)))
    labels = np.array([[[0, 0], [0, 1]], [[0, 0], [255, 255]]], np.int32)
    images = np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3)

    def __len__(self):
        return 2

    def size(self, index: int, /) -> tuple[int, int]:
        return 2, 2

    def __getitem__(self, index: int, /) -> Example:
        return {"image": self.images[index], "label": self.labels[index], "name": str(index)}


def test_by_hand():
    measured = stats.measure(Two())
    assert measured.pixels.tolist() == [5, 1, 0]
    assert measured.void_pixels == 2
    assert measured.images_with.tolist() == [2, 1, 0]
    # freq: 5/8 and 1/4, median 7/16
    weights = measured.weights("median_frequency")
    np.testing.assert_allclose(weights, [(7 / 16) / (5 / 8), (7 / 16) / (1 / 4), 0])
    np.testing.assert_allclose(measured.mean, Two.images.reshape(-1, 3).mean(0))
    np.testing.assert_allclose(measured.std, Two.images.reshape(-1, 3).std(0))


def test_the_images_may_have_any_channels_and_16_bits():
    class Deep(Two):
        images = np.random.default_rng(0).integers(0, 65536, (2, 2, 2, 7), np.uint16)

    measured = stats.measure(Deep())
    np.testing.assert_allclose(measured.mean, Deep.images.reshape(-1, 7).mean(0))
    np.testing.assert_allclose(measured.std, Deep.images.reshape(-1, 7).std(0))


def test_the_table_has_a_line_a_class():
    lines = stats.measure(Two()).table().splitlines()
    assert lines[0].split()[-3:] == ["median_frequency", "root_median_frequency", "inverse_log"]
    assert lines[1].split() == ["0", "a", "5", "83.333", "2", "0.7000", "0.8367", "1.6208"]
    assert lines[3].split() == ["2", "c", "0", "0.000", "0", "0.0000", "0.0000", "0.0000"]
    assert "--config.loss.cross_entropy.class_weights=median_frequency" in lines[-1]


def test_the_parts_of_a_split_add_up_to_it(array_source):
    source = array_source([(4 + i, 9) for i in range(7)])
    whole = stats.measure(source)
    rows = np.array([stats.measure(source, part=(i, 3)).row() for i in range(3)])
    together = stats.Stats.from_rows(source.classes, rows)
    assert (together.images, together.void_pixels) == (7, whole.void_pixels)
    for counted in ("pixels", "images_with", "where_present"):
        np.testing.assert_array_equal(getattr(together, counted), getattr(whole, counted))
    np.testing.assert_allclose(together.mean, whole.mean)
    np.testing.assert_allclose(together.std, whole.std)


def test_what_was_counted_is_kept_for_the_same_data_split_and_classes(
    folder, tmp_path, make_dataset, pair_writer, make_mask
):
    def dataset(**changes):
        return make_dataset(data_dir=str(tmp_path / "out"), source=str(folder), **changes)

    def stored(split="train", **changes):
        classes = data.load(dataset(**changes), split).classes
        return stats.stored(dataset(**changes), split, classes)

    assert stored() is None
    counted = stats.measure(data.load(dataset(), "train"))
    stats.store(dataset(), "train", counted)
    again = stored()
    assert again is not None
    np.testing.assert_allclose(again.row(), counted.row(), rtol=1e-12)
    assert again.table() == counted.table()
    directory = data.resolve(dataset())
    assert directory is not None
    contents = digests.contents(directory)
    digests.store_contents(directory, {**contents, "train": "0" * 16})
    assert stored() is None
    digests.store_contents(directory, contents)
    assert stored() is not None
    assert stored("val") is None
    assert stored("train[:60%]") is None
    merged = ("class_0", ("rest", "class_1", "class_2"))
    counted = stats.measure(data.load(dataset(label_map=merged), "train"))
    stats.store(dataset(label_map=merged), "train", counted)
    assert stored(label_map=merged) is not None
    assert stored(label_map=("class_0", ("rest", "class_1"))) is None
    pair_writer(folder / "train", "t9", make_mask([0, 1, 2]))
    assert stored() is None
    assert stats.stored(make_dataset(name="shapes"), "train", Two.classes) is None
