"""Lovász-Softmax loss: a convex surrogate of 1 - IoU.

Berman, Rannen Triki, Blaschko, "The Lovász-Softmax loss: a tractable surrogate for the optimization
of the intersection-over-union measure in neural networks", CVPR 2018, section 2 and definition 2.
For each class, the pixels' errors |y - p| in descending order are multiplied with the growth of the
Jaccard loss 1 - |y intersected| / |union| as pixel after pixel is taken for wrong, and added up:
the Lovász extension of the Jaccard loss. The loss is the mean over classes.
"""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxseg.losses import _batch
from jaxseg.ops import pixels, resize


@dataclasses.dataclass(frozen=True)
class Loss:
    """A mean over classes, of the whole batch; with `per_image` a mean over images too.

    Void pixels are sorted nowhere, and images without a valid pixel do not count. A pixel of weight
    w counts like 1 + w pixels of its error.

    One class after the other is enlarged and sorted: a dozen float32 a pixel and two copies of the
    logits are held, however many classes there are. Of a batch, every device sorts the pixels of
    all devices, which takes half of that for each pixel of the global batch; with `per_image`
    nothing is exchanged. Sorting takes longest: on a CPU 0.1 s a class for 290,000 pixels.
    """

    classes: str = "present"  # in the truth of the batch or image; or "all"
    per_image: bool = False

    @property
    def unit(self) -> str:
        return "image" if self.per_image else "batch"

    def check(self, num_classes: int) -> None:
        _batch.check_classes(self.classes)

    def count(self, labels: Int[Array, "b H W"], *, void: int) -> Float[Array, ""]:
        return _batch.count(labels, void=void, per_image=self.per_image)

    def sum(
        self,
        logits: Float[Array, "b h w c"],
        labels: Int[Array, "b H W"],
        weights: Float[Array, "b H W"] | None = None,
        *,
        void: int,
        corners: str = "half_pixel",
        axis_name: str | None = None,
    ) -> Float[Array, ""]:
        mass = _batch.masses(labels, weights, void=void)
        how = _How(self.classes, self.per_image, corners, axis_name)
        return _surrogate(logits.astype(jnp.float32), labels, mass, how)


@dataclasses.dataclass(frozen=True)
class _How:
    classes: str
    per_image: bool
    corners: str
    axis_name: str | None


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def _surrogate(logits: Array, labels: Array, mass: Array, how: _How) -> Array:
    """The losses of images, added up, or this device's part of the batch's."""
    planes, log_sum = _prepare(logits, labels, how)
    factors = _factors(labels, mass, logits.shape[-1], how)

    def add_class(total: Array, each: tuple[Array, Array, Array]) -> tuple[Array, None]:
        index, plane, factor = each
        error, slope, _ = _errors(index, plane, labels, mass, log_sum, how)
        return total + (factor[:, None, None] * error * slope).sum(), None

    return jax.lax.scan(add_class, jnp.float32(0), (*_numbered(planes), factors))[0]


def _forward(logits: Array, labels: Array, mass: Array, how: _How) -> tuple[Array, Array]:
    """The value and its gradient.

    With a_c the derivative by the probability p_c, that by the logit of class k is
    p_k (a_k - sum_c(a_c p_c)): the first term comes with the sorting of class k, the second when
    all classes have added to the sum.
    """
    planes, log_sum = _prepare(logits, labels, how)
    factors = _factors(labels, mass, logits.shape[-1], how)
    _, shrink = _enlargement(logits, labels, how.corners)

    def first(state: tuple[Array, Array], each: tuple[Array, Array, Array]) -> tuple:
        total, mixed = state
        index, plane, factor = each
        error, slope, p = _errors(index, plane, labels, mass, log_sum, how)
        slope = factor[:, None, None] * slope
        product = jnp.where(labels == index, -slope, slope) * p
        return (total + (error * slope).sum(), mixed + product), shrink(product)

    zeros = jnp.float32(0), jnp.zeros_like(log_sum)
    (total, mixed), direct = jax.lax.scan(first, zeros, (*_numbered(planes), factors))

    def second(plane_and_direct: tuple[Array, Array]) -> Array:
        plane, direct = plane_and_direct
        return direct - shrink(_probability(plane, labels, log_sum, how) * mixed)

    return total, jnp.moveaxis(jax.lax.map(second, (planes, direct)), 0, -1)


def _backward(how: _How, gradient: Array, cotangent: Array) -> tuple[Array, None, None]:
    return cotangent * gradient, None, None


_surrogate.defvjp(_forward, _backward)


