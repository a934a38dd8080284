"""A run's config: checked, kept in the run's folder, and compared on a resume."""

import dataclasses
import hashlib
import json
import sys
import types
import typing
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from jaxseg import defaults, files, models
from jaxseg.data import balancing, pixels
from jaxseg.defaults import Config, to_dict
from jaxseg.errors import UserError, suggest
from jaxseg.ranges import CHOICES, NOT_NEGATIVE, RANGES

# Keys that may differ between a run and its continuation: they change no number.
FREE_KEYS = {
    "dataset.source",  # a run keeps what data it used by content: `data.identity`
    "dataset.data_dir",
    "dataset.cache",
    "dataset.group",
    "pipeline.workers",
    "pipeline.prefetch",
    "pipeline.on_unreadable",
    "checkpoint.keep",
    "best_metric",  # which checkpoint is kept as the best, see `scoring.best_first`
    "num_predictions",
    "profile.first_step",
    "profile.steps",
}

# Keys that earlier versions stored under another name, or that no version reads any more.
RENAMED = {
    "model.corners": "model.upsampling_corners",  # of U-Net, whose logits are not resized
    "loss.class_weights": "loss.cross_entropy.class_weights",
    "loss.label_smoothing": "loss.cross_entropy.label_smoothing",
}
REMOVED = {"dataset.builder_config", "lowerings.grouped_conv"}
# What runs did that were stored before the key existed, where today's default is another.
BEFORE: dict[str, Any] = {"model.first_block_rate": "previous"}


def load_config(workdir: Path) -> ConfigDict:
    """The resolved config of a run, in today's keys."""
    path = workdir / "config.json"
    if not path.is_file():
        raise UserError(
            f"{workdir} is not a run: it has no config.json; train with --workdir first"
        )
    values, added = migrate(json.loads(path.read_text()))
    flat = flatten(values)
    if added := sorted(key for key in added - FREE_KEYS if not _is_of_unused_loss(key, flat)):
        told = ", ".join(f"{key}={flat[key]!r}" for key in added)
        print(
            f"{path} is of an earlier version; what it lacks is as it was: {told}", file=sys.stderr
        )
    return locked(values)


def migrate(stored: dict[str, Any]) -> tuple[dict[str, Any], set[str]]:
    """A stored config in today's keys, and the keys that were added to it.

    What is added has the value that reproduces what the run did before the key existed.
    """
    flat = flatten(stored)
    if flat.pop("model.dilate_strided", False):
        flat["model.first_block_rate"] = "own"
    known = {**flatten(defaults.get_config(flat["model.name"]).to_dict()), **BEFORE}
    flat = {k if k in known else RENAMED.get(k, k): value for k, value in flat.items()}
    flat = {key: value for key, value in flat.items() if key not in REMOVED - known.keys()}
    added = {key for key in known if key not in flat and not _is_foreign(key, flat)}
    return _nested({**flat, **{key: known[key] for key in added}}), added


def _is_foreign(key: str, flat: dict[str, Any]) -> bool:
    """Whether BEFORE has a key of a model's option that the run's model does not have."""
    return key.startswith("model.") and key[len("model.") :] not in models.options(
        flat["model.name"]
    ).keys() | {"name"}


def _is_of_unused_loss(key: str, flat: dict[str, Any]) -> bool:
    """Whether a key belongs to a loss that has no weight."""
    return key.startswith("loss.") and not flat.get(f"{key.rpartition('.')[0]}.weight", True)


def locked(values: dict[str, Any]) -> ConfigDict:
    """A config of plain values; JSON's lists become the tuples that they were."""
    config = ConfigDict(_with_tuples(values))
    config.lock()
    return config


def _with_tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_tuples(item) for key, item in value.items()}
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value


def check_config(config: ConfigDict) -> Config:
    """The config as frozen dataclasses, every value of it of the right type and in its range.

    Raises:
      UserError: what would otherwise only fail later, hours into a run.
    """
    checked = _section(Config, _with_tuples_of_weights(config.to_dict()), "config.")
    flat = flatten(to_dict(checked))
    for key, interval in RANGES.items():
        values = flat[key] if isinstance(flat[key], tuple) else (flat[key],)
        if not all(value in interval for value in values):
            raise UserError(f"config.{key} is {flat[key]}, expected {interval}")
    for key, choices in CHOICES.items():
        if flat[key] not in choices:
            raise UserError(f"config.{key} is {flat[key]!r}; {suggest(flat[key], choices)}")
    for where, terms in (("loss", checked.loss.terms), ("loss.aux", checked.loss.aux)):
        for name, term in terms.items():
            if "weight" not in term or term["weight"] not in NOT_NEGATIVE:
                raise UserError(
                    f"config.{where}.{name}.weight is {term.get('weight')}, expected 0 or more"
                )
            balancing.check(term.get("class_weights", ()), f"config.{where}.{name}.class_weights")
    low, high = checked.augment.scale
    if low > high:
        raise UserError(f"config.augment.scale is ({low}, {high}), expected the smaller one first")
    pixels.check(checked.dataset)
    for key in ("saturation", "hue", "grey"):
        if checked.dataset.channels != 3 and flat[f"augment.{key}"]:
            raise UserError(
                f"config.augment.{key} is {flat[f'augment.{key}']}, which is for RGB, and "
                f"dataset.channels is {checked.dataset.channels}: set --config.augment.{key}=0"
            )
    return checked


