"""Small files that are either whole or not there."""

from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Replace `path` at once: whoever reads it, or a crash, finds the old text or the new."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text)
    partial.replace(path)
