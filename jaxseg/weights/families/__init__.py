"""Naming schemes of other projects, one per file; a file here that defines `recognise` is a family.

A family binds `NAME`, for messages, and `recognise(entries) -> Imported | None`, which tells its
networks by the names and shapes of entries. No two families recognise the same entries, so the
order in which they are asked does not matter.
"""

import importlib
import pkgutil
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np

from jaxseg.errors import UserError
from jaxseg.weights.families import timm
from jaxseg.weights.imported import Imported


class UnknownFamilyError(UserError):
    """The file is readable, but no family recognises its entries."""


def known() -> list[ModuleType]:
    """The modules of all families, by name."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    modules = [importlib.import_module(f"{__name__}.{name}") for name in names]
    return [module for module in modules if hasattr(module, "recognise")]


def recognise(
    entries: Mapping[str, np.ndarray], source: str, config: Mapping[str, Any]
) -> Imported:
    """The entries under our names.

    Args:
      entries: as the file names them.
      source: where they are from, for messages.
      config: the config.json that timm publishes beside its weights; {} if there is none.

    Raises:
      UnknownFamilyError: no family recognises them.
    """
    found = (family.recognise(entries) for family in known())
    imported = next((each for each in found if each is not None), None)
    if imported is None:
        some = ", ".join(list(entries)[:5])
        raise UnknownFamilyError(
            f"{source}: its {len(entries)} entries, such as {some}, are of no known family; "
            f"known: {', '.join(family.NAME for family in known())}"
        )
    return timm.configured(imported, config)
