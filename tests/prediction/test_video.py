"""Videos: every frame as it would be predicted alone, and nothing that only looks complete."""

import cv2
import numpy as np
import pytest
from PIL import Image

import jaxseg
from jaxseg import drawing
from jaxseg.errors import UserError
from jaxseg.prediction import video


@pytest.fixture(scope="module")
def model(run_with_averages):
    return jaxseg.load(run_with_averages)


@pytest.fixture
def clip(tmp_path):
    """Writes a video of so many frames of blocks; returns its path."""

    def write(name, frames, size=(32, 46), code="MJPG"):
        rng = np.random.default_rng(0)
        path = tmp_path / name
        out = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), 12.0, size[::-1])
        for _ in range(frames):
            blocks = rng.integers(0, 255, (4, 4, 3), np.uint8)
            out.write(cv2.resize(blocks, size[::-1], interpolation=cv2.INTER_NEAREST))
        out.release()
        return path

    return write


def frames_of(path):
    capture = cv2.VideoCapture(str(path))
    frames = []
    while (read := capture.read())[0]:
        frames.append(cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB))
    return frames, capture.get(cv2.CAP_PROP_FPS)


def test_every_frame_has_its_mask_and_is_painted(model, clip, tmp_path):
    path = clip("clip.avi", 5)
    frames, _ = frames_of(path)
    seen = []

    def count(frame):
        seen.append(frame.shape)
        return 2

    assert video.predict(model, path, tmp_path / "out", count=count) == 5
    assert set(seen) == {(32, 46, 3)}
    names = sorted(mask.name for mask in (tmp_path / "out_masks").iterdir())
    assert names == [f"{i:06}.png" for i in range(5)]
    painted, rate = frames_of(tmp_path / "out_overlay.mp4")
    assert (len(painted), rate) == (5, 12.0)
    for index, frame in enumerate(frames):
        expected = model.predict(frame, probabilities=False)
        mask = np.asarray(Image.open(tmp_path / f"out_masks/{index:06}.png"))
        np.testing.assert_array_equal(mask, expected.mask)
        picture, _ = drawing.painted(frame, expected.mask, model.classes)
        height, width = picture.shape[:2]
        got = painted[index]
        assert got.shape == (height + height % 2, width + width % 2, 3)
        difference = np.abs(got[:height, :width].astype(int) - picture)  # it is compressed
        assert difference.mean() < 12
    assert len({mask.read_bytes() for mask in (tmp_path / "out_masks").iterdir()}) > 1


def test_an_earlier_result_stays_until_the_new_one_is_complete(model, clip, tmp_path, monkeypatch):
    """A command that is stopped or killed leaves nothing half; the next one begins anew."""
    long, short = clip("long.avi", 6), clip("short.avi", 3)
    video.predict(model, long, tmp_path / "out", count=lambda _: 4)
    before = (tmp_path / "out_overlay.mp4").read_bytes()
    (tmp_path / ".partial-out_masks").mkdir()
    (tmp_path / ".partial-out_masks/000099.png").touch()  # of a process that was killed
    write = drawing.write_index_png

    def stops(path, *args):
        write(path, *args)
        if path.name == "000001.png":
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(drawing, "write_index_png", stops)
        with pytest.raises(KeyboardInterrupt):
            video.predict(model, short, tmp_path / "out", count=lambda _: 4)
    assert (tmp_path / "out_overlay.mp4").read_bytes() == before
    assert len(list((tmp_path / "out_masks").iterdir())) == 6
    assert not list(tmp_path.glob(".partial*"))
    video.predict(model, short, tmp_path / "out", count=lambda _: 4)
    assert len(list((tmp_path / "out_masks").iterdir())) == 3
    assert len(frames_of(tmp_path / "out_overlay.mp4")[0]) == 3


def test_few_frames_are_in_memory(model, clip, tmp_path, monkeypatch):
    """As many as pass together, however long the video is."""
    sizes, predict = [], jaxseg.Model.predict_batch

    def counted(self, images, **options):
        sizes.append(len(images))
        return predict(self, images, **options)

    monkeypatch.setattr(jaxseg.Model, "predict_batch", counted)
    video.predict(model, clip("clip.avi", 7), tmp_path / "out", count=lambda _: 3)
    assert sizes == [3, 3, 1]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.write_bytes(b""), "OpenCV can't read it as a video"),
        (lambda path: path.write_bytes(b"no video" * 99), "OpenCV can't read it as a video"),
        (lambda path: path.write_bytes(path.read_bytes()[:-3000]), "can't read it as a video"),
    ],
)
def test_a_broken_video_is_refused_in_one_line(model, clip, tmp_path, make, message):
    path = clip("clip.mp4", 9, code="mp4v")
    make(path)
    with pytest.raises(UserError, match=message):
        video.predict(model, path, tmp_path / "out", count=lambda _: 2)
    assert [each.name for each in tmp_path.iterdir()] == ["clip.mp4"]


@pytest.mark.parametrize(
    ("frames", "message"),
    [(0, "no frame in it can be read"), (4, "ends after 4 of 9 frames: it is damaged")],
)
def test_a_video_that_ends_early_is_refused(model, clip, tmp_path, monkeypatch, frames, message):
    path, read = clip("clip.avi", 9), video._frames

    def some(capture):
        for _, frame in zip(range(frames), read(capture), strict=False):
            yield frame

    monkeypatch.setattr(video, "_frames", some)
    with pytest.raises(UserError, match=message):
        video.predict(model, path, tmp_path / "out", count=lambda _: 2)
    assert [each.name for each in tmp_path.iterdir()] == ["clip.avi"]


def test_an_overlay_that_a_full_disk_cut_is_noticed(model, clip, tmp_path, monkeypatch):
    write = cv2.VideoWriter.write

    class Loses:
        fourcc = staticmethod(cv2.VideoWriter.fourcc)

        def __init__(self, *args):
            self._writer, self._count = _Writer(*args), 0

        def write(self, frame):
            self._count += 1
            if self._count < 3:
                write(self._writer, frame)

        def __getattr__(self, name):
            return getattr(self._writer, name)

    _Writer = cv2.VideoWriter
    path = clip("clip.avi", 5)
    monkeypatch.setattr(cv2, "VideoWriter", Loses)
    with pytest.raises(OSError, match="2 of 5 frames were written; is the disk full"):
        video.predict(model, path, tmp_path / "out", count=lambda _: 2)
    assert [each.name for each in tmp_path.iterdir()] == ["clip.avi"]
