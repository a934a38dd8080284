import numpy as np

from jaxseg.data import stats
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
    np.testing.assert_allclose(measured.weights, [(7 / 16) / (5 / 8), (7 / 16) / (1 / 4), 0])
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
    assert lines[1].split() == ["0", "a", "5", "83.333", "2", "0.7000"]
    assert lines[3].split() == ["2", "c", "0", "0.000", "0", "0.0000"]
    assert lines[-1] == "--config.loss.cross_entropy.class_weights='(0.7000, 1.7500, 0.0000)'"


def test_the_grid_shows_what_training_sees(array_source, make_augment):
    picture = stats.training_grid(
        array_source([(32, 32)] * 4),
        augment=make_augment(crop_size=(32, 32)),
        mean=(0, 0, 0),
        seed=0,
        examples=3,
    )
    assert picture.width > 3 * 512
    assert picture.height > 3 * 512


def test_the_grid_shows_the_weights(array_source, make_augment):
    def weigh(label):
        return np.where(np.arange(32) < 16, 0, 5).astype(np.float32) + np.zeros_like(label, "f")

    picture = stats.training_grid(
        array_source([(32, 32)]),
        augment=make_augment(crop_size=(32, 32)),
        mean=(0, 0, 0),
        seed=0,
        weigh=weigh,
        examples=1,
    )
    last = np.asarray(picture)[28 : 28 + 512, -6 - 512 : -6]
    assert (last[:, :256] == 0).all()
    assert (last[:, 256:] == 255).all()
