"""Patch by patch and in one pass: the same outputs where patches are large enough."""

import json

import pytest

from experiments import patchwise


@pytest.mark.slow
def test_outputs_are_equal_where_a_patch_is_all_that_they_depend_on(tmp_path, capsys):
    path = tmp_path / "patchwise.json"
    words = ["--width_multiplier=0.03", "--outputs=2", "--seconds=0", f"--json={path}"]
    patchwise.main(words)
    record = json.loads(path.read_text())
    assert record["command"] == " ".join(["python experiments/patchwise.py", *words[:3]])
    equal, as_trained = (record["results"][name] for name in ("equal", "as trained"))
    assert (equal["patch"], equal["image"], equal["outputs"]) == (416, 448, 4)
    assert (as_trained["patch"], as_trained["image"], as_trained["outputs"]) == (224, 256, 4)
    assert equal["difference"] < 1e-4
    assert as_trained["difference"] > 1e-2
    assert capsys.readouterr().out.count("times as fast") == 2
