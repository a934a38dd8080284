"""The command line called in this process, and one run that it trained."""

import pytest

from jaxseg import cli


@pytest.fixture
def jaxseg(capsys):
    """Runs a command; returns its exit code, stdout and stderr."""

    def run(*argv):
        code = cli.main([str(word) for word in argv])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture(scope="session")
def workdir(tmp_path_factory):
    """A run of a few steps, trained by the command itself."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    overrides = {
        "total_steps": 4, "batch_size": 8, "dataset.image_size": "(32, 32)",
        "dataset.train_examples": 16, "dataset.val_examples": 5, "augment.crop_size": "(32, 32)",
        "eval.batch_size": 8, "eval.every": 2, "num_predictions": 2,
    }  # fmt: skip
    argv = [f"--config.{key}={value}" for key, value in overrides.items()]
    config = "configs/quickstart.py:unet,width=4,depth=1"
    assert cli.main(["train", "--config", config, "--workdir", str(folder), *argv]) == 0
    return folder
