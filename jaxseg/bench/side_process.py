"""A side of the benchmark of steps in a process of its own, which runs steps when it is told to.

    python -m jaxseg.bench.side_process SIDE SETTING TABLE

SIDE is "jaxseg" or a mode of PyTorch's, SETTING the JSON of a `Setting`, TABLE the file of
lowerings. For each line "N" on its standard input it runs N steps; it answers that, and once before
that it is ready, with a line of JSON: null, or what went wrong.

In one process, libraries share an allocator, threads and what they set up for the process.
"""

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxseg.bench.modes import JAXSEG, PYTORCH
from jaxseg.bench.setting import Setting
from jaxseg.ops import lowering


class SideError(Exception):
    """A side failed; the first line of what it said."""


class SideProcess:
    """Starts the process of `side`; raises SideError unless it comes to have its network and batch.

    Args:
      setting: what runs.
      side: who runs it.
      cache: a folder of compiled programs.
    """

    def __init__(self, setting: Setting, side: str, cache: str):
        words = [side, json.dumps(dataclasses.asdict(setting)), str(lowering.TABLE)]
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", "jaxseg.bench.side_process", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=environment(cache),
        )
        self._wait()

    def run(self, steps: int = 1) -> None:
        """Returns when `steps` steps are done; raises SideError if they fail."""
        assert self._process.stdin
        with contextlib.suppress(BrokenPipeError):  # `_wait` says why
            print(steps, file=self._process.stdin, flush=True)
        self._wait()

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            with contextlib.suppress(BrokenPipeError):  # what it did not live to read
                stream.close()  # pyright: ignore[reportOptionalMemberAccess]

    def _wait(self) -> None:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if line:
            error = json.loads(line)
        else:
            code = self._process.wait()
            self._errors.seek(0)
            last = self._errors.read().strip().rpartition("\n")[2]
            error = f"exit code {code}: {last}"
        if error:
            self.close()
            raise SideError(error)


def environment(cache: str) -> dict[str, str]:
    """The variables of a side's process, which finds what this one can import.

    Both libraries keep compiled programs in `cache`, which is new unless somebody named one: the
    time of compilation is that of a first start.
    """
    found = {**os.environ, "JAX_COMPILATION_CACHE_DIR": cache}
    found["TORCHINDUCTOR_CACHE_DIR"] = os.path.join(cache, "torchinductor")
    found["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    return found


def build(setting: Setting, side: str) -> Any:
    """The `JaxsegSide` or `TorchSide`, in this process."""
    if side == JAXSEG:
        from jaxseg.bench.jaxseg_side import JaxsegSide

        return JaxsegSide(setting)
    from jaxseg.bench.torch_side import TorchSide

    return TorchSide(setting, PYTORCH[setting.device][side])


def first_line(error: Exception) -> str:
    """The name of an error and the first line of what it says."""
    return ": ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])


def main(argv: Sequence[str]) -> None:
    name, text, table = argv
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries' own words go elsewhere
    lowering.TABLE = Path(table)

    def answer(error: str | None) -> None:
        print(json.dumps(error), file=answers, flush=True)

    try:
        side = build(Setting(**json.loads(text)), name)
        answer(None)
        for line in sys.stdin:
            side.run(int(line))
            answer(None)
    except Exception as error:
        answer(first_line(error))


if __name__ == "__main__":
    main(sys.argv[1:])
