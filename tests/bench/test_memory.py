"""The peak is the command's own, not that of the process that asked for it."""

import sys

import numpy as np
import pytest

from jaxseg.bench import memory
from jaxseg.bench.setting import Setting

MIB = 2**20
HOLD = "import sys; held = b'x' * (int(sys.argv[1]) * 2**20); print('held')"


@pytest.mark.skipif(sys.platform != "linux", reason="tried on Linux alone")
def test_the_peak_is_what_the_command_held():
    mine = np.ones(400 * MIB, np.uint8)  # more than either command

    peaks = [memory.launch(["-c", HOLD, str(mib)])[1] for mib in (10, 210)]

    assert peaks[0] < 100 * MIB < mine.nbytes
    assert peaks[1] - peaks[0] == pytest.approx(200 * MIB, abs=10 * MIB)


def test_a_command_that_fails_is_named_by_its_last_line():
    fails = "import sys; print('first\\nso it is', file=sys.stderr); sys.exit(3)"
    with pytest.raises(RuntimeError, match=r"^exit code 3: so it is$"):
        memory.launch(["-c", fails])


def test_what_the_command_prints_comes_back():
    assert memory.launch(["-c", HOLD, "1"])[0] == "held\n"


def test_a_child_uses_the_lowerings_in_force(monkeypatch, tmp_path):
    """As the step that was timed did: a table of one's own counts there too."""
    from jaxseg.ops import lowering

    words = []
    monkeypatch.setattr(lowering, "TABLE", tmp_path / "mine.json")
    monkeypatch.setattr(
        memory, "launch", lambda given, _: words.extend(given) or ('{"device_peak": 7}', 1)
    )
    setting = Setting("unet", {"width": 4}, "train", 2, 32, "bfloat16", "cuda")

    assert memory.peak(setting, "jaxseg", "cache") == 7
    assert words[-1] == str(tmp_path / "mine.json")
