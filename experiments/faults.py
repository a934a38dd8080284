"""Runs killed again and again end as one left alone, bit for bit.

Question: does anything depend on when, how or how often a run was stopped?
Command:  python experiments/faults.py --kills=50
Result:   50 kills, 50 resumes, 0 mismatches, on 2 CPU cores in 5 minutes; on a GPU not yet run

A small U-Net with dropout, averages and frequent saves is trained once undisturbed. Then it is
trained again, and ended by SIGTERM or SIGKILL: at a random step, at a random moment from the start
of the program on, or while a checkpoint is being written; each time the same command continues it.
At the end the parameters, batch statistics, optimizer, averages and scores must be the same bits,
and the log must hold every step once with the same numbers.
"""

import dataclasses
import json
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxseg import runs
from jaxseg.cli import flags
from jaxseg.errors import UserError

STEPS = 60
CONFIG = "configs/quickstart.py:unet,width=4,depth=2,dropout=(0.5,)"
SETTINGS = {
    "total_steps": STEPS, "batch_size": 4, "log_every": 1, "num_predictions": 0,
    "dataset.image_size": "(32, 32)", "dataset.train_examples": 10, "dataset.val_examples": 4,
    "augment.crop_size": "(32, 32)", "augment.scale": "(0.8, 1.2)", "ema_decay": 0.9,
    "eval.every": 15, "eval.batch_size": 4, "checkpoint.every": 4,
}  # fmt: skip
TIMINGS = ("images_per_second", "data_wait", "compile_seconds")
PATIENCE = 300  # seconds for what must come


def main(argv: Sequence[str]) -> int:
    values = flags.define()
    flags.string(values, "workdir", kills="50", seed="0")
    flags.no_rest("faults", flags.parse(values, "faults", argv))
    words = [values[name].value for name in ("kills", "seed")]
    if not all(word.isdecimal() for word in words):
        raise UserError(f"faults: --kills={words[0]} --seed={words[1]}, expected whole numbers")
    kills, seed = map(int, words)
    flags.set_up()
    folder = Path(values["workdir"].value or tempfile.mkdtemp(prefix="jaxseg-faults-"))
    undisturbed = folder / "undisturbed"
    print(f"in {folder}: an undisturbed run of {STEPS} steps ...", flush=True)
    subprocess.run(command(undisturbed), check=True, capture_output=True)
    rng = random.Random(seed)
    done: Counter[str] = Counter()
    resumes: list[int] = []
    mismatches, number = 0, 0
    while done.total() < kills:
        workdir = folder / f"run-{number}"
        run, resumed_at = _disturb(workdir, rng, at_most=kills - done.total())
        done += run
        resumes += resumed_at
        found = differences(workdir, undisturbed)
        mismatches += len(found)
        print(
            f"run {number}: {run.total()} kills; resumed at {_listed(resumed_at)}; "
            f"{'; '.join(found) or 'the same bits'}; {done.total()}/{kills} in all",
            flush=True,
        )
        number += 1
    for what, count in sorted(done.items()):
        print(f"{count:4} {what}")
    print(
        f"kills {done.total()}, resumes from a checkpoint {len(resumes)} at steps "
        f"{_listed(sorted(resumes))}, mismatches {mismatches}"
    )
    return 1 if mismatches else 0


def _listed(steps: Sequence[int]) -> str:
    return ", ".join(map(str, steps)) or "none"


def command(workdir: Path) -> list[str]:
    overrides = [f"--config.{key}={value}" for key, value in SETTINGS.items()]
    words = ["-m", "jaxseg.cli", "train", "--config", CONFIG, "--workdir", str(workdir)]
    return [sys.executable, *words, *overrides]


