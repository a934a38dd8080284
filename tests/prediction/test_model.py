"""A trained run in Python, against what its evaluation says and against the functions below it."""

import dataclasses
import io
import json
import subprocess
import sys
import warnings

import cv2
import jax
import numpy as np
import pytest
from PIL import Image

import jaxseg
from jaxseg import data
from jaxseg.data.palettes import voc_palette
from jaxseg.errors import UserError
from jaxseg.prediction.model import SizeWarning
from jaxseg.prediction.result import Prediction

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 255, (32, 32, 3), np.uint8)


@pytest.fixture(scope="module")
def model(run_with_averages):
    return jaxseg.load(run_with_averages)


def test_masks_are_those_that_the_evaluation_counted(model, run_with_averages):
    source = data.load(model.config.dataset, "val")
    confusion = np.zeros((5, 5), int)
    for i in range(len(source)):
        label = source[i]["label"]
        mask = model.predict(source[i]["image"]).mask
        valid = label != source.classes.void
        np.add.at(confusion, (label[valid], mask[valid]), 1)
    scores = json.loads((run_with_averages / "eval/val/2.json").read_text())
    assert confusion.tolist() == scores["confusion"]


@pytest.mark.parametrize("size", [(32, 32), (37, 21)])
def test_the_mask_is_the_likeliest_class(model, size):
    image = RNG.integers(0, 255, (*size, 3), np.uint8)
    found = model.predict(image)
    assert found.mask.dtype == np.int32
    assert found.mask.shape == size
    assert found.probabilities.dtype == np.float32
    assert found.probabilities.shape == (*size, 5)
    np.testing.assert_allclose(found.probabilities.sum(-1), 1, rtol=1e-5)
    np.testing.assert_array_equal(found.mask, found.probabilities.argmax(-1))
    assert len(np.unique(found.mask)) > 1
    plain = model.predict(image, probabilities=False)
    assert plain.probabilities is None
    np.testing.assert_array_equal(plain.mask, found.mask)
    assert found.names == model.names == ("background", "circle", "square", "triangle", "star")
    assert len(found.palette) == len(model.palette) == 5


def test_every_form_of_an_image_gives_the_same(model, tmp_path):
    expected = model.predict(IMAGE)
    Image.fromarray(IMAGE).save(tmp_path / "a.png")
    for form in (tmp_path / "a.png", Image.fromarray(IMAGE), IMAGE / 255):
        found = model.predict(form)
        np.testing.assert_array_equal(found.probabilities, expected.probabilities)
        np.testing.assert_array_equal(found.image, IMAGE)
    grey = IMAGE[..., 0]
    np.testing.assert_array_equal(
        model.predict(grey).mask, model.predict(np.repeat(grey[..., None], 3, -1)).mask
    )


def test_images_of_a_batch_are_predicted_as_alone(model):
    """Of several sizes that are padded to one, with blank images after them."""
    images = [RNG.integers(0, 255, (*size, 3), np.uint8) for size in ((32, 32), (20, 31), (1, 1))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SizeWarning)
        found = model.predict_batch(images, batch_size=4)
        alone = [model.predict(image) for image in images]
    for one, other in zip(found, alone, strict=True):
        assert one.mask.shape == one.image.shape[:2]
        np.testing.assert_array_equal(one.mask, other.mask)
        np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-5)
    assert model.predict_batch([]) == []
    with pytest.raises(UserError, match=r"several padded sizes \(32x32, 64x32\), expected one"):
        model.predict_batch([IMAGE, np.zeros((33, 32, 3), np.uint8)])


def test_apply_is_pure_and_gives_the_logits_of_the_probabilities(model):
    logits = jax.jit(model.apply)(model.variables, IMAGE[None])
    assert logits.shape == (1, 32, 32, 5)
    expected = model.predict(IMAGE).probabilities
    np.testing.assert_allclose(jax.nn.softmax(logits)[0], expected, atol=1e-5)

    def circle(image):
        return model.apply(model.variables, image[None])[..., 1].sum()

    gradient = jax.jit(jax.grad(circle))(IMAGE.astype(np.float32))
    assert gradient.shape == IMAGE.shape
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).max() > 0


