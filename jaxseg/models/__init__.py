"""The segmentation models, one paper a file; a file here that defines `Model` is a model.

A model is a linen module: `Model(num_classes, ...options, dtype, statistics, remat)`, called with
normalised images and `train`, returns `(logits, endpoints)`: logits float32 [b, h', w', classes] at
the head's own stride, endpoints a dict of named features, `endpoints["aux_logits"]` among them if
the model has an auxiliary head. The encoder's parameters are under the top-level key "encoder".

Images may have any size from 1x1 up, but for

- backbone vgg16 with `rounding` "floor", in the classifier: 32 pixels or more;
- the classifier on vgg16 with `fc_padding` "valid": 193 or more, with `rounding` "floor" 224;
- backbone xception: 7 or more, for its stem is not padded;
- unet with `padding` "valid": what its `fit` gives. Evaluation and prediction take any size, for
  they mirror images at their borders (`jaxseg/tiles.py`).

What is smaller is refused with a UserError.
"""

import dataclasses
import importlib
import pkgutil
from typing import Any

from jaxseg.errors import UserError, suggest
from jaxseg.ops.norm import GLOBAL, Statistics

# Fields that every model has and no config sets under the model's options.
_COMMON = {"num_classes", "dtype", "statistics", "remat", "parent", "name"}


def build(
    name: str,
    num_classes: int,
    *,
    dtype: Any,
    statistics: Statistics = GLOBAL,
    remat: bool = False,
    **options_: Any,
):
    """The model jaxseg/models/`name`.py with the options given, the rest as its class says.

    `statistics` are batch norm's. With `remat` the encoder's blocks are computed anew in the
    backward pass.

    Raises UserError on an unknown model or option. Lists (as configs hold them) become tuples.
    """
    known = options(name)
    for option in options_:
        if option not in known:
            raise UserError(f"model {name!r} has no option {option!r}: {suggest(option, known)}")
    options_ = {k: tuple(v) if isinstance(v, list) else v for k, v in options_.items()}
    for option, value in options_.items():
        if expected := _out_of_range(option, value):
            raise UserError(f"model {name}: {option} is {value}, expected {expected}")
    return _model(name)(
        num_classes=num_classes, dtype=dtype, statistics=statistics, remat=remat, **options_
    )


def options(name: str) -> dict[str, Any]:
    """The model's own options and their defaults. Raises UserError on an unknown model."""
    fields = dataclasses.fields(_model(name))
    return {field.name: field.default for field in fields if field.name not in _COMMON}


def _out_of_range(option: str, value: Any) -> str:
    """What is expected, if a number of `value` is out of the option's range; else nothing."""
    numbers = value if isinstance(value, tuple) else (value,)
    if option in ("dropout", "norm_momentum"):
        fits = all(isinstance(n, int | float) and 0 <= n < 1 for n in numbers)
        return "" if fits else "at least 0 and less than 1"
    if option in ("norm_epsilon", "width_multiplier"):
        return "" if all(n > 0 for n in numbers) else "more than 0"
    return "at least 1" if any(type(n) is int and n < 1 for n in numbers) else ""


def _model(name: str) -> Any:
    files = [module.name for module in pkgutil.iter_modules(__path__)]
    if name in files:
        module = importlib.import_module(f"{__name__}.{name}")
        if hasattr(module, "Model"):
            return module.Model
    known = [f for f in files if hasattr(importlib.import_module(f"{__name__}.{f}"), "Model")]
    raise UserError(f"no model {name!r} in jaxseg/models: {suggest(name, known)}")
