"""What the parity fixtures hold of each reference: tests/weights/fixtures/NAME.npz."""

import json
from pathlib import Path

import numpy as np

FIXTURES = Path(__file__).parent / "fixtures"
NAMES = sorted(path.stem for path in FIXTURES.glob("*.npz"))


def about(name):
    """Sizes of the images, names and shapes of the entries, normalisation."""
    with np.load(FIXTURES / f"{name}.npz") as stored:
        return json.loads(stored["about"].tobytes())


def shapes(name):
    """The shape of each entry by its foreign name."""
    texts = about(name)["entries"]
    return {entry: tuple(map(int, text.split("x"))) for entry, text in texts.items()}


def entries(name, value=0.0):
    """Entries of the right shapes, all of one value, which take no memory."""
    return {k: np.broadcast_to(np.float32(value), shape) for k, shape in shapes(name).items()}
