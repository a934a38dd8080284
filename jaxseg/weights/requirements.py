"""What a config must say for foreign weights to compute what they computed where they are from.

Options of `Imported` are of four kinds. Those that names and shapes of entries show are left to
`merge`. What may be meant to differ is noted. What a foreign file does not tell (`assumed`) is
noted too: such networks are also trained with other colours, and others are converted with another
padding. All other options, such as a new one of a model, must be the same.
"""

from collections.abc import Iterator
from typing import Any

from ml_collections import ConfigDict

from jaxseg.errors import UserError
from jaxseg.weights.imported import Imported

# Options that change names or shapes of entries.
SHOWN = frozenset(
    {
        *("aux_head", "head_conv", "image_pooling", "context_module", "aspp_channels"),
        *("separable", "depthwise_norm", "decoder", "decoder_depth", "decoder_channels"),
        *("low_level_channels", "stages", "batch_norm", "width", "depth", "width_multiplier"),
        *("fc_width", "stride", "learned_upsampling"),
    }
)
# Meant where they differ: atrous convolution makes the same features at any output stride, FCN's
# stages go on all at once, a classifier's fc6 is padded to label small images.
_MEANT = frozenset({"output_stride", "at_once", "fc_padding"})
# A classifier's, which another model that it begins has for its own ends.
_MEANT_BESIDE_A_CLASSIFIER = frozenset({"multi_grid", "first_block_rate", "corners"})


def check(imported: Imported, config: ConfigDict) -> list[str]:
    """Compare the model's options and the images' normalisation.

    Options that the model does not have are passed over.

    Returns:
      Notes on what differs and may.

    Raises:
      UserError: something differs; the message holds the flags to paste.
    """
    meant = _MEANT
    if imported.model == "classifier" != config.model.name:
        meant |= _MEANT_BESIDE_A_CLASSIFIER
    notes, differ, guessed = [], [], False
    for key, ours, value in _differences(imported, config):
        name = key.split(".")[1]
        if key in ("dataset.mean", "dataset.std") and name in imported.assumed:
            guessed = True
        elif name in meant:
            notes.append(f"{name} {text(ours)} here, {text(value)} there")
        elif name in imported.assumed:
            notes.append(f"{name} was probably {text(value)}, here {text(ours)}")
        elif name not in SHOWN:
            differ.append((key, ours, value))
    if guessed:
        notes.append(
            f"images were probably normalised with mean {text(imported.mean)} "
            f"std {text(imported.std)}, here with mean {text(tuple(config.dataset.mean))} "
            f"std {text(tuple(config.dataset.std))}"
        )
    if differ:
        ours = ", ".join(f"{key} is {text(value)}" for key, value, _ in differ)
        flags = " ".join(flag(key, value) for key, _, value in differ)
        raise UserError(
            f"{imported.family} weights need other settings than this config's ({ours}): "
            f"add {flags}"
        )
    return notes


def hint(imported: Imported, config: ConfigDict) -> str:
    """Flags of the options that differ and that names and shapes show, for `merge`'s error."""
    differ = ((key, value) for key, _, value in _differences(imported, config))
    return " ".join(flag(key, value) for key, value in differ if key.split(".")[1] in SHOWN)


def _differences(imported: Imported, config: ConfigDict) -> Iterator[tuple[str, Any, Any]]:
    """Keys of the config, their values here and there."""
    wanted = {f"model.{k}": v for k, v in imported.options.items() if k in config.model}
    wanted |= {"dataset.mean": imported.mean, "dataset.std": imported.std}
    for key, value in wanted.items():
        section, name = key.split(".")
        if not _equal(ours := config[section][name], value):
            yield key, ours, value


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
