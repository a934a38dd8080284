"""The input pipeline against PyTorch's DataLoader: augmented images a second, no model.

Both have the same libraries, random scales, crops and flips, and number of workers: threads in
jaxseg, processes started once in PyTorch. Each row is of pipelines that stop after a stage, so that
two rows differ by what a stage takes:

    read      the bytes of an image and of its mask: jaxseg's records, PyTorch's files
    decode    to arrays, by OpenCV; jaxseg also looks for truncated files and wrong labels
    warp      once per image and mask
    batch     arrays of a whole batch; PyTorch's workers hand theirs to the process that trains
    transfer  to the device; where that is the CPU, PyTorch has nothing to do
    on device instead of all that after decode: whole images transferred and then warped by the
              device (`config.augment.on_device`), jaxseg alone

PyTorch's side is what a careful user would write.
"""

import contextlib
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from jaxseg.bench import data_jaxseg, data_memory, data_torch, record, timing
from jaxseg.bench.console import positive, table
from jaxseg.cli import flags

IMAGES, SIZE = 64, (375, 500)  # VOC's usual height and width
CLASSES = 21
PASS = 128  # images in one measurement: each file is read twice
STAGES = ("read", "decode", "warp", "batch", "transfer", "on device")
EPOCHS = 10  # over which memory is watched
HEADINGS = ("up to", "workers", "jaxseg, images/s", "PyTorch, images/s", "jaxseg / PyTorch")


def main(argv: Sequence[str]) -> None:
    values = flags.define()
    flags.string(values, "json", workers="2", seconds="30")
    flags.boolean(values, "markdown")
    command = "bench data"
    flags.no_rest(command, flags.parse(values, command, argv))
    workers = int(positive(command, values, "workers"))
    seconds = positive(command, values, "seconds")
    flags.quiet()
    with tempfile.TemporaryDirectory() as folder:
        draw_images(Path(folder), IMAGES)
        speeds = measure(Path(folder), workers, seconds=seconds, images=PASS)
        resident = data_memory.by_epoch(Path(folder), workers, EPOCHS)
    if path := values["json"].value:
        results = {"images_per_second": speeds, "resident_bytes_by_epoch": resident}
        record.write(Path(path), record.command_line(command, list(argv)), results)
    rows = [_row(stage, workers, speeds[stage]) for stage in STAGES]
    print(table(HEADINGS, rows, markdown=values["markdown"].value))
    megabytes = ", ".join(f"{size / 1e6:.0f}" for size in resident)
    print(f"\nMemory of a process after each of {EPOCHS} epochs of jaxseg's, in MB: {megabytes}")


def _row(stage: str, workers: int, speeds: Mapping[str, float]) -> list[str]:
    cells = [stage, str(workers), f"{speeds['jaxseg']:.0f}"]
    if theirs := speeds.get("PyTorch"):
        return [*cells, f"{theirs:.0f}", f"{speeds['jaxseg'] / theirs:.2f}"]
    return [*cells, "", ""]


def draw_images(folder: Path, count: int) -> None:
    """JPEG images of soft blots and noise, as many bytes as photographs have, and masks."""
    height, width = SIZE
    for part in ("images", "masks"):
        (folder / "train" / part).mkdir(parents=True)
    for i in range(count):
        rng = np.random.default_rng(i)
        blots = rng.integers(0, 256, (height // 16, width // 16, 3)).astype(np.float32)
        image = cv2.resize(blots, (width, height), interpolation=cv2.INTER_CUBIC)
        image = np.clip(image + rng.normal(0, 8, image.shape), 0, 255).astype(np.uint8)
        patches = rng.integers(0, CLASSES, (4, 5)).astype(np.uint8)
        if i == 0:  # a folder's classes are those of its masks: all of them
            patches.flat[:] = np.arange(20)
            patches[-1, -1] = CLASSES - 1
        mask = cv2.resize(patches, (width, height), interpolation=cv2.INTER_NEAREST)
        cv2.imwrite(str(folder / f"train/images/{i:03}.jpg"), image)
        cv2.imwrite(str(folder / f"train/masks/{i:03}.png"), mask)


def measure(
    folder: Path, workers: int, *, seconds: float, images: int, stages: Sequence[str] = STAGES
) -> dict[str, dict[str, float]]:
    """Images a second of each side up to each stage, by the median time of a pass.

    Args:
      folder: of `draw_images`.
      workers: of each side.
      seconds: for all stages and both sides together.
      images: in a pass.
      stages: some of STAGES.
    """
    from jaxseg import defaults

    config = defaults.get_config("unet")
    speeds = {}
    for stage in stages:
        how = (folder, config, workers, images, stage)
        passes = {"jaxseg": data_jaxseg.up_to(*how)}
        if stage != "on device":
            with contextlib.suppress(ModuleNotFoundError):
                passes["PyTorch"] = data_torch.up_to(*how)
        times = timing.interleaved(passes, seconds=seconds / len(stages))
        speeds[stage] = {name: images / timing.median(each) for name, each in times.items()}
    return speeds
