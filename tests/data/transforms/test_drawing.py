import dataclasses

import numpy as np
import pytest

from jaxseg.data import transforms
from jaxseg.defaults import Augment


def test_displacements_are_gaussian_and_change_no_other_draw(make_augment):
    still = make_augment(scale=(0.5, 2.0), flip=True, rotate90=True, contrast=0.5)
    elastic = make_augment(
        scale=(0.5, 2.0), flip=True, rotate90=True, contrast=0.5, elastic=10.0, elastic_grid=4
    )
    draws = [transforms.draw(np.random.default_rng(seed), elastic) for seed in range(300)]
    drawn = np.stack([np.asarray(d.elastic) for d in draws])
    assert drawn.shape == (300, 4, 4, 2)
    assert abs(drawn.std() - 10) < 0.3
    assert abs(drawn.mean()) < 0.3
    again = transforms.draw(np.random.default_rng(7), elastic)
    np.testing.assert_array_equal(again.elastic, drawn[7])
    for seed in range(8):
        without = transforms.draw(np.random.default_rng(seed), still)
        assert dataclasses.replace(draws[seed], elastic=None) == without


# what each option may change, and a value that switches it on
OPTIONS = {
    "scale": ((0.5, 2.0), {"scale"}),
    "flip": (True, {"flip"}),
    "vertical_flip": (True, {"vertical_flip"}),
    "rotate90": (True, {"quarter_turns"}),
    "rotate": (30.0, {"angle"}),
    "brightness": (0.4, {"brightness"}),
    "contrast": (0.4, {"contrast"}),
    "saturation": (0.4, {"saturation"}),
    "hue": (0.1, {"hue"}),
    "gamma": (0.5, {"gamma"}),
    "grey": (0.5, {"grey"}),
    "blur": (2.0, {"blur"}),
    "elastic": (10.0, {"elastic"}),
    "max_class_share": (0.75, {"max_class_share", "other_offsets"}),
    "class_balanced": (0.5, {"target"}),
    "cutmix": (0.5, {"cutmix"}),
    "copy_paste": (0.5, {"copy_paste"}),
}


@pytest.mark.parametrize("option", OPTIONS)
def test_one_option_changes_its_own_draw_and_no_other(option, make_augment):
    value, own = OPTIONS[option]
    rest = {name: on for name, (on, _) in OPTIONS.items() if name != option}
    for without in ({}, rest):
        changed = set()
        for seed in range(12):
            off, on = (
                transforms.draw(np.random.default_rng(seed), make_augment(**changes))
                for changes in (without, {**without, option: value})
            )
            for field in dataclasses.fields(on):
                a, b = getattr(off, field.name), getattr(on, field.name)
                if not np.array_equal(a, b):
                    changed.add(field.name)
        assert changed == own


def test_the_grid_of_displacements_changes_no_other_draw(make_augment):
    coarse, fine = (
        transforms.draw(np.random.default_rng(0), make_augment(rotate=90.0, elastic_grid=grid))
        for grid in (3, 5)
    )
    assert coarse == fine
    assert coarse.angle != 0


def test_every_option_of_the_config_is_covered(make_augment):
    given = {field.name for field in dataclasses.fields(Augment)}
    assert given == {*OPTIONS, "crop_size", "elastic_grid", "on_device"}
    assert set(make_augment()) == given


def test_draws_cover_their_ranges(make_augment):
    augment = make_augment(
        scale=(0.5, 2.0), flip=True, vertical_flip=True, rotate90=True, brightness=0.4
    )
    rng = np.random.default_rng(0)
    draws = [transforms.draw(rng, augment) for _ in range(800)]
    scales = np.array([d.scale for d in draws])
    assert scales.min() < 0.52
    assert scales.max() > 1.98
    assert abs(np.mean([d.flip for d in draws]) - 0.5) < 0.06
    assert abs(np.mean([d.vertical_flip for d in draws]) - 0.5) < 0.06
    np.testing.assert_allclose(np.bincount([d.quarter_turns for d in draws]) / 800, 0.25, atol=0.06)
    brightness = np.array([d.brightness for d in draws])
    assert 0.6 <= brightness.min() < 0.62
    assert 1.38 < brightness.max() <= 1.4


def test_later_draws_cover_their_ranges(make_augment):
    augment = make_augment(
        rotate=40.0, hue=0.2, gamma=0.5, grey=0.3, blur=2.0, max_class_share=0.75,
        class_balanced=0.4, cutmix=0.3, copy_paste=0.6,
    )  # fmt: skip
    draws = [transforms.draw(np.random.default_rng(seed), augment) for seed in range(800)]
    ranges = {"angle": (-40, 40), "hue": (-0.2, 0.2), "gamma": (1 / 1.5, 1.5), "blur": (0, 2)}
    for name, (low, high) in {**ranges, "partner": (0, 1)}.items():
        values = np.array([getattr(d, name) for d in draws])
        near = 0.02 * (high - low)
        assert low <= values.min() < low + near, name
        assert high - near < values.max() <= high, name
    assert abs(np.median([d.gamma for d in draws]) - 1) < 0.05  # darker as often as brighter
    for name, share in {"grey": 0.3, "target": 0.4, "cutmix": 0.3, "copy_paste": 0.6}.items():
        drawn = np.mean([getattr(d, name) not in (False, None) for d in draws])
        assert abs(drawn - share) < 0.06, name
    rows = [
        [d.angle, d.hue, d.gamma, d.grey, d.blur, d.target is None, d.partner, d.cutmix is None,
         d.copy_paste is None, *d.offset, *d.other_offsets[0], *d.other_offsets[-1]]
        for d in draws
    ]  # fmt: skip
    related = np.corrcoef(np.array(rows, float).T) - np.eye(len(rows[0]))
    assert np.abs(related).max() < 0.15  # no number serves two options
    tries = np.array([d.other_offsets for d in draws])
    assert tries.shape == (800, 10, 2)
    assert np.abs(np.quantile(tries, [0, 0.5, 1]) - [0, 0.5, 1]).max() < 0.02
