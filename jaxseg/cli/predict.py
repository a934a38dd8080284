"""`jaxseg predict`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from jaxseg.cli import flags
from jaxseg.errors import IncompleteError, UserError, suggest

PROBABILITIES = ("npz", "png")


def predict(argv: Sequence[str]) -> None:
    """Label every pixel of your own images, of any size and kind.

    jaxseg predict --workdir DIR --out OUT [--step best|latest|N] [--resize N|training]
        [--probabilities npz|png] [--batch_size N] [--config.KEY=VALUE ...] PATH...

      --workdir DIR            a folder that `jaxseg train` or `jaxseg weights convert` made
      --out OUT                gets NAME.png (class indices, with a palette; 16-bit grey for
                               more than 256 classes) and NAME_overlay.png;
                               a folder's subfolders are there too, and where two images have one
                               NAME, their suffix or folder is added to it
      --step STEP              best (by config.best_metric, the default), latest or a number
      --resize N|training      predict at another size, where the images' objects are larger or
                               smaller than those of the training: N pixels on the longer side, or
                               the median of the training images; masks have the images' own size
      --probabilities KIND     also those of all classes: npz (NAME.npz: float16 [h, w, c], and the
                               names) or png (16-bit grey NAME_CLASS.png, where 65535 is 1)
      --batch_size N           images of one size that pass together; by default up to 8 small ones
      --config.KEY=VALUE       predict with another value than the run's
      PATH...                  images, or folders of images, whose subfolders count too

    An image that can't be read or predicted is listed at the end, and the exit code is then 1.
    In Python: `jaxseg.load(DIR).predict(image)`.

    Example:
      jaxseg predict --workdir runs/quickstart --out out photo.jpg folder/
    """
    values = flags.define()
    flags.string(values, "workdir", "out", "resize", "probabilities", step="best", batch_size="0")
    argv, changes = flags.split_overrides(argv)
    named = flags.parse(values, "predict", argv)
    workdir = Path(flags.required(values, "predict", "workdir"))
    out = Path(flags.required(values, "predict", "out"))
    probabilities, resize = _probabilities(values), _resize(values)
    batch_size = flags.count(values, "predict", "batch_size")
    from jaxseg.prediction import paths as image_paths

    images = image_paths.find(named, out)
    flags.set_up()
    from tqdm import tqdm

    from jaxseg import runs
    from jaxseg.prediction import files
    from jaxseg.prediction.model import Model
    from jaxseg.prediction.output import Output

    run = runs.open_run(
        workdir,
        values["step"].value,
        changes=changes,
        command="predict",
        announce=lambda text: tqdm.write(text, file=sys.stderr),
    )
    model = Model(run)
    model.padded_size((1, 1), resize)  # a wrong --resize shows before anything is written
    if passed_over := images.passed_over():
        print(f"passed over in the folders: {passed_over}")
    found = [each.path for each in images.found]
    if resize is None and (warning := files.size_warning(model, found)):
        print(f"jaxseg: warning: {warning}", file=sys.stderr)
    output = Output(model.names, probabilities)
    targets = image_paths.targets(images.found, out, output.endings)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"can't write to --out {out}: {error.strerror}") from None
    outcome = files.predict(model, found, targets, output, batch_size=batch_size, resize=resize)
    _report(outcome, out)


def _probabilities(values: Any) -> str | None:
    kind = values["probabilities"].value
    if kind is not None and kind not in PROBABILITIES:
        raise UserError(f"predict: --probabilities is {kind!r}; {suggest(kind, PROBABILITIES)}")
    return kind


def _resize(values: Any) -> int | Literal["training"] | None:
    text = values["resize"].value
    if text is None or text == "training":
        return text
    if not text.isdecimal() or int(text) < 1:
        raise UserError(
            f"predict: --resize is {text!r}, expected pixels on the longer side, or training"
        )
    return int(text)


def _report(outcome: Any, out: Path) -> None:
    """What was done; raises IncompleteError if that is not all."""
    speed = f"{outcome.predicted / outcome.seconds:.3g} images/s"
    if outcome.predicted:
        noun = "image" if outcome.predicted == 1 else "images"
        print(f"{outcome.predicted} {noun}: masks and overlays in {out}; {speed}")
    if not outcome.failures:
        return
    for failure in outcome.failures:
        name = "" if str(failure.path) in failure.reason else f"{failure.path}: "
        print(f"{name}{failure.reason}", file=sys.stderr)
    count, total = len(outcome.failures), outcome.predicted + len(outcome.failures)
    rest = f"; the others are in {out}" if outcome.predicted else ""
    raise IncompleteError(f"{count} of {total} images could not be predicted, see above{rest}")
