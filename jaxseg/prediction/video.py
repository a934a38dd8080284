"""Videos, a few frames at a time: one with the classes painted over it, and a mask PNG a frame.

Both are begun under hidden names and get their own when the last frame is written: a command that
is interrupted leaves nothing that looks complete, and the next one starts the video anew.
"""

import contextlib
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8
from tqdm import tqdm

from jaxseg import drawing, files
from jaxseg.errors import UserError
from jaxseg.prediction.model import Model, Resize
from jaxseg.prediction.paths import VIDEO_SUFFIXES

MASKS, OVERLAY = "_masks", "_overlay.mp4"  # a folder of 000000.png and so on, and a video
_RATE = 25.0  # frames a second, where a video does not tell
_CODEC = "mp4v"  # MPEG-4 part 2, which OpenCV's builds have everywhere


def is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES


def predict(
    model: Model,
    path: Path,
    target: Path,
    *,
    count: Callable[[UInt8[np.ndarray, "h w 3"]], int],
    resize: Resize = None,
) -> int:
    """Predict every frame of `path`, and write the results beside `target`, all or none.

    Args:
      model: what predicts.
      path: of the video.
      target: the results' path without `MASKS` and `OVERLAY`.
      count: how many such frames pass together.
      resize: of `Model.predict`.

    Returns:
      The number of frames.

    Raises:
      UserError: OpenCV can't read it, it has no frames, or fewer than it says.
    """
    done = 0
    with (
        _opened(path) as video,
        files.replacing(target.with_name(target.name + OVERLAY)) as partial,
        files.replacing_folder(target.with_name(target.name + MASKS)) as folder,
    ):
        said = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
        with (
            _Overlay(partial, video.get(cv2.CAP_PROP_FPS)) as overlay,
            tqdm(total=max(said, 0) or None, unit="frame", disable=None, leave=False) as bar,
        ):
            for batch in _batches(_frames(video), count):
                found = model.predict_batch(
                    batch, probabilities=False, resize=resize, batch_size=count(batch[0])
                )
                for prediction in found:
                    drawing.write_index_png(
                        folder / f"{done:06}.png", prediction.mask, model.classes
                    )
                    overlay.write(
                        drawing.painted(prediction.image, prediction.mask, model.classes)[0]
                    )
                    done += 1
                    bar.update()
        if not done:
            raise UserError(f"{path}: no frame in it can be read")
        if done < said - max(2, said // 100):  # containers are off by one or two
            raise UserError(f"{path}: ends after {done} of {said} frames: it is damaged")
        overlay.check(done)
    return done


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[cv2.VideoCapture]:
    with path.open("rb"):  # says better what is wrong with a path
        pass
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # it talks of every damaged file
    video = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    try:
        if not video.isOpened():
            raise UserError(f"{path}: OpenCV can't read it as a video; convert it to H.264 in .mp4")
        yield video
    finally:
        video.release()


def _frames(video: cv2.VideoCapture) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    while True:
        found, frame = video.read()
        if not found:
            return
        yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)


def _batches(
    frames: Iterator[np.ndarray], count: Callable[[np.ndarray], int]
) -> Iterator[list[np.ndarray]]:
    for first in frames:
        yield [first, *itertools.islice(frames, count(first) - 1)]


class _Overlay:
    """A video that is written frame by frame; the first frame says its size."""

    def __init__(self, path: Path, rate: float):
        self._path = path
        self._rate = rate if 0 < rate < 1000 else _RATE  # NaN too
        self._writer: cv2.VideoWriter | None = None

    def __enter__(self) -> "_Overlay":
        return self

    def write(self, picture: UInt8[np.ndarray, "h w 3"]) -> None:
        height, width = picture.shape[:2]
        # encoders want even sides
        even = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        if self._writer is None:
            code = cv2.VideoWriter.fourcc(*_CODEC)
            size = (even.shape[1], even.shape[0])
            self._writer = cv2.VideoWriter(str(self._path), code, self._rate, size)
            self._path.touch()  # which `replacing` expects
            if not self._writer.isOpened():
                raise UserError(f"{self._path}: OpenCV can't write a video of {size[0]}x{size[1]}")
        self._writer.write(cv2.cvtColor(even, cv2.COLOR_RGB2BGR))

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.release()

    def check(self, frames: int) -> None:
        """Raise OSError unless all frames are in the file: OpenCV is silent when a disk is full."""
        video = cv2.VideoCapture(str(self._path))
        written = int(video.get(cv2.CAP_PROP_FRAME_COUNT)) if video.isOpened() else 0
        video.release()
        if written != frames:
            raise OSError(
                f"{self._path}: {written} of {frames} frames were written; is the disk full?"
            )
