"""Other people's weights: `load` a file, a hub's name or a run, and `merge` it into a model.

A family is a file here with `recognise(entries) -> Imported | None`, by names and shapes.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxseg.errors import UserError
from jaxseg.weights import hub, keras, runs, slim, smp, timm, torchvision
from jaxseg.weights.imported import Imported
from jaxseg.weights.read import read

_FAMILIES = {
    "TF-Slim": slim,
    "Keras applications": keras,
    "segmentation-models-pytorch": smp,
    "timm": timm,
    "torchvision": torchvision,
}


class UnknownFamilyError(UserError):
    """Readable, but no family knows the names."""


def load(source: str) -> Imported:
    """The weights that `config.init_from` names: a file, "hf://ORG/NAME" or the folder of a run.

    Raises:
      UserError: nothing there, not readable, or of no known family.
    """
    if is_run(source):
        return runs.load(*runs.split(source))
    path, config = locate(source)
    return recognise(read(path), source, config)


def is_run(source: str) -> bool:
    return not source.startswith(hub.PREFIX) and runs.split(source)[0].is_dir()


def locate(source: str) -> tuple[Path, dict[str, Any]]:
    """The local file of a source that is not a run, and the config.json beside it, {} without."""
    if source.startswith(hub.PREFIX):
        path, config = hub.fetch(source)
        return path, _config(config) if config else {}
    path = Path(os.path.expanduser(source))
    if not path.is_file():
        raise UserError(
            f"no weights {source!r}: expected a file, the folder of a run (with @STEP, if not the "
            "best), or hf://ORG/NAME"
        )
    config = path.with_name("config.json")
    return path, _config(config) if config.is_file() else {}


def _config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"can't read {path}, which describes the weights: {error}") from None
    return config if isinstance(config, dict) else {}


def recognise(
    entries: Mapping[str, np.ndarray], source: str, config: Mapping[str, Any]
) -> Imported:
    """The entries under our names; raises UnknownFamilyError if no family knows them.

    `config` is the config.json that timm writes beside its weights, {} if there is none.
    """
    found = (family.recognise(entries) for family in _FAMILIES.values())
    imported = next((each for each in found if each is not None), None)
    if imported is None:
        raise UnknownFamilyError(
            f"{source} holds {len(entries)} entries that are of no known family, such as "
            f"{', '.join(list(entries)[:5])}; known: {', '.join(_FAMILIES)}"
        )
    return timm.configured(imported, config)
