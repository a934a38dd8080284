"""The segmentation models, one paper a file; a file here that defines `Model` is a model.

A model is a linen module: `Model(num_classes, ...options, dtype, statistics, remat)`, called with
normalised images and `train`, returns `(logits, endpoints)`: logits float32 [b, h', w', classes] at
the head's own stride, endpoints a dict of named features, `endpoints["aux_logits"]` among them if
the model has an auxiliary head. The encoder's parameters are under the top-level key "encoder".
`contract.py` says the rest and checks it.

Images may have any size from 1x1 up, but for

- backbone vgg16 with `rounding` "floor", in the classifier: 32 pixels or more;
- the classifier on vgg16 with `fc_padding` "valid": 193 or more, with `rounding` "floor" 224;
- backbone xception: 7 or more, for its stem is not padded;
- unet with `padding` "valid": what its `fit` gives. Evaluation and prediction take any size, for
  they mirror images at their borders (`jaxseg/inference`).

What is smaller is refused with a UserError.
"""

import dataclasses
import importlib
import math
import pkgutil
from typing import Any, get_args

from jaxseg.errors import UserError, suggest
from jaxseg.models import contract
from jaxseg.ops.norm import GLOBAL, Statistics

# Fields that every model has and no config sets under the model's options.
_COMMON = {*contract.FIELDS, "parent", "name"}
# What is expected of an option, by its annotation
_KINDS = {
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "a text",
    tuple[int, ...]: "whole numbers, such as (1, 2)",
    tuple[float, ...]: "numbers, such as (0.5, 0.5)",
}


def build(
    name: str,
    num_classes: int,
    *,
    dtype: Any,
    statistics: Statistics = GLOBAL,
    remat: bool = False,
    **options_: Any,
) -> Any:
    """The model jaxseg/models/`name`.py with the options given, the rest as its class says.

    `statistics` are batch norm's. With `remat` the encoder's blocks are recomputed in the backward
    pass.

    Returns:
      A `contract.SegmentationModel`.

    Raises:
      UserError: an unknown model or option, or a model that breaks the contract. Lists (as configs
        hold them) become tuples.
    """
    known = _fields(name)
    for option in options_:
        if option not in known:
            raise UserError(f"model {name!r} has no option {option!r}: {suggest(option, known)}")
    options_ = {k: tuple(v) if isinstance(v, list) else v for k, v in options_.items()}
    for option, value in options_.items():
        expected = _wrong_type(known[option].type, value) or _out_of_range(option, value)
        if expected:
            raise UserError(f"model {name}: {option} is {value!r}, expected {expected}")
    model = _model(name)(
        num_classes=num_classes, dtype=dtype, statistics=statistics, remat=remat, **options_
    )
    contract.check(name, model)
    return model


def options(name: str) -> dict[str, Any]:
    """The model's own options and their defaults. Raises UserError on an unknown model."""
    return {option: field.default for option, field in _fields(name).items()}


def names() -> list[str]:
    """All models: the files here that define `Model`."""
    return [name for name in _files() if hasattr(_import(name), "Model")]


def summary(name: str) -> str:
    """The first line of the docstring of a model's file."""
    return (_import(name).__doc__ or "").strip().split("\n")[0]


def _fields(name: str) -> dict[str, dataclasses.Field]:
    """The model's own options."""
    fields = dataclasses.fields(_model(name))
    return {field.name: field for field in fields if field.name not in _COMMON}


def _wrong_type(kind: Any, value: Any) -> str:
    """What is expected, if `value` is of another kind than the option's annotation; else nothing.

    Annotations other than those of `_KINDS` are not checked.
    """
    if kind not in _KINDS:
        return ""
    if kind in (tuple[int, ...], tuple[float, ...]):
        element = get_args(kind)[0]
        fits = isinstance(value, tuple) and not any(_wrong_type(element, n) for n in value)
    elif kind is float:
        fits = type(value) in (int, float)
    else:
        fits = type(value) is kind
    return "" if fits else _KINDS[kind]


def _out_of_range(option: str, value: Any) -> str:
    """What is expected, if a number of `value` is out of the option's range; else nothing."""
    numbers = value if isinstance(value, tuple) else (value,)
    if option in ("dropout", "norm_momentum"):
        return "" if all(0 <= n < 1 for n in numbers) else "at least 0 and less than 1"
    if option in ("norm_epsilon", "width_multiplier"):
        return "" if all(0 < n < math.inf for n in numbers) else "more than 0"
    least = 0 if option == "without_skips" else 1
    return f"at least {least}" if any(type(n) is int and n < least for n in numbers) else ""


def _model(name: str) -> Any:
    """The class; raises UserError if there is none or it breaks the contract."""
    if name in _files() and (model := getattr(_import(name), "Model", None)):
        contract.check_class(name, model)
        return model
    raise UserError(f"no model {name!r} in jaxseg/models: {suggest(name, names())}")


def _files() -> list[str]:
    return [module.name for module in pkgutil.iter_modules(__path__)]


def _import(name: str) -> Any:
    return importlib.import_module(f"{__name__}.{name}")
