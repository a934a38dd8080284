"""`jaxseg predict`."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jaxseg.cli import flags
from jaxseg.errors import UserError


def predict(argv: Sequence[str]) -> None:
    """Label every pixel of your own images, of any size and kind.

    jaxseg predict --workdir DIR --out OUT [--step best|latest|N] [--config.KEY=VALUE ...] PATH...

      --workdir DIR            a folder that `jaxseg train` made
      --out OUT                gets NAME.png (class indices, with a palette) and NAME_overlay.png
      --step STEP              best (by validation mIoU, the default), latest or a number
      --config.KEY=VALUE       predict with another value than the run's
      PATH...                  images, or folders of images

    Example:
      jaxseg predict --workdir runs/quickstart --out out photo.jpg folder/
    """
    values = flags.define()
    flags.string(values, "workdir", "out", step="best")
    argv, changes = flags.split_overrides(argv)
    paths = flags.parse(values, "predict", argv)
    workdir = Path(flags.required(values, "predict", "workdir"))
    out = Path(flags.required(values, "predict", "out"))
    files = find_images(paths, out)
    flags.set_up()
    from jaxseg import hosts, inference, runs

    run = runs.open_run(
        workdir, values["step"].value, changes=changes, command="predict", announce=hosts.announce
    )

    def classify(image: Any) -> Any:
        step, variables = run.program.predict_step, run.state.eval_variables
        return inference.predict_image(step, variables, image, run.config)

    predict_files(classify, run.classes, files, out)
    print(f"{len(files)} images: masks and overlays in {out}")


def predict_files(
    classify: Callable[[Any], Any], classes: Any, files: Sequence[Path], out: Path
) -> None:
    """Write NAME.png (class indices) and NAME_overlay.png for every image.

    Args:
      classify: an image, uint8 [h, w, 3], to the class of every pixel, [h, w].
      classes: the run's `Classes`.
      files: images.
      out: the folder to write to.

    Raises:
      UserError: a file is no image, or `out` can't be written.
    """
    from tqdm import tqdm

    from jaxseg import drawing
    from jaxseg.data.images import read_image

    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"can't write to --out {out}: {error.strerror}") from None
    for file in tqdm(files, unit="image", disable=None, leave=False):
        image = read_image(file, str(file))
        mask = classify(image)
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
    from jaxseg.data.layout import SUFFIXES

    found = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES)
    if not found:
        raise UserError(f"no images in {path}: expected files such as .jpg, .png or .tif")
    return found
