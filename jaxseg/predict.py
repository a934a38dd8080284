"""Masks and pictures for images: a user's own files, or a few examples of a data set."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8
from tqdm import tqdm

from jaxseg import drawing
from jaxseg.data import padding, pipeline
from jaxseg.data.images import read_image
from jaxseg.data.layout import SUFFIXES
from jaxseg.data.source import Classes, Source
from jaxseg.defaults import Config
from jaxseg.errors import UserError
from jaxseg.program import Program
from jaxseg.state import TrainState


def predict(
    program: Program, config: Config, state: TrainState, image: UInt8[np.ndarray, "h w 3"]
) -> Int[np.ndarray, "h w"]:
    """The class of every pixel, at the image's own size."""
    height, width = image.shape[:2]
    # Padded as evaluation pads, so that few shapes compile and the numbers agree.
    padded = padding.padded_size(
        (height, width), canvas=config.eval.canvas, multiple=config.eval.size_multiple
    )
    batch = np.empty((1, *padded, 3), np.uint8)
    batch[:] = padding.mean_pixel(config.dataset.mean)
    batch[0, :height, :width] = image
    size = np.array([[height, width]], np.int32)
    mask = program.predict_step(state.eval_variables, {"image": batch, "size": size})
    return np.asarray(mask)[0, :height, :width]


def draw(
    program: Program, config: Config, state: TrainState, source: Source, workdir: Path
) -> Path | None:
    """`predictions/NAME.png` of a few examples: image, truth, prediction; returns the last path."""
    path, size = None, len(source)
    count = min(config.num_predictions, size)
    skipped = pipeline.Skipped(print) if config.pipeline.on_unreadable == "skip" else None
    # Spread over the split, which is often sorted by scene.
    for index in np.linspace(0, size - 1, count).round().astype(int).tolist():
        candidates = [*range(index, size), *range(index)]
        _, example = pipeline.next_readable(source, candidates, skipped)
        prediction = predict(program, config, state, example["image"])
        row = (
            example["image"],
            drawing.overlay(example["image"], example["label"], source.classes),
            drawing.overlay(example["image"], prediction, source.classes),
        )
        path = workdir / "predictions" / f"{example['name']}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        drawing.grid([row], titles=("image", "truth", "prediction")).save(path)
    return path


def predict_files(
    program: Program,
    config: Config,
    state: TrainState,
    classes: Classes,
    files: Sequence[Path],
    out: Path,
) -> None:
    """Write `<stem>.png` (class indices) and `<stem>_overlay.png` for every image.

    Raises:
      UserError: a file is no image, or `out` can't be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"can't write to --out {out}: {error.strerror}") from None
    for file in tqdm(files, unit="image", disable=None, leave=False):
        image = read_image(file, str(file))
        mask = predict(program, config, state, image)
        mask_path, overlay_path = outputs(file, out)
        drawing.write_index_png(mask_path, mask, classes)
        drawing.overlay(image, mask, classes).save(overlay_path)


def find_images(paths: Sequence[str], out: Path) -> list[Path]:
    """The files named, and the images in the folders named.

    Raises:
      UserError: a path does not exist, a folder has no images, or a picture in `out` would take
        the place of an image or of another picture.
    """
    if not paths:
        raise UserError("no images given: name files or folders after the flags")
    files = [file for path in paths for file in _files(Path(path))]
    written: dict[Path, Path] = {}
    for file in files:
        for path in outputs(file, out):
            if path.resolve() in {f.resolve() for f in files}:
                raise UserError(f"{path} is one of the images: choose another --out than {out}")
            if other := written.get(path):
                raise UserError(
                    f"{other} and {file} would both write {path}: use two --out folders"
                )
            written[path] = file
    return files


def outputs(file: Path, out: Path) -> tuple[Path, Path]:
    """The mask and the overlay that are written for `file`."""
    return out / f"{file.stem}.png", out / f"{file.stem}_overlay.png"


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(f"no file or folder {str(path)!r}")
    found = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES)
    if not found:
        raise UserError(f"no images in {path}: expected files such as .jpg, .png or .tif")
    return found
