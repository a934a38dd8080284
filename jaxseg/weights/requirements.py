"""What a config must say for foreign weights to compute what they computed where they are from."""

from typing import Any

from ml_collections import ConfigDict

from jaxseg.errors import UserError
from jaxseg.weights.imported import Imported

# Atrous convolution makes the same features at any: what changes with it is meant to.
_FREE = ("model.output_stride",)


def check(imported: Imported, config: ConfigDict) -> list[str]:
    """Compare the model's options and the images' normalisation.

    Options that the model does not have are passed over.

    Returns:
      Notes on what differs and may.

    Raises:
      UserError: something differs; the message holds the flags to paste.
    """
    wanted = {f"model.{k}": v for k, v in imported.options.items() if k in config.model}
    wanted |= {"dataset.mean": imported.mean, "dataset.std": imported.std}
    notes, differ = [], []
    for key, value in wanted.items():
        section, name = key.split(".")
        if _equal(ours := config[section][name], value):
            continue
        if key in _FREE:
            notes.append(f"{name} {text(ours)} here, {text(value)} there")
        else:
            differ.append((key, ours, value))
    if differ:
        ours = ", ".join(f"{key} is {text(value)}" for key, value, _ in differ)
        flags = " ".join(flag(key, value) for key, _, value in differ)
        raise UserError(
            f"{imported.family} weights need other settings than this config's ({ours}): "
            f"add {flags}"
        )
    return notes


def _equal(ours: Any, theirs: Any) -> bool:
    if isinstance(theirs, str | bool):
        return ours == theirs
    ours, theirs = _numbers(ours), _numbers(theirs)
    # Colours are rounded in some places: 0.229 * 255 and 58.395. Epsilons differ by factors.
    return len(ours) == len(theirs) and all(
        abs(a - b) <= 1e-4 * abs(b) for a, b in zip(ours, theirs, strict=True)
    )


def _numbers(value: Any) -> tuple[int | float, ...]:
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def text(value: Any) -> str:
    """As a config's argument and its flags take it."""
    if isinstance(value, list | tuple):
        return "(" + ",".join(map(text, value)) + ("," if len(value) == 1 else "") + ")"
    return f"{value:.7g}" if isinstance(value, float) else str(value)


def flag(key: str, value: Any) -> str:
    """The flag that sets a key of the config, as a shell takes it."""
    quote = '"' if isinstance(value, list | tuple) else ""
    return f"--config.{key}={quote}{text(value)}{quote}"
