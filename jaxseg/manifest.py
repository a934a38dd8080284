"""Checksums of a checkpoint's files: whether it is whole, and as it was written."""

import hashlib
import json
from pathlib import Path

from jaxseg import files

MANIFEST = "manifest.json"
SCORES = "scores.json"  # comes later, see `checkpoint`


def seal(folder: Path) -> None:
    """Write the manifest of a checkpoint that Orbax has committed."""
    files.write_text(folder / MANIFEST, json.dumps({"sha256": _checksums(folder)}, indent=1))


def damage(folder: Path) -> str | None:
    """What is wrong with a step's folder, or None.

    A commit that was killed before its manifest has none; it counts if its record can be read,
    because Orbax writes that last.
    """
    manifest = folder / MANIFEST
    if not manifest.exists():
        whole = (folder / "_CHECKPOINT_METADATA").exists() and (folder / "meta").exists()
        return None if whole else "incomplete"
    try:
        expected = json.loads(manifest.read_text())["sha256"]
    except (ValueError, TypeError, KeyError):
        return f"{MANIFEST} is not readable"
    actual = _checksums(folder)
    for name, digest in expected.items():
        if name not in actual:
            return f"{name} is missing"
        if actual[name] != digest:
            return f"{name} has other bytes than were written"
    return None


def _checksums(folder: Path) -> dict[str, str]:
    digests = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name not in (MANIFEST, SCORES):
            with path.open("rb") as file:
                digests[str(path.relative_to(folder))] = hashlib.file_digest(
                    file, "sha256"
                ).hexdigest()
    return digests
