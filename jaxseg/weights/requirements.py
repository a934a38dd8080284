"""The settings that a model needs to compute with foreign weights what it computed at their source.

The options in `Imported` are of four kinds:

- structural ones change names or shapes of entries: `merge` reports what does not fit;
- some may well differ, such as the output stride: a note says so;
- some the file does not tell and its program does not fix (`Imported.assumed`): a note as well,
  because others train the same networks with other normalisation, or convert them with other
  padding;
- all others must be equal, a model's newest option included.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from jaxseg.errors import UserError
from jaxseg.weights.imported import NORMALISATION, Imported

FULL_SCALE = {8: 255, 16: 65535}  # by bits: a mean of 16 bits is in units of 1/257

STRUCTURAL = frozenset(
    {
        *("aux_head", "head_conv", "image_pooling", "context_module", "aspp_channels"),
        *("separable", "depthwise_norm", "decoder", "decoder_depth", "decoder_channels"),
        *("low_level_channels", "stages", "batch_norm", "width", "depth", "width_multiplier"),
        *("fc_width", "stride", "learned_upsampling"),
    }
)
# Atrous convolution makes the same features at any output stride, FCN's stages may be trained all
# at once, a classifier's fc6 is padded so that it labels small images.
_MAY_DIFFER = frozenset({"output_stride", "at_once", "fc_padding"})
# Of a classifier whose encoder another model takes; that model sets them for itself.
_MAY_DIFFER_FROM_CLASSIFIER = frozenset({"multi_grid", "first_block_rate", "corners"})


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a config says of the model and of its input's normalisation."""

    model: str
    options: Mapping[str, Any]  # the model's, by name
    mean: tuple[float, ...]
    std: tuple[float, ...]
    bits: int = 8  # of images


def check(imported: Imported, settings: Settings) -> list[str]:
    """Compare the model's options and the normalisation.

    Options that the model does not have are ignored.

    Returns:
      Notes on what differs and may.

    Raises:
      UserError: something differs that must not; the message holds the flags to paste.
    """
    may_differ = _MAY_DIFFER
    if imported.model == "classifier" != settings.model:
        may_differ |= _MAY_DIFFER_FROM_CLASSIFIER
    notes, wrong, other_normalisation = [], [], False
    other_channels = len(settings.mean) != len(imported.mean)  # whose means can't be compared
    for key, ours, theirs in _differences(imported, settings):
        section, name = key.split(".")
        if section == "dataset" and (name in imported.assumed or other_channels):
            other_normalisation = True
        elif name in may_differ:
            notes.append(f"{name} {text(ours)} here, {text(theirs)} there")
        elif name in imported.assumed:
            notes.append(f"{name} was probably {text(theirs)}, here {text(ours)}")
        elif name not in STRUCTURAL:
            wrong.append((key, ours, theirs))
    if other_normalisation:
        sure = "" if imported.assumed.isdisjoint(NORMALISATION) else "probably "
        notes.append(
            f"images were {sure}normalised with mean {text(imported.mean)} "
            f"std {text(imported.std)}, here with mean {text(settings.mean)} "
            f"std {text(settings.std)}"
        )
    if wrong:
        found = ", ".join(f"{key} is {text(ours)}" for key, ours, _ in wrong)
        flags = " ".join(flag(key, theirs) for key, _, theirs in wrong)
        raise UserError(
            f"{imported.family} weights need other settings than this config's ({found}): "
            f"add {flags}"
        )
    return notes


def hint(imported: Imported, settings: Settings) -> str:
    """Flags for the structural options that differ, for `merge`'s error."""
    differences = _differences(imported, settings)
    wanted = ((key, theirs) for key, _, theirs in differences if key.split(".")[1] in STRUCTURAL)
    return " ".join(flag(key, theirs) for key, theirs in wanted)


def _differences(imported: Imported, settings: Settings) -> Iterator[tuple[str, Any, Any]]:
    """The config's keys that differ, their values here and there."""
    ours = {f"model.{name}": value for name, value in settings.options.items()}
    ours |= {"dataset.mean": settings.mean, "dataset.std": settings.std}
    theirs = {f"model.{name}": value for name, value in imported.options.items()}
    ratio = FULL_SCALE[settings.bits] / FULL_SCALE[imported.bits]
    for name, values in (("mean", imported.mean), ("std", imported.std)):
        theirs[f"dataset.{name}"] = tuple(ratio * value for value in values)
    for key, value in theirs.items():
        if key in ours and not _equal(ours[key], value):
            yield key, ours[key], value


def _equal(ours: Any, theirs: Any) -> bool:
    if isinstance(theirs, str | bool):
        return ours == theirs
    ours, theirs = _numbers(ours), _numbers(theirs)
    # Means are rounded in some places, 0.229 * 255 and 58.395; epsilons differ by factors
    return len(ours) == len(theirs) and all(
        abs(a - b) <= 1e-4 * abs(b) for a, b in zip(ours, theirs, strict=True)
    )


def _numbers(value: Any) -> tuple[int | float, ...]:
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def text(value: Any) -> str:
    """A value as a config's argument and its flags take it."""
    if isinstance(value, list | tuple):
        return "(" + ",".join(map(text, value)) + ("," if len(value) == 1 else "") + ")"
    return f"{value:.7g}" if isinstance(value, float) else str(value)


def flag(key: str, value: Any) -> str:
    """The flag that sets a key of the config, quoted for a shell."""
    quote = '"' if isinstance(value, list | tuple) else ""
    return f"--config.{key}={quote}{text(value)}{quote}"