def test_the_module_is_there_for_features(model):
    logits, features = jax.eval_shape(
        lambda images: model.module.apply(model.variables, images, train=False),
        jax.ShapeDtypeStruct((1, 32, 32, 3), "float32"),
    )
    assert logits.shape == (1, 32, 32, 5)
    assert features


def test_resizing_predicts_at_another_size_and_comes_back(model):
    large = cv2.resize(IMAGE, (96, 64), interpolation=cv2.INTER_CUBIC)
    small = cv2.resize(large, (32, 21), interpolation=cv2.INTER_AREA)
    with warnings.catch_warnings():
        warnings.simplefilter("error", SizeWarning)
        found = model.predict(large, resize=32)
        plain = model.predict(large, resize=32, probabilities=False)
        expected = cv2.resize(model.predict(small).probabilities, (96, 64))
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-6)
    np.testing.assert_array_equal(found.mask, found.probabilities.argmax(-1))
    np.testing.assert_array_equal(found.mask, plain.mask)
    assert plain.probabilities is None
    assert found.image.shape == (64, 96, 3)
    same = model.predict(large, resize="training")  # of 32x32 images
    np.testing.assert_array_equal(found.mask, same.mask)


def test_images_far_from_the_sizes_of_training_are_warned_of(model):
    with warnings.catch_warnings():
        warnings.simplefilter("error", SizeWarning)
        model.predict(IMAGE)
        model.predict(np.zeros((32, 64, 3), np.uint8))
    told = r"has 65 pixels .* 2 times .*\(32\).*resize='training'"
    for call in (model.predict, lambda image: model.predict_batch([image])):
        with pytest.warns(SizeWarning, match=told):
            call(np.zeros((32, 65, 3), np.uint8))


@pytest.mark.parametrize("resize", [0, -3, True])
def test_a_wrong_size_is_refused(model, resize):
    with pytest.raises(UserError, match=r"resize is .*, expected the longer side in pixels"):
        model.predict(IMAGE, resize=resize)


def test_a_run_that_does_not_know_its_sizes_gives_no_warning(model):
    meta = {key: value for key, value in model.run.meta.items() if key != "sizes"}
    old = jaxseg.Model(dataclasses.replace(model.run, meta=meta))
    assert old.sizes is None
    with warnings.catch_warnings():
        warnings.simplefilter("error", SizeWarning)
        old.predict(np.zeros((32, 65, 3), np.uint8), probabilities=False)
    with pytest.raises(UserError, match=r"does not tell the sizes .* give the longer side"):
        old.predict(IMAGE, resize="training")


def test_a_run_opens_at_a_step_with_changed_values(run_with_averages):
    model = jaxseg.load(str(run_with_averages), step=2, changes={"eval.canvas": (40, 50)})
    assert model.step == 2
    assert model.workdir == run_with_averages
    assert model.padded_size((1, 1)) == (40, 50)
    assert repr(model) == f"Model('{run_with_averages}', step 2: unet, 5 classes)"
    with pytest.raises(UserError, match=r"no key 'eval\.canvs'"):
        jaxseg.load(run_with_averages, changes={"eval.canvs": 3})
    with pytest.raises(UserError, match="no checkpoint of step '7'"):
        jaxseg.load(run_with_averages, step=7)


def test_views_of_one_call_and_of_the_model(model, tmp_path):
    views = {"scales": (0.5, 1.0), "flip": True, "temperature": 2.0}
    found = model.predict(IMAGE, **views)
    seen = model.with_views(**views)
    np.testing.assert_array_equal(found.probabilities, seen.predict(IMAGE).probabilities)
    assert seen.config.eval.scales == (0.5, 1.0)
    assert model.config.eval.scales == (1.0,)
    plain = model.predict(IMAGE)
    assert np.abs(found.probabilities - plain.probabilities).max() > 1e-3
    assert model.with_views() is model
    # the mean of its views, each of which is an image of its own
    turned = model.predict(np.ascontiguousarray(IMAGE[:, ::-1])).probabilities[:, ::-1]
    both = model.predict(IMAGE, flip=True).probabilities
    np.testing.assert_allclose(both, (plain.probabilities + turned) / 2, atol=1e-6)


