"""Weights by name from the Hugging Face hub: "hf://ORG/NAME[@REVISION][/FILE]".

What is in the hub's cache is used as it is, without asking the network: a run starts offline, and
starts the same on the next day. A revision (a tag, a branch or a commit) pins it across machines.
"""

import json
import re
from pathlib import Path
from typing import Any

from jaxseg.errors import UserError
from jaxseg.weights.extra import require

PREFIX = "hf://"
_FILES = ("model.safetensors", "pytorch_model.bin")  # in order of preference


def fetch(source: str) -> tuple[Path, dict[str, Any]]:
    """The local path of a source's weights, and the repository's config.json ({} if none).

    Raises:
      UserError: a malformed name, nothing there, or not cached and no network.
    """
    match = re.fullmatch(r"hf://([\w.-]+/[\w.-]+)(?:@([\w.-]+))?(?:/(.+))?", source)
    if not match:
        raise UserError(
            f"{source!r} is no name on the hub: expected hf://ORG/NAME[@REVISION][/FILE], for "
            "example hf://timm/resnet50.tv_in1k"
        )
    repo, revision, file = match.groups()
    wanted = (file,) if file else _FILES
    paths = (_file(repo, name, revision, source) for name in wanted)
    path = next((path for path in paths if path), None)
    if path is None:
        files = " or ".join(wanted)
        raise UserError(f"{source}: it has no {files}: name a file of it, hf://ORG/NAME/FILE")
    config = _file(repo, "config.json", revision, source)
    return path, json.loads(config.read_text()) if config else {}


def _file(repo: str, name: str, revision: str | None, source: str) -> Path | None:
    """A file of a repository, downloaded if it is not cached; None if the repository has none."""
    hub = require("huggingface_hub", "hf:// sources")
    errors = require("huggingface_hub.errors", "hf:// sources")
    cached = hub.try_to_load_from_cache(repo, name, revision=revision)
    if isinstance(cached, str):
        return Path(cached)
    hub.utils.logging.set_verbosity_error()  # it would print a line for each of its retries
    try:
        return Path(hub.hf_hub_download(repo, name, revision=revision))
    except errors.LocalEntryNotFoundError:
        raise UserError(
            f"{source}: {name} is not in the hub's cache ({hub.constants.HF_HUB_CACHE}), and the "
            "hub can't be reached: connect once, or copy the cache from a machine that has it"
        ) from None
    except errors.EntryNotFoundError:
        return None
    except (errors.HfHubHTTPError, errors.HFValidationError) as error:
        kind = re.sub(r"(?<!^)(?=[A-Z])", " ", type(error).__name__).lower()
        reason = str(error).strip().splitlines()[0][:150]
        raise UserError(f"{source}: {kind}: {reason}") from None