def _with_tuples_of_weights(values: dict[str, Any]) -> dict[str, Any]:
    """A name of class weights as a tuple of one, whose type takes any override when stored."""
    loss = values.get("loss", {})
    for term in (*loss.values(), *loss.get("aux", {}).values()):
        if isinstance(term, dict) and not isinstance(term.get("class_weights", ()), tuple | list):
            term["class_weights"] = (term["class_weights"],)
    return values


def _section(cls: Any, values: dict[str, Any], prefix: str) -> Any:
    """`cls` from a plain dict, with the types of its fields checked."""
    hints, given, others = typing.get_type_hints(cls), dict(values), {}
    for field in dataclasses.fields(cls):
        kind, key = hints[field.name], prefix + field.name
        if field.metadata.get("others"):
            others[field.name] = given  # what the named fields leave
        elif field.name not in given:
            raise UserError(f"the config has no {key}: begin it with jaxseg/defaults.py")
        elif dataclasses.is_dataclass(kind):
            others[field.name] = _section(kind, given.pop(field.name), key + ".")
        else:
            others[field.name] = _typed(kind, given.pop(field.name), key)
    if given and not any(field.metadata.get("others") for field in dataclasses.fields(cls)):  # pyright: ignore[reportArgumentType]
        raise UserError(f"the config has no key {prefix}{min(given)}: {suggest(min(given), hints)}")
    return cls(**others)


def _typed(kind: Any, value: Any, key: str) -> Any:
    """`value`, as a float or tuple if `kind` is one; raises UserError if it is none of `kind`."""
    if isinstance(kind, types.UnionType):
        kinds = typing.get_args(kind)
        kind = next((k for k in kinds if isinstance(value, typing.get_origin(k) or k)), kind)
    if typing.get_origin(kind) is tuple and isinstance(value, tuple | list):
        kinds = typing.get_args(kind)
        if kinds[-1] is ...:
            kinds = kinds[:1] * len(value)
        if len(kinds) != len(value):
            raise UserError(f"{key} is {value}, expected {len(kinds)} numbers")
        return tuple(_typed(k, v, key) for k, v in zip(kinds, value, strict=True))
    if kind is float and type(value) is int:
        return float(value)
    plain = typing.get_origin(kind) or kind
    if not isinstance(value, plain) or (isinstance(value, bool) and kind is not bool):
        raise UserError(f"{key} is {value!r}, expected {getattr(kind, '__name__', kind)}")
    return value


def digest(config: Config) -> str:
    """The same for configs that give the same numbers; `FREE_KEYS` do not count."""
    flat = flatten(to_dict(config))
    kept = {key: value for key, value in flat.items() if key not in FREE_KEYS}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:12]


def check_unchanged(config: Config, workdir: Path) -> None:
    """Compare with the config of the run in `workdir`, if there is one.

    Raises:
      UserError: the folder holds a run whose config differs.
    """
    path = workdir / "config.json"
    if path.exists():
        stored, _ = migrate(json.loads(path.read_text()))
        _refuse_difference(stored, json.loads(json.dumps(to_dict(config))), workdir)


def store_config(config: Config, workdir: Path, *, write: bool = True) -> None:
    """Write the run's `config.json`."""
    if write:
        text = json.dumps(to_dict(config), indent=2, sort_keys=True)
        files.write_text(workdir / "config.json", text + "\n")


def _refuse_difference(old: dict[str, Any], new: dict[str, Any], workdir: Path) -> None:
    before, now = flatten(old), flatten(new)
    keys = sorted(k for k in before.keys() | now.keys() if before.get(k) != now.get(k))
    changed = [f"{k}: {before.get(k)!r} -> {now.get(k)!r}" for k in keys if k not in FREE_KEYS]
    if changed:
        raise UserError(
            f"{workdir} holds a run with another config ({'; '.join(changed)}): "
            "choose another --workdir, or continue all the same with --allow_config_change"
        )


def _nested(flat: dict[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, value in flat.items():
        *sections, name = key.split(".")
        section = tree
        for part in sections:
            section = section.setdefault(part, {})
        section[name] = value
    return tree


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Sections of a config as keys with dots."""
    flat = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        flat.update(flatten(value, name + ".") if isinstance(value, dict) else {name: value})
    return flat
