from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import evaluators, metrics
from jaxseg.data.palettes import voc_palette
from jaxseg.data.source import Classes
from jaxseg.errors import UserError
from jaxseg.evaluators import per_image

CLASSES = Classes(("a", "b", "c"), voc_palette(3))


def test_sums_of_parts_add_up_to_the_whole():
    rng = np.random.default_rng(0)
    prediction = rng.integers(0, 3, (4, 5, 6), np.int32)
    label = rng.choice([0, 1, 2, 255], (4, 5, 6)).astype(np.int32)
    mask = np.array([True, True, True, False])
    evaluator: Any = evaluators.build(("miou",), CLASSES)["miou"]

    def sums(part):
        batch = {"label": jnp.asarray(label[part]), "mask": jnp.asarray(mask[part])}
        return evaluator.update(jnp.asarray(prediction[part]), batch)

    total = evaluator.init()
    for part in (slice(0, 1), slice(1, 3), slice(3, 4)):
        total = total + np.asarray(sums(part))
    np.testing.assert_array_equal(total, sums(slice(0, 4)))
    assert total.dtype == np.int64
    assert total.sum() == (label[:3] != 255).sum()
    assert evaluator.compute(total) == metrics.scores(total, CLASSES.names)


@pytest.mark.parametrize(
    ("evals", "message"),
    [(("miouu",), "did you mean 'miou'"), ((), "expected 'miou' among them")],
)
def test_wrong_names_are_refused(evals, message):
    with pytest.raises(UserError, match=message):
        evaluators.build(evals, CLASSES)


def test_an_evaluator_of_no_kind_is_refused(monkeypatch):
    """Such as one that does not say what it needs."""
    monkeypatch.delattr(per_image.Evaluator, "needs")
    with pytest.raises(UserError, match=r"per_image\.py: expected one of .*with `needs`"):
        evaluators.build(("miou", "per_image"), CLASSES)


def test_every_evaluator_says_which_way_its_numbers_go_and_how_they_came_about():
    classes = Classes(("membrane", "cell"), CLASSES.palette[:2])
    made = evaluators.build(evaluators.names(), classes)
    assert not [name for name in made if name.startswith("_")]
    for name, each in made.items():
        assert each.higher_is_better, name
        assert len(each.protocol) > 40, name
        kinds = (evaluators.Summed, evaluators.PerImage, evaluators.OnHost)
        assert sum(isinstance(each, kind) for kind in kinds) == 1, name
    assert evaluators.needs(made) == {"calibration": ("confidence",), "checkerboard": ("scores",)}
    assert evaluators.is_higher_better(made, "boundary_f")
    assert not evaluators.is_higher_better(made, "hausdorff95")
    assert not evaluators.is_higher_better({}, "loss")
    with pytest.raises(UserError, match=r"best_metric is 'boundary_iuo', .*'boundary_iou'"):
        evaluators.is_higher_better(made, "boundary_iuo")
