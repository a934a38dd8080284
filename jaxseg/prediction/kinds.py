"""What a command line names: images, videos and rasters, each predicted in its own way."""

import functools
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import cv2

from jaxseg.errors import UserError
from jaxseg.prediction import files, raster, video
from jaxseg.prediction.files import Failure, Outcome
from jaxseg.prediction.model import Model, Resize
from jaxseg.prediction.output import Output

KINDS = ("image", "video", "raster")


def kind_of(path: Path) -> str:
    """One of KINDS, by its name or, of a TIFF, its header."""
    if video.is_video(path):
        return "video"
    return "raster" if raster.is_raster(path) else "image"


def grouped(paths: Sequence[Path]) -> dict[str, list[Path]]:
    """The files of each kind that there are any of."""
    found: dict[str, list[Path]] = {}
    for path in paths:
        found.setdefault(kind_of(path), []).append(path)
    return found


def endings(kinds: Collection[str], output: Output) -> tuple[str, ...]:
    """Of all that is written for files of these kinds, for `paths.targets`."""
    more = {
        "image": output.endings,
        "video": (video.MASKS, video.OVERLAY),
        "raster": (raster.MASK,),
    }
    return tuple(dict.fromkeys(e for kind in KINDS if kind in kinds for e in more[kind]))


def check(by_kind: Mapping[str, Sequence[Path]], output: Output, resize: Resize) -> None:
    """Raise UserError for what is not for files of their kind."""
    for kind, paths in by_kind.items():
        if output.probabilities and kind != "image":
            raise UserError(
                f"--probabilities is for images, and {paths[0]} is a {kind}: leave it out"
            )
        if resize is not None and kind == "raster":
            raise UserError(f"--resize is not for rasters, and {paths[0]} is one: leave it out")


def predict(
    model: Model,
    kind: str,
    paths: Sequence[Path],
    targets: Sequence[Path],
    output: Output,
    *,
    batch_size: int = 0,
    resize: Resize = None,
) -> Outcome:
    """Predict files of one kind; arguments as in `files.predict`.

    Raises:
      OSError: a file can't be written.
    """
    if kind == "image":
        return files.predict(model, paths, targets, output, batch_size=batch_size, resize=resize)
    if kind == "raster":
        return _one_by_one(paths, targets, functools.partial(raster.predict, model))
    count = functools.partial(files.batch_of, model, output, batch_size, resize)
    how = {"count": lambda frame: count(frame)[1], "resize": resize}
    return _one_by_one(paths, targets, functools.partial(video.predict, model, **how))


def _one_by_one(
    paths: Sequence[Path], targets: Sequence[Path], function: Callable[[Path, Path], int]
) -> Outcome:
    start, units, failures = time.perf_counter(), 0, []
    for path, target in zip(paths, targets, strict=True):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            units += function(path, target)
        except (UserError, RuntimeError, ValueError, FileNotFoundError, cv2.error) as error:
            failures.append(Failure(path, files.reason_of(error, count=1)))
    seconds = time.perf_counter() - start
    return Outcome(len(paths) - len(failures), tuple(failures), seconds, units)
