"""What a model promises to training, evaluation and prediction, and how that is checked.

`models.build` checks the class (`check`), and the first trace of its parameters what it computes
(`init`), so that a model that breaks the contract stops the run with one line.
"""

import dataclasses
import inspect
from typing import Any, Protocol, runtime_checkable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxseg.errors import UserError
from jaxseg.ops.norm import Statistics
from jaxseg.ops.resize import CORNERS

# Fields that every model has, and that `models.build` fills in.
FIELDS = ("num_classes", "dtype", "statistics", "remat")


@runtime_checkable
class SegmentationModel(Protocol):
    """A linen module with these fields and attributes, of which `CoversImage` gives most."""

    num_classes: int
    dtype: Any  # of the computation; parameters and logits are float32
    statistics: Statistics  # batch norm's: hand it to `ops.norm.BatchNorm`, as `bind_model` does
    remat: bool  # recompute the encoder's blocks in the backward pass

    @property
    def corners(self) -> str:
        """The convention by which logits are resized to the image, see `ops.resize`."""
        ...

    @property
    def interpolation(self) -> tuple[int, str]:
        """The coarsest stride that is resized to the image or a finer map, and its corners.

        (1, ...) where nothing is resized, or by whole factors whatever the image's size.
        """
        ...

    @property
    def labels_pixels(self) -> bool:
        """Whether logits are of the image's pixels, as training and evaluation need."""
        ...

    @property
    def context(self) -> int:
        """Pixels on every side of the image that have no logits."""
        ...

    @property
    def grid(self) -> int:
        """Where there is context: valid sizes are this far apart."""
        ...

    def fit(self, size: int) -> int:
        """The smallest valid height or width of at least `size`."""
        ...

    def check_size(self, size: tuple[int, int]) -> None:
        """Raise UserError unless images of this height and width can go in."""
        ...

    # of flax's modules
    def __call__(
        self, images: Float[Array, "b h w c"], *, train: bool
    ) -> tuple[Float[Array, "b h2 w2 k"], dict[str, Array]]:
        """Logits in float32 at the head's own stride, and named features.

        "aux_logits" among these is an auxiliary head's: the loss counts it too.
        """
        ...

    def clone(self, **fields: Any) -> Any: ...

    def apply(self, variables: Any, *args: Any, **kwargs: Any) -> Any: ...

    def init(self, rngs: Any, *args: Any, **kwargs: Any) -> Any: ...

    def init_with_output(self, rngs: Any, *args: Any, **kwargs: Any) -> Any: ...


class CoversImage:
    """For models of images of any size, whose logits cover all of the image.

    `class Model(CoversImage, nn.Module)`. A model whose logits, or maps on the way to them, are
    resized from a stride overrides `interpolation`, and may have a field `corners`.
    """

    corners: str = "half_pixel"
    context: int = 0
    grid: int = 1

    @property
    def labels_pixels(self) -> bool:
        return True

    @property
    def interpolation(self) -> tuple[int, str]:
        return 1, self.corners

    def fit(self, size: int) -> int:
        return size

    def check_size(self, size: tuple[int, int]) -> None:
        """Every size can."""


_ATTRIBUTES = {
    **{"corners": str, "interpolation": tuple, "labels_pixels": bool, "context": int, "grid": int},
    **{"fit": None, "check_size": None},
}
_SEE = "jaxseg/models/contract.py says what a model needs"


def check_class(name: str, model: Any) -> None:
    """Raise UserError unless `Model` of jaxseg/models/`name`.py can be built as the others are."""
    if not (isinstance(model, type) and issubclass(model, nn.Module)):
        raise UserError(f"model {name}: Model is {model!r}, expected a flax.linen module; {_SEE}")
    fields = {field.name for field in dataclasses.fields(model)}
    if missing := [field for field in FIELDS if field not in fields]:
        raise UserError(f"model {name} has no field {missing[0]!r}, expected {FIELDS}; {_SEE}")
    call = inspect.signature(model.__call__)
    try:
        call.bind(None, None, train=False)
    except TypeError as error:
        raise UserError(
            f"model {name}: __call__{call} can't be called as model(images, train=...): {error}; "
            f"{_SEE}"
        ) from None


def check(name: str, model: Any) -> None:
    """Raise UserError unless the model has the contract's attributes, with allowed values."""
    for attribute, kind in _ATTRIBUTES.items():
        if not hasattr(model, attribute):
            raise UserError(
                f"model {name} has no {attribute!r}: begin it with `class Model(CoversImage, "
                f"nn.Module)`, or define it; {_SEE}"
            )
        value = getattr(model, attribute)
        if kind and not isinstance(value, kind):
            raise UserError(
                f"model {name}: {attribute} is {value!r}, expected {kind.__name__}; {_SEE}"
            )
    if model.corners not in CORNERS:
        raise UserError(
            f"model {name}: corners is {model.corners!r}, expected one of {', '.join(CORNERS)}"
        )


def init(model: Any, key: Array, images: Float[Array, "b h w c"]) -> dict[str, Any]:
    """`model.init`, which also looks at what the model computes and by which layers.

    Raises:
      UserError: it is not the contract's.
    """
    with nn.intercept_methods(_refuse_flax_norm):
        # Evaluation mode: the parameters are the same, and nothing is averaged over `images`.
        output, variables = model.init_with_output(key, images, train=False)
    _check_output(model, output, images)
    if unknown := set(variables) - {"params", "batch_stats"}:
        raise UserError(
            f"{_name(model)} has variables {sorted(unknown)}, expected 'params' and 'batch_stats': "
            "no others are kept from step to step"
        )
    if "params" not in variables:
        raise UserError(f"{_name(model)} has no parameters to train")
    return variables


