"""Raw results as a file: what stands behind a figure, and how to measure it again."""

import datetime
import json
import subprocess
from pathlib import Path
from typing import Any

from jaxseg import files
from jaxseg.bench import timing


def write(path: Path, command: str, results: Any, *, commit_id: str | None = None) -> None:
    """Replace `path` by {"command", "commit", "versions", "machine", "date", "results"}.

    Args:
      path: a JSON file; its folder is made.
      command: the words that measured, without `--json`.
      results: anything that JSON can hold.
      commit_id: where the code is a copy without git.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    record = {
        "command": command,
        "commit": commit_id or commit(),
        **timing.machine(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "results": results,
    }
    files.write_text(path, json.dumps(record, indent=1) + "\n")


def commit(folder: Path = Path(__file__).parent) -> str | None:
    """The git commit of the code, "+changes" behind it if files differ; None outside a clone."""

    def git(*words: str) -> str:
        command = ["git", "-C", str(folder), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)  # a clone of ours, nobody else's
        changes = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "HEAD") + "+changes" * bool(changes)
    except (OSError, subprocess.CalledProcessError):
        return None


def command_line(command: str, argv: list[str]) -> str:
    """`jaxseg COMMAND ARG...`, but for where the results go."""
    words = list(argv)
    kept = []
    while words:
        word = words.pop(0)
        if word == "--json":
            words = words[1:]
        elif not word.startswith("--json="):
            kept.append(word)
    return " ".join(["jaxseg", command, *kept])
