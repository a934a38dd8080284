"""A run's config: read from a file and flags, kept in the run's folder, compared on a resume."""

import contextlib
import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from jaxseg import files
from jaxseg.errors import UserError, suggest

# Keys that may differ between a run and its continuation: they change no number.
FREE_KEYS = {
    "dataset.source",  # a run keeps what data it used by content: `data.identity`
    "dataset.data_dir",
    "dataset.cache",
    "pipeline.workers",
    "pipeline.prefetch",
    "pipeline.on_unreadable",
    "checkpoint.keep",
    "num_predictions",
    "profile.first_step",
    "profile.steps",
}


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
    named = re.search(r"'(\w+)'|\"(\w+)\"", message)
    word = (named[1] or named[2]) if named else ""
    key = next((k for k in keys if word and word in k.split(".")), ", ".join(keys))
    return f"the config has no key {key!r}; {hint}`jaxseg train --help` says how to list them"


def load_config(workdir: Path) -> ConfigDict:
    """The resolved config of a run."""
    path = workdir / "config.json"
    if not path.is_file():
        raise UserError(
            f"{workdir} is not a run: it has no config.json; train with --workdir first"
        )
    values, defaults = json.loads(path.read_text()), _defaults()
    for key in FREE_KEYS - _flat(values).keys():  # they change no number, so any value will do
        part, _, name = key.rpartition(".")
        (values.setdefault(part, {}) if part else values)[name] = defaults[key]
    if missing := sorted(defaults.keys() - _flat(values).keys()):
        raise UserError(
            f"{path} lacks {', '.join(missing)}: it is from an older jaxseg; if what was new in "
            "these is off in this run, add them as jaxseg/defaults.py has them"
        )
    return locked(values)


def _defaults() -> dict[str, Any]:
    """Every key that a run's config has, but the model's own options."""
    from jaxseg import defaults

    flat = _flat(defaults.get_config("unet").to_dict())
    return {key: value for key, value in flat.items() if not key.startswith("model.")}


def locked(values: dict[str, Any]) -> ConfigDict:
    """A config of plain values; JSON's lists become the tuples that they were."""
    config = ConfigDict(_with_tuples(values))
    config.lock()
    return config


def _with_tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_tuples(item) for key, item in value.items()}
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value


AT_LEAST = {
    "total_steps": 1,
    "batch_size": 1,
    "log_every": 1,
    "grad_accum_steps": 1,
    "num_predictions": 0,
    "pipeline.workers": 1,
    "profile.first_step": 1,
    "profile.steps": 1,
    "schedule.warmup_steps": 0,
    "eval.batch_size": 1,
    "eval.size_multiple": 1,
    "checkpoint.keep": 2,  # one stays whole while another is written
}
LENGTHS = {
    "dataset.mean": 3,
    "dataset.std": 3,
    "eval.canvas": 2,
    "optimizer.betas": 2,
}


def check_config(config: ConfigDict) -> None:
    """Refuse numbers that would only fail later, hours into a run."""
    flat = _flat(config.to_dict())
    for key, least in AT_LEAST.items():
        if flat[key] < least:
            raise UserError(f"config.{key} is {flat[key]}, expected at least {least}")
    for key, length in LENGTHS.items():
        if len(flat[key]) != length:
            raise UserError(f"config.{key} is {flat[key]}, expected {length} numbers")
    if (value := config.pipeline.on_unreadable) not in ("stop", "skip"):
        raise UserError(f"config.pipeline.on_unreadable is {value!r}, expected stop or skip")
    if not 0 <= config.ema_decay < 1:
        raise UserError(f"config.ema_decay is {config.ema_decay}, expected 0 (off) up to below 1")


def store_config(
    config: ConfigDict, workdir: Path, *, allow_change: bool, write: bool = True
) -> None:
    """Write `config.json`, or compare with the one that is there; `write` False only compares.

    Raises:
      UserError: the folder can't be written, or holds a run whose config differs.
    """
    path = workdir / "config.json"
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        if path.exists() and not allow_change:
            _refuse_difference(json.loads(path.read_text()), json.loads(config.to_json()), workdir)
        if write:
            files.write_text(path, config.to_json(indent=2, sort_keys=True) + "\n")
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
