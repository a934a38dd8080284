"""What is drawn, read off the figure."""

import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.report import figure
from jaxseg.report.curves import Run


def run(name="run", classes=("a", "b"), steps=(10, 20), logged=100):
    iou = {each: (list(steps), [30.0 + i for _ in steps]) for i, each in enumerate(classes)}
    loss = (list(range(1, logged + 1)), np.linspace(2.0, 1.0, logged).tolist())
    evaluated = list(steps)
    return Run(name, loss, (evaluated, [0.5] * len(steps)), (evaluated, [40.0] * len(steps)), iou)


def titles(drawn):
    return [axes.get_title() for axes in drawn.axes if axes.get_visible()]


def named(drawn):
    return [text.get_text() for legend in drawn.legends for text in legend.get_texts()]


def test_one_run_has_its_classes_in_one_panel_from_the_best_down():
    drawn = figure.draw([run()])
    assert titles(drawn) == ["loss", "validation mIoU, %", "validation IoU by class, %"]
    assert drawn.get_suptitle() == "run, best mIoU 40.00 %"
    losses, miou, classes = drawn.axes
    raw, smoothed, validation = losses.get_lines()
    assert raw.get_linewidth() < smoothed.get_linewidth()
    np.testing.assert_array_equal(raw.get_ydata(), run().loss[1])
    assert validation.get_linestyle() == "--"
    np.testing.assert_array_equal(validation.get_xdata(), [10, 20])
    assert [line.get_label() for line in classes.get_lines()] == ["b (31.0)", "a (30.0)"]
    assert miou.get_xlim()[0] == 0


def test_several_runs_have_a_colour_each_in_all_panels():
    drawn = figure.draw([run("x"), run("y", classes=("b", "c"))])
    assert titles(drawn)[2:] == ["a, IoU %", "b, IoU %", "c, IoU %"]
    assert named(drawn) == ["x (40.00)", "y (40.00)"]
    colours = [line.get_color() for line in drawn.legends[0].get_lines()]
    for axes in drawn.axes[1:]:
        assert [line.get_color() for line in axes.get_lines()] == colours
    assert {line.get_color() for line in drawn.axes[0].get_lines()} == set(colours)


@pytest.mark.parametrize("count", [8, 20, 50])
def test_many_runs_can_be_told_apart(count):
    drawn = figure.draw([run(f"sweep/row/seed{i}") for i in range(count)])
    colours = [tuple(np.atleast_1d(line.get_color())) for line in drawn.legends[0].get_lines()]
    assert len(set(colours)) == count
    assert len(drawn.axes[0].get_lines()) == 2 * count  # smoothed and validation, nothing raw


def test_of_many_classes_the_lowest_are_drawn_unless_others_are_asked_for():
    many = run(classes=[f"class {i}" for i in range(40)])
    drawn = figure.draw([many])
    assert titles(drawn)[2:] == [f"class {i}, IoU %" for i in range(24)]
    assert "24 of 40 classes" in drawn.get_supxlabel()
    chosen = figure.draw([many], ["class 39", "class 2"])
    assert len(chosen.axes) == 3
    assert len(chosen.axes[2].get_lines()) == 2
    with pytest.raises(UserError, match="no class 'clas 2'; did you mean 'class 2'"):
        figure.draw([many], ["clas 2"])


def test_before_the_first_validation_there_is_the_loss_alone():
    drawn = figure.draw([run(classes=(), steps=(), logged=3)])
    assert titles(drawn) == ["loss"]
    legend = drawn.axes[0].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["training"]


def test_the_smoothed_loss_is_a_mean_of_neighbours():
    rng = np.random.default_rng(0)
    values = rng.normal(size=300)
    smoothed = figure.smooth(values.tolist())
    half = 5  # a thirtieth on both sides together
    for i in (0, 3, 150, 299):
        neighbours = values[max(i - half, 0) : i + half + 1]
        assert smoothed[i] == pytest.approx(neighbours.mean())
    few = [1.0, 5.0, 2.0]
    assert figure.smooth(few).tolist() == few


def test_a_high_beginning_does_not_flatten_the_rest():
    high = run(logged=400)
    high = Run(high.name, (high.loss[0], [900.0, *high.loss[1][1:]]), high.val_loss, high.miou, {})
    assert figure.draw([high]).axes[0].get_ylim()[1] < 10


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_a_file_is_of_the_kind_that_its_name_says(tmp_path, suffix):
    path = tmp_path / f"curves{suffix}"
    figure.save(figure.draw([run()]), path)
    begin = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}[suffix]
    assert path.read_bytes().startswith(begin)
    if suffix == ".svg":
        first = path.read_bytes()
        figure.save(figure.draw([run()]), path)
        assert path.read_bytes() == first
