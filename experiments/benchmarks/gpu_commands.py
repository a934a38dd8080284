"""The jobs of `gpu.py` that run whole commands: training on CamVid, and the tests."""

import contextlib
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from jaxseg.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
POLL = 5.0  # seconds between two looks at what a command has written
MODEL = "deeplabv3plus,backbone=mobilenet_v2,separable=True,padding=tf_same,norm_epsilon=0.001"
# 67.4 mIoU on val with TF-Slim's weights, in float32 on 2 CPU cores
RECIPE = {
    "total_steps": 1400,
    "batch_size": 8,
    "dataset.mean": "(127.5,127.5,127.5)",
    "dataset.std": "(127.5,127.5,127.5)",
    "augment.crop_size": "(256,320)",
    "augment.scale": "(0.6,1.6)",
    "optimizer.encoder_lr_multiplier": 0.5,
    "schedule.warmup_steps": 50,
    "ema_decay": 0.99,
    "loss.cross_entropy.class_weights": "(0.53,0.45,2.19,0.39,1.0,0.65,1.96,1.40,0.89,2.52,2.98)",
    "eval.every": 700,
    "checkpoint.every": 700,
    "pipeline.workers": 8,
}
TINY_MODEL = "unet,width=4,depth=2"
TINY = {"total_steps": 4, "batch_size": 2, "augment.crop_size": "(64,64)", "log_every": 1}
TESTS = ("tests/ops", "tests/losses", "tests/models", "tests/test_steps.py", "tests/bench")
TINY_TESTS = ("tests/bench/test_timing.py",)
OUTCOME = re.compile(r"\b(PASSED|FAILED|ERROR|SKIPPED) (tests\S+)")


def camvid(job: Any, options: Any) -> Iterator[dict[str, Any]]:
    """Prepare and train; yields the lines of metrics.jsonl that there are."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if options.rehearse and not options.camvid:
            _draw(folder / "source")
        else:
            with tarfile.open(options.camvid) as archive:
                archive.extractall(folder / "source", filter="data")
        data = f"--data_dir={folder / 'data'}"
        prepare = ["data", "prepare", "camvid", f"--source={folder / 'source'}", data]
        subprocess.run([sys.executable, "-m", "jaxseg.cli", *prepare], check=True, cwd=ROOT)
        model, overrides = (TINY_MODEL, TINY) if options.rehearse else (MODEL, RECIPE)
        words = [f"--config=configs/camvid.py:{model}", f"--workdir={folder / 'run'}", data]
        words += [f"--config.{key}={value}" for key, value in overrides.items()]
        words += [f"--config.init_from={options.weights}"] if options.weights else []
        started = time.monotonic()
        for code in _running(["-m", "jaxseg.cli", "train", *words]):
            lines = _lines(folder / "run/metrics.jsonl")
            seconds = time.monotonic() - started
            yield {"flags": words, "metrics": lines, "seconds": seconds}
            if code:
                raise UserError(f"jaxseg train ended with exit code {code}")


def tests(job: Any, options: Any) -> Iterator[dict[str, Any]]:
    """Run the tests of what computes, four at a time; yields outcomes so far."""
    paths = TINY_TESTS if options.rehearse else TESTS
    log = options.work / "pytest.log"
    processes = 1 if options.rehearse else 4
    words = ["-m", "pytest", "-vv", "-p", "no:cacheprovider", f"--numprocesses={processes}", *paths]
    # the tests' tolerances are those of float32, not of TF32
    environment = {**os.environ, "JAX_DEFAULT_MATMUL_PRECISION": "highest"}
    for code in _running(words, log, environment):
        found = OUTCOME.findall(log.read_text(errors="replace"))
        counts = dict.fromkeys(("PASSED", "FAILED", "ERROR", "SKIPPED"), 0)
        for outcome, _ in found:
            counts[outcome] += 1
        failed = sorted({name for outcome, name in found if outcome in ("FAILED", "ERROR")})
        yield {"counts": counts, "failed": failed, "exit_code": code}


def _running(
    words: Sequence[str], log: Path | None = None, environment: dict[str, str] | None = None
) -> Iterator[int | None]:
    """Run `python WORD...`; yields None while it runs and its exit code at the end."""
    with open(log or "/dev/stderr", "w" if log else "a") as output:
        process = subprocess.Popen(
            [sys.executable, *words],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        while (code := process.poll()) is None:
            yield None
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(POLL)
        yield code


def _lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a file of JSON lines, which may be growing."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines(True) if line.endswith("\n")]


def _draw(folder: Path) -> None:
    """A few noisy images of 64x64 with CamVid's label values."""
    rng = np.random.default_rng(0)
    for split, count in {"train": 4, "val": 2}.items():
        for part, suffix, most, depth in (("images", "jpg", 256, (3,)), ("masks", "png", 12, ())):
            (folder / split / part).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, most, (64, 64, *depth), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / split / part / f"{i}.{suffix}")
