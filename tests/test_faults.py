"""The campaign of kills finds differences, and none where there are none."""

import json
import re
import shutil

import pytest

from experiments import faults
from jaxseg.errors import UserError


@pytest.mark.slow
def test_a_campaign(tmp_path, capsys):
    assert faults.main(["--kills=6", "--seed=1", f"--workdir={tmp_path}"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"kills 6, resumes from a checkpoint [1-6] at steps .*, mismatches 0", said)
    # and what it would say of a run that went wrong
    spoilt = tmp_path / "spoilt"
    shutil.copytree(tmp_path / "run-0", spoilt)
    rows = [json.dumps(row) for row in faults.log(spoilt)]
    (spoilt / "metrics.jsonl").write_text("\n".join([*rows, rows[-1], ""]))
    path = spoilt / f"eval/val/{faults.STEPS}.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "miou": 0.5}))
    shutil.rmtree(spoilt / f"checkpoints/{faults.STEPS}")
    assert faults.differences(spoilt, tmp_path / "undisturbed") == [
        "step differs", "params differs", "batch_stats differs", "opt_state differs",
        "ema differs", "the log differs", "the scores differ",
    ]  # fmt: skip


def test_wrong_numbers():
    with pytest.raises(UserError, match="--kills=many --seed=0, expected whole numbers"):
        faults.main(["--kills=many"])
