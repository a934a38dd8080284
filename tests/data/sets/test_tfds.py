"""Sets of TFDS's catalogue: records as its builders write them, made here without TensorFlow."""

import importlib.util
import io

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from jaxseg import data
from jaxseg.data import catalogue, preparation
from jaxseg.data.builder import _Info
from jaxseg.errors import UserError

TRIMAP = np.random.default_rng(0).integers(1, 4, (3, 6, 8)).astype(np.uint8)


def png(pixels):
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return io.BytesIO(out.getvalue())


class OxfordIiitPet(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """With the features of the catalogue's builder of that name that are read."""

    VERSION = tfds.core.Version("4.0.0")
    name = "oxford_iiit_pet"
    url_infos = None

    def _info(self):
        features = {
            "image": tfds.features.Image(),
            "file_name": tfds.features.Text(),
            "segmentation_mask": tfds.features.Image(shape=(None, None, 1)),
        }
        return _Info(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for i, trimap in enumerate(TRIMAP):
            image = np.full((6, 8, 3), i, np.uint8)
            yield (
                i,
                {"image": png(image), "file_name": f"a_{i}.jpg", "segmentation_mask": png(trimap)},
            )


@pytest.fixture
def dataset(tmp_path, make_dataset):
    from jaxseg.defaults import Dataset

    return lambda builder: Dataset(
        name="tfds", data_dir=str(tmp_path), options={"builder": builder}
    )


def test_a_prepared_set_is_read_as_ours_are(dataset, tmp_path):
    OxfordIiitPet(data_dir=tmp_path, file_format="array_record").download_and_prepare()
    source = data.load(dataset("oxford_iiit_pet"), "train")
    assert source.classes.names == ("pet", "background", "border")
    assert len(source) == 3
    for example in (source[i] for i in range(3)):
        i = int(example["name"].removeprefix("a_"))
        np.testing.assert_array_equal(example["label"], TRIMAP[i].astype(int) - 1)
        assert (example["image"] == i).all()
    assert source.size(0) == (6, 8)
    assert len(data.load(dataset("oxford_iiit_pet"), "train[1:]")) == 2
    with pytest.raises(UserError, match="has no split 'val'"):
        data.load(dataset("oxford_iiit_pet"), "val")


@pytest.mark.parametrize(
    ("builder", "said"),
    [
        ("cityscapes", r"cityscapes is not prepared in .*data prepare tfds --builder cityscapes"),
        ("oxford_iiit_pets", "did you mean 'oxford_iiit_pet'"),
        ("scene_parse150", "prepare ade20k from"),
    ],
)
def test_what_is_not_there_says_what_to_do(builder, said, dataset):
    with pytest.raises(UserError, match=said):
        data.load(dataset(builder), "train")


def test_preparing_needs_tensorflow_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs TensorFlow: pip install 'jaxseg\[prepare\]'"):
        catalogue.prepare("cityscapes", None, tmp_path)


def test_preparing_is_tfds_own(tmp_path, monkeypatch):
    """By a stand-in of the catalogue's builder; TensorFlow is not installed where tests run."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(tfds, "builder", lambda name, **options: OxfordIiitPet(**options))
    said = catalogue.prepare("oxford_iiit_pet", None, tmp_path)
    assert said.startswith("oxford_iiit_pet: train 3 examples in ")
    monkeypatch.setattr(tfds, "builder", lambda name, **options: Broken())
    with pytest.raises(UserError, match="TFDS could not prepare oxford_iiit_pet: no network"):
        catalogue.prepare("oxford_iiit_pet", None, tmp_path)


@pytest.mark.parametrize("name", ["cityscapes", "voc"])
def test_our_sets_do_not_hide_those_of_the_catalogue(name):
    assert not issubclass(tfds.builder_cls(name), preparation.module(name).Builder)


class Broken:
    def download_and_prepare(self, **options):
        raise ConnectionError("no network")
