"""weights/ reads and renames; configs, runs, data and training are not its business."""

import re
from pathlib import Path

from jaxseg import weights


def test_weights_import_nothing_of_configs_runs_data_or_training():
    imported = {
        name
        for path in Path(weights.__file__).parent.rglob("*.py")
        for line in re.findall(r"(?m)^\s*(?:from|import) jaxseg.*", path.read_text())
        for name in re.findall(r"jaxseg\.(\w+)|import (\w+)", line)[0]
        if name
    }
    assert imported == {"errors", "models", "ops", "weights"}
