"""Semantic segmentation research in JAX.

    model = jaxseg.load("runs/quickstart")
    prediction = model.predict("photo.jpg")   # mask, probabilities, names, palette
    jaxseg.train("configs/quickstart.py", "runs/mine")

Importing jaxseg imports nothing else: JAX comes with the first of these names that is used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxseg.prediction.model import Model, load
    from jaxseg.prediction.result import Prediction
    from jaxseg.training import train

__all__ = ["Model", "Prediction", "load", "train"]

_MODULES = {
    "Model": "prediction.model",
    "Prediction": "prediction.result",
    "load": "prediction.model",
    "train": "training",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
