"""A config from a file and flags: `--config FILE[:ARG]` and `--config.KEY=VALUE`."""

import contextlib
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from jaxseg.errors import UserError, suggest

NO_CONFIGS = (
    "configs are Python files, such as those in configs/ of jaxseg's repository: run there, or "
    "give the path of a file with get_config(arg) that starts from jaxseg.defaults.get_config(arg)"
)


def define_flag(values: flags.FlagValues) -> None:
    """Add `--config FILE[:ARG]` and its `--config.KEY=VALUE` overrides."""
    config_flags.DEFINE_config_file("config", None, "a file of configs/", flag_values=values)


def split_overrides(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words of `argv` but `--config.KEY=VALUE`, and those.

    Here a value stands behind "=", for the next word may be the path of an image.
    """
    changes = [word for word in argv if re.match(r"--?config\.", word)]
    if bare := [word for word in changes if "=" not in word]:
        raise UserError(f"{bare[0]} has no value: write {bare[0]}=VALUE")
    return [word for word in argv if word not in changes], changes


def read_config(file: str, command: str, changes: Sequence[str]) -> ConfigDict:
    """The locked config of `FILE[:ARG]`, with `--config.KEY=VALUE` words.

    Raises:
      UserError: there is no such file, or an unknown key.
    """
    values: Any = flags.FlagValues()
    define_flag(values)
    parse_flags(values, command, [f"--config={file}", *changes])
    return values["config"].value


def override_config(config: ConfigDict, command: str, changes: Sequence[str]) -> ConfigDict:
    """`config` with the values of `--config.KEY=VALUE` words; raises UserError on unknown keys."""
    values: Any = flags.FlagValues()
    with _explained(values, command, changes):
        config_flags.DEFINE_config_dict("config", config, flag_values=values)
        values(sys.argv)
    return values["config"].value


def parse_flags(values: Any, command: str, argv: Sequence[str]) -> list[str]:
    """Parse `argv` into `values`; returns what is not a flag. Wrong flags raise UserError."""
    given = _joined(argv)
    _check_config_file(given)
    with _explained(values, command, given):
        return values(sys.argv)[1:]


@contextlib.contextmanager
def _explained(values: Any, command: str, given: Sequence[str]) -> Iterator[None]:
    """With `given` in sys.argv, where config_flags looks for its overrides; errors are one line."""
    old, sys.argv = sys.argv, ["jaxseg", *given]
    try:
        yield
    except flags.UnrecognizedFlagError as error:
        known = [f"--{name}" for name in values]
        hint = suggest(f"--{error.flagname}", known + ["--config.KEY"] * ("--config" in known))
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
    words = list(argv)
    while words:
        word = words.pop(0)
        takes_next = re.fullmatch(r"--?config(\.[\w.]+)?", word) and words
        if takes_next and not words[0].startswith("--"):  # else a boolean: --config.augment.flip
            word = f"{word}={words.pop(0)}"
        out.append(word)
    # The file comes before its overrides, whatever order they were typed in.
    return sorted(out, key=lambda word: not re.match(r"--?config=", word))


def _check_config_file(argv: Sequence[str]) -> None:
    for word in argv:
        if match := re.match(r"--?config=([^:]*)", word):
            path = Path(match[1])
            if not path.is_file():
                near = path.parent if path.parent.is_dir() else Path("configs")
                known = [str(p) for p in near.glob("*.py") if p.name != "__init__.py"]
                hint = suggest(match[1], known) if known else NO_CONFIGS
                raise UserError(f"no config file {match[1]!r}; {hint}")


def _unknown_key(message: str, argv: Sequence[str]) -> str:
    keys = [m[1] for word in argv if (m := re.match(r"--?config\.([\w.]+)", word))]
    close = re.search(r"Did you mean \W*(\w+)", message)
    hint = f"did you mean {close[1]!r}? " if close else ""
    words = re.findall(r"['\"](\w+)['\"]", message)
    word = next((w for w in words if not close or w != close[1]), "")
    key = next((k for k in keys if word and word in k.split(".")), ", ".join(keys))
    return f"the config has no key {key!r}; {hint}`jaxseg train --help` says how to list them"
