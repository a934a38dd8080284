"""Predicting many files: none is in the way of the others, and nothing is written by half."""

import dataclasses
import functools
import os
import threading
import zipfile

import numpy as np
import pytest
from PIL import Image

import jaxseg
from jaxseg import drawing
from jaxseg.errors import UserError
from jaxseg.prediction import files as prediction_files
from jaxseg.prediction.output import Output

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def model(run_with_averages):
    return jaxseg.load(run_with_averages)


@pytest.fixture
def images(tmp_path):
    """Writes images of these sizes; returns their paths."""

    def write(*sizes):
        paths = [tmp_path / f"{i}.png" for i in range(len(sizes))]
        for path, size in zip(paths, sizes, strict=True):
            Image.fromarray(RNG.integers(0, 255, (*size, 3), np.uint8)).save(path)
        return paths

    return write


def counted(model):
    """`model`, and the shapes of the batches that pass through it."""
    shapes, step = [], model.run.program.predict_step

    def counted(variables, batch):
        shapes.append(batch["image"].shape)
        return step(variables, batch)

    program = dataclasses.replace(model.run.program, predict_step=counted)
    return jaxseg.Model(dataclasses.replace(model.run, program=program)), shapes


def written(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def run(model, paths, out, output=None, **options):
    targets = [out / path.stem for path in paths]
    return prediction_files.predict(model, paths, targets, output or Output(model.names), **options)


def test_images_of_one_size_pass_together_and_one_program_serves_a_size(
    model, images, tmp_path, monkeypatch
):
    paths = images(*[(32, 32)] * 5, *[(40, 30)] * 2, (20, 32))
    model, shapes = counted(model)
    outcome = run(model, paths, tmp_path / "out", batch_size=4)
    assert (outcome.predicted, outcome.failures) == (8, ())
    # 32x32: 4 of 6, then 2 filled up to 4; 64x32: both
    assert sorted(shapes) == [(2, 64, 32, 3), (4, 32, 32, 3), (4, 32, 32, 3)]
    for path in paths:
        mask = np.asarray(Image.open(tmp_path / "out" / path.name))
        expected = model.predict(path, probabilities=False)
        np.testing.assert_array_equal(mask, expected.mask)
        overlay = np.asarray(Image.open(tmp_path / "out" / f"{path.stem}_overlay.png"))
        np.testing.assert_array_equal(overlay, np.asarray(expected.overlay()))


def test_large_images_pass_alone(model, images, tmp_path, monkeypatch):
    model, shapes = counted(model)
    monkeypatch.setattr(prediction_files, "_BATCH_PIXELS", 3 * 32 * 32)
    run(model, images((64, 64), (32, 64), (32, 64), *[(32, 32)] * 4), tmp_path / "out")
    assert shapes == [
        (1, 64, 64, 3),
        (1, 32, 64, 3),
        (1, 32, 64, 3),
        (3, 32, 32, 3),
        (3, 32, 32, 3),
    ]


def test_few_images_wait_for_others_of_their_size(model, images, tmp_path, monkeypatch):
    model, shapes = counted(model)
    monkeypatch.setattr(prediction_files, "_BATCH_PIXELS", 8 * 32 * 32)
    monkeypatch.setattr(prediction_files, "_WAITING", 1)
    run(model, images(*[(32, 32)] * 2, *[(32, 64)] * 4), tmp_path / "out")
    # batches of 8 and of 4 would be full: with four images waiting, the first of them go
    assert shapes == [(2, 32, 32, 3), (4, 32, 64, 3)]


def test_a_bad_image_is_no_reason_to_stop(model, images, tmp_path, monkeypatch):
    paths = images(*[(32, 32)] * 4)
    data = paths[1].read_bytes()
    paths[1].write_bytes(data[: len(data) // 2])
    paths[2].write_bytes(b"")
    paths.append(tmp_path / "gone.png")
    outcome = run(model, paths, tmp_path / "out")
    assert outcome.predicted == 2
    reasons = {failure.path.name: failure.reason for failure in outcome.failures}
    assert reasons.keys() == {"1.png", "2.png", "gone.png"}
    assert "truncated" in reasons["1.png"]
    assert "empty" in reasons["2.png"]
    assert reasons["gone.png"] == "No such file or directory"
    assert written(tmp_path / "out") == ["0.png", "0_overlay.png", "3.png", "3_overlay.png"]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (UserError("193 pixels at least"), "193 pixels at least"),
        (
            RuntimeError("RESOURCE_EXHAUSTED: Out of memory"),
            "the device is out of memory: --batch_size=1, or --resize=N",
        ),
    ],
)
def test_what_the_model_can_not_do_fails_its_batch_alone(
    error, reason, model, images, tmp_path, monkeypatch
):
    step = model.run.program.predict_step

    def fails(variables, batch):
        if batch["image"].shape[1] == 64:
            raise error
        return step(variables, batch)

    program = dataclasses.replace(model.run.program, predict_step=fails)
    model = jaxseg.Model(dataclasses.replace(model.run, program=program))
    outcome = run(model, images((32, 32), (64, 32), (60, 30)), tmp_path / "out")
    assert outcome.predicted == 1
    assert [failure.path.name for failure in outcome.failures] == ["1.png", "2.png"]
    assert all(reason in failure.reason for failure in outcome.failures)


def test_a_mistake_of_ours_is_not_taken_for_a_bad_image(model, images, tmp_path, monkeypatch):
    def broken(*args, **kwargs):
        raise RuntimeError("a bug")

    monkeypatch.setattr(jaxseg.Model, "predict_batch", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        run(model, images((32, 32)), tmp_path / "out")


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_nothing_is_written_by_half(error, model, images, tmp_path, monkeypatch):
    """A full disk, or Ctrl-C while a mask is being written."""
    write, begun = drawing.write_index_png, threading.Event()

    def half(path, mask, classes):
        write(path, mask, classes)
        if begun.is_set():
            os.truncate(path, path.stat().st_size // 2)
            raise error
        begun.set()

    monkeypatch.setattr(drawing, "write_index_png", half)
    with pytest.raises(type(error)):
        run(model, images(*[(32, 32)] * 9), tmp_path / "out", batch_size=2)
    for name in written(tmp_path / "out"):
        assert not name.startswith(".")
        Image.open(tmp_path / "out" / name).load()
    assert len(list((tmp_path / "out").glob("?.png"))) == 1


def test_probabilities_in_one_file(model, images, tmp_path):
    (path,) = images((21, 30))
    output = Output(model.names, "npz")
    run(model, [path], tmp_path / "out", output)
    assert written(tmp_path / "out") == ["0.npz", "0.png", "0_overlay.png"]
    with np.load(tmp_path / "out/0.npz") as stored:
        assert stored["names"].tolist() == list(model.names)
        found = stored["probabilities"]
    assert found.dtype == np.float16
    expected = model.predict(path)
    np.testing.assert_allclose(found, expected.probabilities, atol=3e-4)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out/0.png")), expected.mask)
    with zipfile.ZipFile(tmp_path / "out/0.npz") as archive:
        assert {each.compress_type for each in archive.infolist()} == {zipfile.ZIP_DEFLATED}


def test_probabilities_in_a_picture_for_each_class(model, images, tmp_path):
    (path,) = images((21, 30))
    run(model, [path], tmp_path / "out", Output(model.names, "png"))
    assert written(tmp_path / "out") == sorted(
        ["0.png", "0_overlay.png", *(f"0_{name}.png" for name in model.names)]
    )
    expected = model.predict(path).probabilities
    for index, name in enumerate(model.names):
        picture = Image.open(tmp_path / f"out/0_{name}.png")
        assert picture.mode == "I;16"
        np.testing.assert_allclose(
            np.asarray(picture) / 65535, expected[..., index], atol=0.51 / 65535
        )


@pytest.mark.parametrize(
    ("names", "endings"),
    [
        (("sky", "road sign"), ("_sky.png", "_road_sign.png")),
        (("a/b", "a b"), ("_0_a_b.png", "_1_a_b.png")),
        (("Cardigan", "cardigan"), ("_0_Cardigan.png", "_1_cardigan.png")),
        (("sky", "overlay"), ("_0_sky.png", "_1_overlay.png")),
    ],
)
def test_the_files_of_classes_have_different_names(names, endings):
    output = Output(names, "png")
    assert output.class_endings == endings
    assert output.endings == (".png", "_overlay.png", *endings)
    assert Output(names).endings == (".png", "_overlay.png")


def test_probabilities_make_smaller_batches(model, monkeypatch):
    """They take memory for every class, as resizing does, which needs them."""
    monkeypatch.setattr(prediction_files, "_BATCH_SCORES", 3 * 64 * 64 * 5)
    image = np.zeros((64, 64, 3), np.uint8)
    masks, scores = Output(model.names), Output(model.names, "npz")
    size = functools.partial(prediction_files.batch_of, model)
    assert size(masks, 0, None, image) == ((64, 64), 8)
    assert size(scores, 0, None, image) == ((64, 64), 3)
    assert size(scores, 7, None, image) == ((64, 64), 7)  # as it was asked for
    assert size(masks, 0, 32, image) == ((32, 32), 3)


def test_images_far_from_the_training_are_named_once(model, images):
    paths = images((32, 32), (32, 65), (100, 32))
    told = prediction_files.size_warning(model, paths)
    assert told is not None
    assert told.startswith(f"{paths[1]} (one of 2 such images of 3) has 65 pixels")
    assert "--resize=training" in told
    assert prediction_files.size_warning(model, paths[:1]) is None
