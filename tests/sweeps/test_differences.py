"""Two runs side by side."""

import pytest

from jaxseg.errors import UserError
from jaxseg.sweeps import differences


def test_config_versions_and_scores_that_differ_are_said(made, finish):
    narrow, wide = made.tasks[0], made.tasks[1]
    finish(narrow, 0.5)
    finish(wide, 0.6, jax="0.11.0")
    lines = list(differences.between(narrow.workdir, wide.workdir))
    assert "  model.width: 4 -> 8" in lines
    assert "  jax: 0.10.2 -> 0.11.0" in lines
    assert "  miou: 50.00 -> 60.00" in lines
    assert "  IoU star: 50.00 -> 60.00" in lines
    assert "  step: 6 in both" in lines
    assert not any("batch_size" in line or "commit" in line for line in lines)


def test_a_folder_without_a_run_is_named(made, finish, tmp_path):
    finish(made.tasks[0], 0.5)
    with pytest.raises(UserError, match=f"{tmp_path} is not a run"):
        list(differences.between(made.tasks[0].workdir, tmp_path))
