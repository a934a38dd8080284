"""The libraries of the optional extra `weights`."""

import importlib
from typing import Any

from jaxseg.errors import UserError


def require(module: str, what: str) -> Any:
    """Import `module`; raises UserError if it is not installed, saying how to get it."""
    try:
        return importlib.import_module(module)
    except ImportError:
        package = module.partition(".")[0].replace("_", "-")
        raise UserError(
            f"{what} need the package {package}, which is not installed: "
            "pip install 'jaxseg[weights]' (in a checkout: .venv/bin/pip install -e '.[weights]')"
        ) from None
