"""A side in a process of its own: what it runs, and how it fails."""

import pytest

from jaxseg.bench.modes import JAXSEG
from jaxseg.bench.setting import Setting
from jaxseg.bench.side_process import SideError, SideProcess

SETTING = Setting("unet", {"width": 4, "depth": 1}, "predict", 2, 32, "float32", "cpu")


def test_it_runs_steps_until_it_is_closed(tmp_path):
    side = SideProcess(SETTING, JAXSEG, str(tmp_path))
    side.run()
    side.run(2)
    side.close()
    assert side._process.returncode == -9


def test_what_goes_wrong_is_said_in_one_line(tmp_path):
    with pytest.raises(SideError, match=r"^UserError: unet has no option 'widht'"):
        SideProcess(
            Setting("unet", {"widht": 4}, "predict", 2, 32, "float32", "cpu"),
            JAXSEG,
            str(tmp_path),
        )


def test_a_process_that_dies_is_said_to_have(tmp_path):
    side = SideProcess(SETTING, JAXSEG, str(tmp_path))
    side._process.kill()
    with pytest.raises(SideError, match="exit code -9"):
        side.run()
    side.close()  # once more does no harm
