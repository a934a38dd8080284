"""Weights by name from the Hugging Face hub: "hf://ORG/NAME[@REVISION][/FILE]".

What is in the hub's cache is used as it is, without asking the network: a run starts offline, and
starts the same on the next day. The cache also knows which files a repository was found to lack. A
revision (a tag, a branch or a commit) pins it across machines.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from jaxseg.errors import UserError
from jaxseg.weights.extra import require

PREFIX = "hf://"
_FILES = ("model.safetensors", "pytorch_model.bin")  # in order of preference


class _UnreachableError(UserError):
    """Not cached, and no network."""


def fetch(source: str) -> tuple[Path, Path | None]:
    """The local paths of a source's weights, and of its repository's config.json if it has one.

    Where the weights are cached and the hub can't be reached, no config is as good as none.

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
    path = _first(repo, wanted, revision, source)
    if path is None:
        files = " or ".join(wanted)
        raise UserError(f"{source}: it has no {files}: name a file of it, hf://ORG/NAME/FILE")
    try:
        return path, _first(repo, ("config.json",), revision, source)
    except _UnreachableError:
        return path, None


def _first(repo: str, names: Sequence[str], revision: str | None, source: str) -> Path | None:
    """The first of the files that is cached, or else that the hub has; None if there is none."""
    hub = require("huggingface_hub", "hf:// sources")
    errors = require("huggingface_hub.errors", "hf:// sources")
    unknown = []
    for name in names:
        try:
            cached = hub.try_to_load_from_cache(repo, name, revision=revision)
        except errors.HFValidationError as error:
            raise _explained(error, source) from None
        if isinstance(cached, str):
            return Path(cached)
        if cached is None:  # else it stands for a file that the repository is known to lack
            unknown.append(name)
    found = (_download(repo, name, revision, source) for name in unknown)
    return next((path for path in found if path), None)


def _download(repo: str, name: str, revision: str | None, source: str) -> Path | None:
    """A file of a repository; None if the repository has none."""
    hub = require("huggingface_hub", "hf:// sources")
    errors = require("huggingface_hub.errors", "hf:// sources")
    hub.utils.logging.set_verbosity_error()  # it would print a line for each of its retries
    try:
        return Path(hub.hf_hub_download(repo, name, revision=revision))
    except errors.LocalEntryNotFoundError:
        raise _UnreachableError(
            f"{source}: {name} is not in the hub's cache ({hub.constants.HF_HUB_CACHE}), and the "
            "hub can't be reached: connect once, or copy the cache from a machine that has it"
        ) from None
    except errors.EntryNotFoundError:
        return None
    except errors.HfHubHTTPError as error:
        raise _explained(error, source) from None


def _explained(error: Exception, source: str) -> UserError:
    kind = re.sub(r"(?<!^)(?=[A-Z])", " ", type(error).__name__).lower()
    return UserError(f"{source}: {kind}: {str(error).strip().splitlines()[0][:150]}")
