"""Another output stride than in training moves features: how much of the loss is that?

Command:  python experiments/moved_features.py runs/camvid experiments/results/moved_features.json

Scores a DeepLabv3+ on its validation split at output strides 8 and 16, with the context moved by a
few pixels of stride 4 toward the upper left before it joins the decoder (see
`jaxseg.models.contract.stride_mismatch`).
"""

import json
import sys
from pathlib import Path
from unittest import mock

import jax.numpy as jnp

from jaxseg import data, evaluation, runs
from jaxseg.bench import timing
from jaxseg.models import deeplabv3plus

MOVES = {8: (0, 1, 2), 16: (0, 1)}  # by output stride, in pixels of stride 4
Upsample = deeplabv3plus.Upsample


def score(workdir: Path, stride: int, pixels: int) -> float:
    """Of the validation split, mIoU in percent."""

    def moved(*args, **options):
        module = Upsample(*args, **options)
        return lambda x, size: jnp.roll(module(x, size), (-pixels, -pixels), (1, 2))

    changes = [f"--config.model.output_stride={stride}"]
    with mock.patch.object(deeplabv3plus, "Upsample", moved):
        run = runs.open_run(workdir, changes=changes)
        split = data.split_of(run.config.dataset, "val")
        source = data.load(run.config.dataset, split)
        return 100 * evaluation.evaluate(run.program, run.config, run.state, source)["miou"]


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python experiments/moved_features.py WORKDIR RESULTS.json")
    rows = []
    for stride, moves in MOVES.items():
        for pixels in moves:
            miou = score(Path(sys.argv[1]), stride, pixels)
            rows.append({"output_stride": stride, "pixels": pixels, "miou": miou})
            print(f"output stride {stride}, moved by {pixels}: {miou:.2f} %", flush=True)
    command = "python experiments/moved_features.py runs/camvid RESULTS.json"
    record = {**timing.machine(), "command": command, "results": rows}
    Path(sys.argv[2]).write_text(json.dumps(record, indent=1) + "\n")