@pytest.mark.parametrize(
    ("views", "message"),
    [
        ({"scales": ()}, r"scales is \(\), expected at least one"),
        ({"scales": (0,)}, r"scales is \(0\.0,\), expected more than 0"),
        ({"temperature": 0}, "temperature is 0.0, expected more than 0"),
        ({"temperature": "run"}, "no .*temperature.json: give a number, or fit one first"),
        ({"window": (1, 2, 3)}, "expected one number or rows and columns"),
    ],
)
def test_wrong_views_are_refused(model, views, message):
    with pytest.raises(UserError, match=message):
        model.predict(IMAGE, **views)


def prediction(height, width):
    mask = np.zeros((height, width), np.int32)
    mask[: height // 4] = 2
    image = RNG.integers(0, 255, (height, width, 3), np.uint8)
    return Prediction(mask, None, ("a", "b", "c"), voc_palette(3), 255, image)


def test_a_prediction_is_shown_as_a_picture_and_in_words(tmp_path):
    found = prediction(40, 60)
    picture = Image.open(io.BytesIO(found._repr_png_()))
    np.testing.assert_array_equal(np.asarray(picture), np.asarray(found.overlay()))
    assert repr(found) == "Prediction(60x40 pixels: a 75%, c 25%)"
    found.save(tmp_path / "a.png")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), found.mask)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_a_large_picture_is_shown_smaller(tmp_path):
    found = prediction(1500, 3000)
    assert Image.open(io.BytesIO(found._repr_png_())).width == 1024
    assert found.overlay().width == 3000


def test_training_from_python(tmp_path, tiny_config, one_device):
    """By a config or its name, with changes; the same call continues."""
    changes = {"total_steps": 2, "eval.every": 0, "augment.scale": (0.5, 1.5), "num_predictions": 0}
    scores = jaxseg.train(tiny_config, tmp_path / "a", changes=changes)
    stored = json.loads((tmp_path / "a/eval/val/2.json").read_text())
    assert scores["miou"] == stored["miou"]
    assert tiny_config.total_steps == 6  # as it was
    model = jaxseg.load(tmp_path / "a")
    assert model.step == 2
    assert model.config.augment.scale == (0.5, 1.5)
    sizes = json.loads((tmp_path / "a/run.json").read_text())["sizes"]
    assert model.sizes is not None
    assert sizes == model.sizes.to_dict()
    assert sizes == {"height": [32, 32], "width": [32, 32], "longer": [32] * 3, "scale": [0.5, 1.5]}
    flat = {
        "total_steps": 2, "batch_size": 8, "dataset.image_size": (32, 32),
        "dataset.train_examples": 20, "dataset.val_examples": 7, "augment.crop_size": (32, 32),
        "eval.every": 0, "eval.batch_size": 8, "num_predictions": 0,
    }  # fmt: skip
    named = jaxseg.train("configs/quickstart.py:unet,width=4,depth=1", tmp_path / "b", changes=flat)
    assert named.keys() == scores.keys()
    with pytest.raises(UserError, match="another config"):
        jaxseg.train(tiny_config, tmp_path / "a")
    with pytest.raises(UserError, match="no config file"):
        jaxseg.train("configs/quickstat.py", tmp_path / "c")


def test_importing_jaxseg_imports_nothing_else():
    code = (
        "import sys, jaxseg; print([m for m in ('jax', 'numpy', 'PIL') if m in sys.modules]); "
        "print(sorted(set(jaxseg.__all__) - set(dir(jaxseg))), callable(jaxseg.train)); "
        "import jaxseg.training, jaxseg.prediction; print(callable(jaxseg.train))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "[] True", "True"]
    with pytest.raises(AttributeError, match="has no attribute 'fit'"):
        _ = jaxseg.fit  # pyright: ignore[reportAttributeAccessIssue]