def _prepare(logits: Array, labels: Array, how: _How) -> tuple[Array, Array]:
    """The logits by class, [c b h w], and the logarithm of the softmax's denominator [b H W]."""

    def log_sum(logits: Array, labels: Array) -> Array:
        return jax.nn.logsumexp(logits, axis=2)

    return jnp.moveaxis(logits, -1, 0), pixels.values(log_sum, logits, labels, corners=how.corners)


def _numbered(planes: Array) -> tuple[Array, Array]:
    return jnp.arange(len(planes), dtype=jnp.int32), planes


def _factors(labels: Array, mass: Array, num_classes: int, how: _How) -> Array:
    """What each class of each image contributes to the mean: [c b]."""

    def volume(index: Array) -> Array:
        return jnp.where(labels == index, mass, 0.0).sum((1, 2))

    truth = jax.lax.map(volume, jnp.arange(num_classes, dtype=jnp.int32)).T
    if not how.per_image:
        truth = _batch.over_devices(truth.sum(0), how.axis_name)
        truth = jnp.broadcast_to(truth, (len(labels), num_classes))
    return _batch.class_factors(truth, how.classes).T


def _enlargement(logits: Array, labels: Array, corners: str) -> tuple:
    """Functions that enlarge a class's logits [b h w] to [b H W], and take a gradient back."""
    (_, h, w, _), (_, H, W) = logits.shape, labels.shape
    if (h, w) == (H, W):
        return (lambda x: x), (lambda x: x)
    rows = resize.interpolation_matrix(h, H, corners)
    columns = resize.interpolation_matrix(w, W, corners)
    product = partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)  # as in `bands`

    def enlarge(plane: Array) -> Array:
        return product("bHw,Ww->bHW", product("Hh,bhw->bHw", rows, plane), columns)

    def shrink(gradient: Array) -> Array:
        return product("Hh,bHw->bhw", rows, product("bHW,Ww->bHw", gradient, columns))

    return enlarge, shrink


def _probability(plane: Array, labels: Array, log_sum: Array, how: _How) -> Array:
    enlarge, _ = _enlargement(plane[..., None], labels, how.corners)
    # at most 1, which rounding may exceed where logits are huge
    return jnp.minimum(jnp.exp(enlarge(plane) - log_sum), 1.0)


def _errors(
    index: Array, plane: Array, labels: Array, mass: Array, log_sum: Array, how: _How
) -> tuple[Array, Array, Array]:
    """Of one class: the error of each pixel, the slope of the loss by it, and the probability."""
    p = _probability(plane, labels, log_sum, how)
    true = labels == index
    error = jnp.where(mass > 0, jnp.abs(true - p), 0.0)
    return error, _slopes(error, jnp.where(true, mass, -mass), how), p


def _slopes(error: Array, signed: Array, how: _How) -> Array:
    """`lovasz_gradient` of each image, or of the batch of all devices: [b H W]."""
    if how.per_image:
        flat = error.reshape(len(error), -1), signed.reshape(len(error), -1)
        return jax.vmap(lovasz_gradient)(*flat).reshape(error.shape)
    flat = error.reshape(-1), signed.reshape(-1)
    if how.axis_name is None:
        return lovasz_gradient(*flat).reshape(error.shape)
    everywhere = (jax.lax.all_gather(x, how.axis_name, tiled=True) for x in flat)
    begin = jax.lax.axis_index(how.axis_name) * error.size
    own = jax.lax.dynamic_slice_in_dim(lovasz_gradient(*everywhere), begin, error.size)
    return own.reshape(error.shape)


def lovasz_gradient(error: Float[Array, " n"], signed: Float[Array, " n"]) -> Float[Array, " n"]:
    """The growth of the Jaccard loss at each pixel, with pixels taken by descending error.

    Of equal errors the first comes first, so that devices do not matter. The growth is computed as
    such, not as a difference of losses near 1, in which large batches would lose it.

    Args:
      error: of each pixel for one class.
      signed: as how many pixels each counts; negative where the class is not the truth.
    """
    order = jnp.argsort(-error, stable=True)
    signed = signed[order]
    true, false = jnp.maximum(signed, 0.0), jnp.maximum(-signed, 0.0)
    taken = jnp.cumsum(true)
    left = taken[-1] - taken  # of the intersection
    union = taken[-1] + jnp.cumsum(false)
    before = union - false
    # without a true pixel, the first false one takes the loss from 0 to 1
    remaining = jnp.where(before > 0, left / jnp.where(before > 0, before, 1.0), 1.0)
    growth = (true + false * remaining) / jnp.where(union > 0, union, 1.0)
    return jnp.zeros_like(error).at[order].set(growth, unique_indices=True)
