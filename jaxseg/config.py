"""A run's config: read from a file and flags, kept in the run's folder, compared on a resume."""

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from jaxseg.errors import UserError, suggest

# Keys that may differ between a run and its continuation: they change no number.
FREE_KEYS = (
    "dataset.data_dir",
    "dataset.cache",
    "pipeline.workers",
    "pipeline.prefetch",
    "checkpoint.keep",
    "num_predictions",
)


def define_flag(values: flags.FlagValues) -> None:
    """Add `--config FILE[:ARG]` and its `--config.KEY=VALUE` overrides."""
    config_flags.DEFINE_config_file("config", None, "a file of configs/", flag_values=values)


def parse_flags(values: Any, command: str, argv: Sequence[str]) -> list[str]:
    """Parse `argv` into `values`; returns what is not a flag. Wrong flags raise UserError."""
    given = _joined(argv)
    _check_config_file(given)
    old, sys.argv = sys.argv, ["jaxseg", *given]  # config_flags looks for its overrides there
    try:
        return values(sys.argv)[1:]
    except flags.UnrecognizedFlagError as error:
        known = [f"--{name}" for name in values if name != "config"]
        hint = suggest(f"--{error.flagname}", [*known, "--config", "--config.KEY"])
        raise UserError(f"{command} has no flag --{error.flagname}; {hint}") from None
    except (AttributeError, KeyError) as error:
        raise UserError(_unknown_key(str(error), given)) from None
    except (flags.Error, TypeError, ValueError) as error:
        last = [line for line in str(error).strip().splitlines() if line.strip()][-1]
        raise UserError(f"{command}: {last.strip()}") from None
    finally:
        sys.argv = old


def _joined(argv: Sequence[str]) -> list[str]:
    """`--config FILE` -> `--config=FILE`, so that one form reaches everything below."""
    out: list[str] = []
    rest = iter(argv)
    for word in rest:
        is_key = re.fullmatch(r"--?config(\.[\w.]+)?", word)
        out.append(f"{word}={next(rest, '')}" if is_key else word)
    # The file comes before its overrides, whatever order they were typed in.
    return sorted(out, key=lambda word: not re.match(r"--?config=", word))


def _check_config_file(argv: Sequence[str]) -> None:
    for word in argv:
        if match := re.match(r"--?config=([^:]*)", word):
            path = Path(match[1])
            if not path.is_file():
                near = path.parent if path.parent.is_dir() else Path("configs")
                known = [
                    str(p) for p in near.glob("*.py") if p.name not in ("common.py", "__init__.py")
                ]
                raise UserError(f"no config file {match[1]!r}; {suggest(match[1], known)}")


def _unknown_key(message: str, argv: Sequence[str]) -> str:
    keys = [m[1] for word in argv if (m := re.match(r"--?config\.([\w.]+)", word))]
    close = re.search(r"Did you mean \W*(\w+)", message)
    hint = f"did you mean {close[1]!r}? " if close else ""
    named = re.search(r"'(\w+)'|\"(\w+)\"", message)
    word = (named[1] or named[2]) if named else ""
    key = next((k for k in keys if word and word in k.split(".")), ", ".join(keys))
    return f"the config has no key {key!r}; {hint}`jaxseg train --help` says how to list them"


def load(workdir: Path) -> ConfigDict:
    """The resolved config of a run."""
    path = workdir / "config.json"
    if not path.is_file():
        raise UserError(
            f"{workdir} is not a run: it has no config.json; train with --workdir first"
        )
    return locked(json.loads(path.read_text()))


def locked(values: dict[str, Any]) -> ConfigDict:
    config = ConfigDict(values)
    config.lock()
    return config


def store(config: ConfigDict, workdir: Path, *, allow_change: bool) -> None:
    """Write `config.json`, or compare with the one that is there.

    Raises:
      UserError: the folder can't be written, or holds a run whose config differs.
    """
    path = workdir / "config.json"
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        if path.exists() and not allow_change:
            _refuse_difference(json.loads(path.read_text()), json.loads(config.to_json()), workdir)
        partial = path.with_suffix(".partial")
        partial.write_text(config.to_json(indent=2, sort_keys=True) + "\n")
        partial.replace(path)
    except OSError as error:
        raise UserError(f"can't write to --workdir {workdir}: {error.strerror}") from None


def _refuse_difference(old: dict[str, Any], new: dict[str, Any], workdir: Path) -> None:
    before, now = _flat(old), _flat(new)
    keys = sorted(k for k in before.keys() | now.keys() if before.get(k) != now.get(k))
    changed = [f"{k}: {before.get(k)!r} -> {now.get(k)!r}" for k in keys if k not in FREE_KEYS]
    if changed:
        raise UserError(
            f"{workdir} holds a run with another config ({'; '.join(changed)}): "
            "choose another --workdir, or continue all the same with --allow_config_change"
        )


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        flat.update(_flat(value, name + ".") if isinstance(value, dict) else {name: value})
    return flat
