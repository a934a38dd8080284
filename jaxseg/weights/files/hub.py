"""Weights by name from the Hugging Face hub: "hf://ORG/NAME[@REVISION][/FILE]".

What is in the hub's cache is used without asking the network, so a run starts offline, and from the
same weights on every day. The cache also records which files a repository lacks. A revision (a tag,
a branch or a commit) pins the weights across machines.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from jaxseg.errors import UserError
from jaxseg.weights.files.extra import require

PREFIX = "hf://"
_FILES = ("model.safetensors", "pytorch_model.bin")  # in order of preference


class _UnreachableError(UserError):
    """Not cached, and no network."""


def fetch(source: str) -> tuple[Path, Path | None]:
    """The local paths of a source's weights, and of its repository's config.json if it has one.

    If the hub can't be reached, cached weights are used without a config.json.

    Raises:
      UserError: a malformed name, no such file, or not cached and no network.
    """
    match = re.fullmatch(r"hf://([\w.-]+/[\w.-]+)(?:@([\w.-]+))?(?:/(.+))?", source)
    if not match:
        raise UserError(
            f"{source!r} is not a name on the hub: expected hf://ORG/NAME[@REVISION][/FILE], for "
            "example hf://timm/resnet50.tv_in1k"
        )
    repo, revision, file = match.groups()
    wanted = (file,) if file else _FILES
    path = _first(repo, wanted, revision, source)
    if path is None:
        files = " or ".join(wanted)
        raise UserError(
            f"{source}: the repository has no {files}: name one of its files, hf://ORG/NAME/FILE"
        )
    try:
        return path, _first(repo, ("config.json",), revision, source)
    except _UnreachableError:
        return path, None


def _first(repo: str, names: Sequence[str], revision: str | None, source: str) -> Path | None:
    """The first of the files that is cached, else the first that the hub has; None without any."""
    hub = require("huggingface_hub", "hf:// sources")
    errors = require("huggingface_hub.errors", "hf:// sources")
    not_cached = []
    for name in names:
        try:
            cached = hub.try_to_load_from_cache(repo, name, revision=revision)
        except errors.HFValidationError as error:
            raise _explained(error, source) from None
        if isinstance(cached, str):
            return Path(cached)
        if cached is None:  # otherwise a marker: the repository is known to lack the file
            not_cached.append(name)
    found = (_download(repo, name, revision, source) for name in not_cached)
    return next((path for path in found if path), None)


def _download(repo: str, name: str, revision: str | None, source: str) -> Path | None:
    """A file of a repository; None if the repository lacks it."""
    hub = require("huggingface_hub", "hf:// sources")
    errors = require("huggingface_hub.errors", "hf:// sources")
    hub.utils.logging.set_verbosity_error()  # else it prints a line for each retry
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
