"""`jaxseg predict`."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from jaxseg.cli import flags
from jaxseg.errors import IncompleteError, UserError, suggest

PROBABILITIES = ("npz", "png")


def predict(argv: Sequence[str]) -> None:
    """Label every pixel of your own images, of any size and kind, of videos and of rasters.

    jaxseg predict --workdir DIR --out OUT [--step best|latest|N] [--resize N|training]
        [--scales S,...] [--flip] [--window N|ROWS,COLS [--overlap SHARE]]
        [--temperature T|run] [--probabilities npz|png] [--batch_size N]
        [--config.KEY=VALUE ...] PATH...

      --workdir DIR            a folder that `jaxseg train` or `jaxseg weights convert` made
      --out OUT                gets NAME.png (class indices, with a palette; 16-bit grey for
                               more than 256 classes) and NAME_overlay.png;
                               a folder's subfolders are there too, and where two images have one
                               NAME, their suffix or folder is added to it
      --step STEP              best (by config.best_metric, the default), latest or a number
      --resize N|training      predict at another size, where the images' objects are larger or
                               smaller than those of the training: N pixels on the longer side, or
                               the median of the training images; masks have the images' own size
      --scales S,...           predict at each of these scales, such as 0.75,1,1.25, and average the
                               probabilities; 1 is the image as it is
      --flip                   turned left to right, too
      --window N|ROWS,COLS     by a sliding window of so many pixels, for images that are too large
                               to predict at once
      --overlap SHARE          of neighbouring windows: 0.5, or what the run's config says
      --temperature T|run      divides logits before the softmax; run: as
                               `jaxseg evaluate --fit_temperature` found
      --probabilities KIND     also those of all classes: npz (NAME.npz: float16 [h, w, c], and the
                               names) or png (16-bit grey NAME_CLASS.png, where 65535 is 1)
      --batch_size N           images of one size that pass together; by default up to 8 small ones
      --config.KEY=VALUE       predict with another value than the run's
      PATH...                  images, or folders of images, whose subfolders count too

    A video becomes NAME_overlay.mp4 and the folder NAME_masks with a PNG for every frame
    (000000.png). Stopped in between it leaves nothing, and begins anew the next time. A GeoTIFF
    (pip install jaxseg[geo]) becomes the GeoTIFF NAME.tif of class indices in the same grid,
    by windows, without --window of the size of the training's crops.

    An image that can't be read or predicted is listed at the end, and the exit code is then 1.
    In Python: `jaxseg.load(DIR).predict(image)`.

    Example:
      jaxseg predict --workdir runs/quickstart --out out photo.jpg folder/
    """
    values = flags.define()
    flags.string(values, "workdir", "out", "resize", "probabilities", step="best", batch_size="0")
    flags.string(values, "scales", "window", "overlap", "temperature")
    flags.boolean(values, "flip")
    argv, changes = flags.split_overrides(argv)
    named = flags.parse(values, "predict", argv)
    workdir = Path(flags.required(values, "predict", "workdir"))
    out = Path(flags.required(values, "predict", "out"))
    probabilities, resize = _probabilities(values), _resize(values)
    batch_size = flags.count(values, "predict", "batch_size")
    views = _views(values)
    from jaxseg.prediction import paths as image_paths

    images = image_paths.find(named, out)
    flags.set_up()
    from tqdm import tqdm

    from jaxseg import runs
    from jaxseg.prediction import files, kinds
    from jaxseg.prediction.model import Model
    from jaxseg.prediction.output import Output

    run = runs.open_run(
        workdir,
        values["step"].value,
        changes=changes,
        command="predict",
        announce=lambda text: tqdm.write(text, file=sys.stderr),
    )
    model = Model(run).with_views(**views)
    model.padded_size((1, 1), resize)  # a wrong --resize shows before anything is written
    if passed_over := images.passed_over():
        print(f"passed over in the folders: {passed_over}")
    found = [each.path for each in images.found]
    by_kind = kinds.grouped(found)
    if resize is None and (warning := files.size_warning(model, by_kind.get("image", []))):
        print(f"jaxseg: warning: {warning}", file=sys.stderr)
    output = Output(model.names, probabilities)
    kinds.check(by_kind, output, resize)
    targets = image_paths.targets(images.found, out, kinds.endings(by_kind, output))
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"can't write to --out {out}: {error.strerror}") from None
    target_of = dict(zip(found, targets, strict=True))
    outcomes = {
        kind: kinds.predict(
            model,
            kind,
            paths,
            [target_of[path] for path in paths],
            output,
            batch_size=batch_size,
            resize=resize,
        )
        for kind, paths in by_kind.items()
    }
    _report(outcomes, out)


def _views(values: Any) -> dict[str, Any]:
    """The arguments of `Model.with_views` that the flags give."""
    temperature = values["temperature"].value
    return {
        "scales": _numbers(values, "scales", float),
        "flip": values["flip"].value if values["flip"].present else None,
        "window": _numbers(values, "window", int),
        "overlap": (_numbers(values, "overlap", float) or [None])[0],
        "temperature": temperature
        if temperature == "run"
        else (_numbers(values, "temperature", float) or [None])[0],
    }


def _numbers(values: Any, name: str, kind: type) -> list[Any] | None:
    text = values[name].value
    if text is None:
        return None
    try:
        return [kind(part) for part in text.strip("()").rstrip(",").split(",")]
    except ValueError:
        numbers = "whole numbers" if kind is int else "numbers"
        raise UserError(f"predict: --{name} is {text!r}, expected {numbers}") from None


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


def _report(outcomes: Mapping[str, Any], out: Path) -> None:
    """What was done; raises IncompleteError if that is not all."""
    for kind, outcome in outcomes.items():
        if outcome.predicted:
            print(_done(kind, outcome, out))
    failures = [failure for outcome in outcomes.values() for failure in outcome.failures]
    if not failures:
        return
    for failure in failures:
        name = "" if str(failure.path) in failure.reason else f"{failure.path}: "
        print(f"{name}{failure.reason}", file=sys.stderr)
    predicted = sum(outcome.predicted for outcome in outcomes.values())
    count, total = len(failures), predicted + len(failures)
    rest = f"; the others are in {out}" if predicted else ""
    noun = "images" if list(outcomes) == ["image"] else "files"
    raise IncompleteError(f"{count} of {total} {noun} could not be predicted, see above{rest}")


def _done(kind: str, outcome: Any, out: Path) -> str:
    speed = outcome.units / outcome.seconds
    noun = kind if outcome.predicted == 1 else f"{kind}s"
    told = {
        "image": f": masks and overlays in {out}; {speed:.3g} images/s",
        "video": f", {outcome.units} frames: masks and overlays in {out}; {speed:.3g} frames/s",
        "raster": f": masks in {out}; {speed / 1e6:.3g} megapixels/s",
    }
    return f"{outcome.predicted} {noun}{told[kind]}"
