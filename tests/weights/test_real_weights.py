"""Published weights on real photographs. Skipped where the development data are not.

JAXSEG_DEV_DATA names their folder; the weights lie beside it.
"""

import json
import os
import shlex
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import jaxseg
from jaxseg import cli, weights
from jaxseg.ops.resize import resize

DATA = Path(os.environ.get("JAXSEG_DEV_DATA", "no/data"))
WEIGHTS = DATA.parent / "weights"
pytestmark = pytest.mark.skipif(not WEIGHTS.is_dir(), reason="no development data")

CLASSIFIERS = ("mobilenet_v2_1.0_224_imagenet_folded.npz", "efficientnet-lite0-57934424.pth")
# The right classes of ImageNet, counted from 0
PHOTOGRAPHS = {
    "voc_mini/VOCdevkit/VOC2012/JPEGImages/2007_004189.jpg": range(151, 269),  # a dog, any breed
    "voc_mini/VOCdevkit/VOC2012/JPEGImages/2007_006449.jpg": (671,),  # mountain bike
    "coco_stuff_mini/train_img/000000017914.jpg": range(281, 286),  # a cat, any
    "coco_stuff_mini/train_img/000000580986.jpg": (752,),  # racket
    "coco_stuff_mini/val_img/000000000785.jpg": (795,),  # ski
    "coco_stuff_mini/val_img/000000001818.jpg": (340,),  # zebra
}
DENSE = ("2007_006449", "000000017914", "000000001818")  # of these, two of one size
PIXEL_ACCURACY = {"2007_000129": 0.9121, "2007_004189": 0.9656, "2007_006449": 0.7024}
VOID = 255


@pytest.mark.parametrize("file", CLASSIFIERS)
def test_imagenet_classifiers_are_right_on_photographs(file, network, run_compiled):
    imported = weights.load(str(WEIGHTS / file))
    model, variables = network(imported)
    images = np.stack([_centre(DATA / photograph) for photograph in PHOTOGRAPHS])

    logits, _ = run_compiled(
        lambda variables, images: model.apply(variables, images, train=False),
        variables,
        _normalised(images, imported),
    )

    background = logits.shape[-1] - 1000  # 1 if a background class comes first, else 0
    predicted = logits.mean((1, 2)).argmax(-1) - background
    wrong = {
        p: int(k) for p, k in zip(PHOTOGRAPHS, predicted, strict=True) if k not in PHOTOGRAPHS[p]
    }
    assert wrong == {}


def test_deeplabv3_mobilenet_v2_has_its_pixel_accuracies(network, run_compiled):
    imported = weights.load(str(WEIGHTS / "deeplabv3_mobilenet_v2_voc21_folded.npz"))
    model, variables = network(imported)
    voc = DATA / "voc_mini/VOCdevkit/VOC2012"
    canvas = np.full((len(PIXEL_ACCURACY), 513, 513, 3), 127.5, np.float32)
    masks = []
    for i, name in enumerate(PIXEL_ACCURACY):
        image = np.asarray(Image.open(voc / f"JPEGImages/{name}.jpg").convert("RGB"))
        canvas[i, : image.shape[0], : image.shape[1]] = image
        masks.append(np.asarray(Image.open(voc / f"SegmentationClass/{name}.png")))

    def classes(variables, images):
        logits, _ = model.apply(variables, images, train=False)
        return resize(logits, images.shape[1:3], model.corners).argmax(-1)

    predicted = run_compiled(classes, variables, _normalised(canvas, imported))
    for (name, wanted), mask, ours in zip(PIXEL_ACCURACY.items(), masks, predicted, strict=True):
        right = np.asarray(ours)[: mask.shape[0], : mask.shape[1]] == mask
        assert right[mask != VOID].mean() == pytest.approx(wanted, abs=0.002), name


def _normalised(images, imported):
    mean, std = (np.asarray(x, np.float32) for x in (imported.mean, imported.std))
    return jnp.asarray((images - mean) / std)


def _centre(path):
    """The central 224x224 of the image, resized so that its shorter side is 256."""
    image = Image.open(path).convert("RGB")
    scale = 256 / min(image.size)
    width, height = (round(scale * n) for n in image.size)
    left, top = (width - 224) // 2, (height - 224) // 2
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image.crop((left, top, left + 224, top + 224)), np.float32)


def test_the_command_has_the_pixel_accuracies_too(tmp_path, capsys, one_device):
    """Convert, predict and evaluate, with the flags that `inspect` prints.

    The canvas is uint8: 128 stands for the mean of 127.5.
    """
    source = str(WEIGHTS / "deeplabv3_mobilenet_v2_voc21_folded.npz")
    voc, workdir = DATA / "voc_mini/VOCdevkit/VOC2012", str(tmp_path / "run")
    data = ["--data_dir", str(tmp_path / "data")]

    def jaxseg(*argv):
        assert cli.main(list(argv)) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    told = jaxseg("weights", "inspect", source)
    model, images = (line for line in told.splitlines() if "--config" in line)
    argument = shlex.split(model)[-1].removeprefix("FILE:")
    colours = shlex.split(images)[1:]
    assert len(colours) == 2
    config = ["--config", f"configs/voc.py:{argument}", *colours]
    jaxseg("weights", "convert", source, *config, "--workdir", workdir, *data)

    images = [str(voc / f"JPEGImages/{name}.jpg") for name in PIXEL_ACCURACY]
    jaxseg("predict", "--workdir", workdir, "--out", str(tmp_path / "out"), *images)
    right = counted = 0
    for name, wanted in PIXEL_ACCURACY.items():
        truth = np.asarray(Image.open(voc / f"SegmentationClass/{name}.png"))
        ours = np.asarray(Image.open(tmp_path / f"out/{name}.png"))
        hits = (ours == truth)[truth != VOID]
        assert hits.mean() == pytest.approx(wanted, abs=0.002), name
        right, counted = right + hits.sum(), counted + hits.size

    jaxseg("data", "prepare", "voc", "--source", str(voc), *data)
    jaxseg("evaluate", "--workdir", workdir, *data)
    scores = json.loads((tmp_path / "run/eval/val/0.json").read_text())
    assert scores["examples"] == len(PIXEL_ACCURACY)
    assert scores["pixel_accuracy"] == pytest.approx(right / counted, abs=1e-4)


@pytest.mark.parametrize("file", CLASSIFIERS)
def test_the_command_makes_dense_maps_of_imagenet_classifiers(file, tmp_path, capsys, one_device):
    """Convert without a config, and predict: over each photograph the right class is likeliest."""
    workdir, out = tmp_path / "run", tmp_path / "out"
    chosen = [(DATA / p, right) for p, right in PHOTOGRAPHS.items() if Path(p).stem in DENSE]

    def command(*argv):
        assert cli.main([str(word) for word in argv]) == 0, capsys.readouterr().err

    command("weights", "convert", WEIGHTS / file, "--workdir", workdir)
    command("predict", "--workdir", workdir, "--out", out, *(path for path, _ in chosen))
    model = jaxseg.load(workdir)
    background = len(model.names) - 1000
    assert model.names[340 + background] == "zebra"
    for path, right in chosen:
        found = model.predict(path)
        assert found.probabilities is not None
        likeliest = int(found.probabilities.mean((0, 1)).argmax()) - background
        assert likeliest in right, f"{path.name}: {found}"
        mask = np.asarray(Image.open(out / f"{path.stem}.png")).astype(int)
        assert mask.shape == found.image.shape[:2]
        assert (mask == found.mask).mean() > 0.999  # ties of probabilities are rounded otherwise