def _disturb(workdir: Path, rng: random.Random, *, at_most: int) -> tuple[Counter[str], list[int]]:
    """Train to the end in spite of up to `at_most` kills; what they were, and each resume's step.

    A resume is what the continued program says itself; after a kill before the first checkpoint it
    begins again.
    """
    kills: Counter[str] = Counter()
    resumes: list[int] = []
    while True:
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            command(workdir), stdout=pipe, stderr=subprocess.STDOUT, text=True
        )
        try:
            kill = _Kill.draw(rng, workdir) if kills.total() < at_most else None
            killed = kill is not None and kill.strike(process)
            said, _ = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
        if step := continued_at(said):
            resumes.append(step)
        if not killed:
            if process.returncode:
                raise UserError(f"the run in {workdir} failed:\n{said}")
            return kills, resumes
        assert kill is not None
        gentle = kill.number == signal.SIGTERM
        if gentle and process.returncode == -signal.SIGTERM and not said:
            kills["SIGTERM before the program listens"] += 1
            continue
        # 0 if it had finished when the signal came
        if process.returncode not in ((143, 0) if gentle else (-signal.SIGKILL,)):
            raise UserError(f"{kill.name} ended {workdir} with {process.returncode}:\n{said}")
        if gentle and "the same command" not in said and "IoU %" not in said:
            raise UserError(f"{kill.name} of {workdir} went without a message:\n{said}")
        kills[kill.name] += 1


@dataclasses.dataclass(frozen=True)
class _Kill:
    """A signal, and when it comes."""

    number: signal.Signals
    moment: str
    due: Callable[[], bool]
    delay: float  # seconds, once it is due

    @property
    def name(self) -> str:
        return f"{self.number.name} {self.moment}"

    @classmethod
    def draw(cls, rng: random.Random, workdir: Path) -> "_Kill":
        number = rng.choice([signal.SIGTERM, signal.SIGKILL])
        moment = rng.choices(["at a step", "in a save", "at a moment"], [5, 3, 2])[0]
        if moment == "at a moment":
            return cls(number, moment, lambda: True, delay=rng.uniform(0, 12))
        reached = max((row["step"] for row in log(workdir)), default=0)
        step = reached + rng.randint(1, 10)
        if moment == "in a save":
            folder = workdir / "checkpoints"
            return cls(number, moment, lambda: _is_saving(folder, step), rng.uniform(0, 0.02))
        return cls(number, moment, lambda: _is_logged(workdir, step), rng.uniform(0, 0.05))

    def strike(self, process: subprocess.Popen) -> bool:
        """Wait for the moment, then kill; False if the process ended before."""
        deadline = time.monotonic() + PATIENCE
        while not self.due():
            if process.poll() is not None or time.monotonic() > deadline:
                return False
            time.sleep(0.001)
        time.sleep(self.delay)
        if process.poll() is not None:
            return False
        process.send_signal(self.number)
        return True


def continued_at(said: str) -> int:
    """The step at which a run with this output continued, 0 if it began."""
    found = re.search(r"continuing at step (\d+)", said)
    return int(found[1]) if found else 0


def _is_logged(workdir: Path, step: int) -> bool:
    return any(row["step"] >= step for row in log(workdir))


def _is_saving(folder: Path, step: int) -> bool:
    """Whether a checkpoint from `step` on is on its way to the disk."""
    if not folder.is_dir():
        return False
    names = [path.name.split(".")[0] for path in folder.iterdir() if "tmp" in path.name]
    return any(name.isdigit() and int(name) >= step for name in names)


def differences(workdir: Path, other: Path) -> list[str]:
    """In what two finished runs differ: parts of the state, the log, the scores."""
    found = []
    state, expected = final_state(workdir), final_state(other)
    for field in dataclasses.fields(expected):
        mine, theirs = (jax.tree.leaves(getattr(each, field.name)) for each in (state, expected))
        if not all(map(np.array_equal, mine, theirs)):
            found.append(f"{field.name} differs")
    if numbers(workdir) != numbers(other):
        found.append("the log differs")
    if scores(workdir) != scores(other):
        found.append("the scores differ")
    return found


def final_state(workdir: Path) -> Any:
    """The state of a run's newest checkpoint."""
    return runs.open_run(workdir, "latest", announce=lambda _: None).state


def log(workdir: Path) -> list[dict[str, Any]]:
    """The whole lines of a run's log."""
    path = workdir / "metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def scores(workdir: Path) -> dict[str, Any]:
    """The scores of every evaluation, by file."""
    return {path.name: json.loads(path.read_text()) for path in workdir.glob("eval/*/*.json")}


def numbers(workdir: Path) -> list[dict[str, Any]]:
    """The log without what depends on the clock."""
    return [{k: v for k, v in row.items() if k not in TIMINGS} for row in log(workdir)]


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except UserError as error:
        sys.exit(f"faults: error: {error}")