def _refuse_flax_norm(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
    if isinstance(context.module, nn.BatchNorm):
        raise UserError(
            f"{'/'.join(context.module.path)} is flax's BatchNorm, whose statistics are of all "
            "devices under jit but of one under pmap: use `layers = bind_model(self, train=train)` "
            "and `layers.norm(name=...)` of jaxseg.ops.layers"
        )
    return call(*args, **kwargs)


def _check_output(model: Any, output: Any, images: Array) -> None:
    if not (isinstance(output, tuple) and len(output) == 2 and isinstance(output[1], dict)):
        raise UserError(
            f"{_name(model)} returned {jax.tree.map(jnp.shape, output)}, expected (logits, dict of "
            "endpoints)"
        )
    maps = {"logits": output[0]}
    if "aux_logits" in output[1]:
        maps["aux_logits"] = output[1]["aux_logits"]
    for what, logits in maps.items():
        shape, dtype = jnp.shape(logits), jnp.result_type(logits)
        fits = len(shape) == 4 and shape[0] == images.shape[0] and shape[-1] == model.num_classes
        if not fits or dtype != jnp.float32:
            raise UserError(
                f"{_name(model)}: {what} are {dtype}{list(shape)}, expected "
                f"float32[{images.shape[0]}, height, width, {model.num_classes}]"
            )
    lost = [n - 2 * model.context for n in images.shape[1:3]]
    if model.context and output[0].shape[1:3] != tuple(lost):
        raise UserError(
            f"{_name(model)}: logits are {output[0].shape[1:3]}, expected {tuple(lost)}, for its "
            f"context is {model.context}"
        )


def _name(model: Any) -> str:
    return f"model {type(model).__module__.rpartition('.')[-1]}"  # its file


def corner_mismatch(
    model: SegmentationModel, size: tuple[int, int], key: str = "config.augment.crop_size"
) -> str | None:
    """One line that says how to mend `size`, if maps of that size are resized to the wrong places.

    Strides put feature i at pixel stride * i, plus a constant that depends on padding. "aligned"
    keeps that spacing on images of stride * k + 1 pixels, "half_pixel" on those of stride * k. On
    others a feature's place is off by an amount that grows from one side of the image to the other.

    Args:
      model: its `interpolation` says what is resized.
      size: height and width of images.
      key: of the config, for the message.
    """
    stride, corners = model.interpolation
    extra = int(corners == "aligned")
    fits = [(n - extra) % stride == 0 for n in size]
    if all(fits):
        return None
    drift = max(abs(_drift(n, stride, extra)) for n in size)
    nearest = tuple(max(1, round((n - extra) / stride)) * stride + extra for n in size)
    other = CORNERS[1 - extra]
    change = f", or {other} corners" * all((n - 1 + extra) % stride == 0 for n in size)
    return (
        f"{key} is {size}, but with {corners} corners and stride {stride} features keep their "
        f"place on sides of {stride} k{' + 1' * extra}: here they drift by {drift:.0f} pixels from "
        f"one border to the other; use {nearest}{change}"
    )


def evaluation_mismatch(
    model: SegmentationModel, canvas: tuple[int, int], size_multiple: int
) -> str | None:
    """`corner_mismatch` of the sizes that evaluation and prediction pad images to."""
    stride, corners = model.interpolation
    extra = int(corners == "aligned")
    larger = (canvas[0] + size_multiple, canvas[1] + size_multiple)
    sizes = [size for size in (canvas, larger) if min(size) > 0]
    if not any(corner_mismatch(model, size) for size in sizes):
        return None
    return (
        f"config.eval.canvas is {canvas} and size_multiple {size_multiple}, but with "
        f"{corners} corners and stride {stride} features keep their place on sides of {stride} k"
        f"{' + 1' * extra} only: use a canvas of {(extra, extra)} and size_multiple "
        f"{max(stride, size_multiple // stride * stride)}"
    )


def stride_mismatch(model: SegmentationModel, trained: int, given: int) -> str | None:
    """One line that says so, if features lie elsewhere at another output stride than in training.

    A convolution of stride 2 sees pixel 2 i (or 2 i + 1, where TensorFlow pads a map of even size),
    and half-pixel corners take its feature i to be at 2 i + 1/2. With a rate instead of the stride
    it sees pixel i, and that is where feature i belongs: all features have moved by half a pixel of
    the larger map. With "aligned" corners both are where they belong.
    """
    corners = model.interpolation[1]
    if trained == given or corners == "aligned":
        return None
    return (
        f"config.model.output_stride is {given}, but was {trained} in training: with {corners} "
        f"corners features now lie {abs(trained - given) // 2} pixels off; evaluate at "
        f"output_stride={trained}, or train with aligned corners and sizes of 32 k + 1"
    )


def _drift(size: int, stride: int, extra: int) -> float:
    """How much wider the features of a side lie after the resize than the stride put them."""
    last = -(-size // stride) - 1  # the first is 0
    return last * ((size - extra) / max(last + 1 - extra, 1) - stride)
