"""experiments/python.ipynb runs from top to bottom, as a newcomer runs it."""

import re
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")

NOTEBOOK = Path(__file__).parents[1] / "experiments/python.ipynb"


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def pictures(notebook):
    """The numbers of the code cells that show a picture."""
    return [
        index
        for index, cell in enumerate(code(notebook))
        if any("image/png" in output.get("data", {}) for output in cell.outputs)
    ]


def test_the_notebook_runs_and_shows_its_pictures(tmp_path):
    """With a smaller network and a few steps, in a kernel of its own."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    stored = pictures(notebook)
    parameters = next(c for c in notebook.cells if "parameters" in c.metadata.get("tags", ()))
    parameters.source = f"""
workdir = {str(tmp_path / "run")!r}
config = "../configs/quickstart.py:unet,width=4,depth=1"
changes = {{
    "total_steps": 2, "batch_size": 8, "num_predictions": 0, "eval.every": 0, "eval.batch_size": 8,
    "dataset.train_examples": 8, "dataset.val_examples": 8,
}}
"""
    client = nbclient.NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        resources={"metadata": {"path": str(NOTEBOOK.parent)}},
    )
    client.execute()
    assert pictures(notebook) == stored
    assert len(stored) == 3
    prediction, difference = (code(notebook)[i].outputs[-1].data["text/plain"] for i in (2, 5))
    assert re.match(r"Prediction\(64x64 pixels: ", prediction)
    assert float(re.findall(r"\d[\d.]*(?:e-\d+)?", difference)[0]) < 1e-4  # jit's and predict's


def test_the_stored_notebook_was_run_to_its_end():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    cells = code(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not [o for cell in cells for o in cell.outputs if o.output_type == "error"]
    assert not re.search(r"/(home|root|tmp|work)/", NOTEBOOK.read_text())
