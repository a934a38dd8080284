"""The page of a run: finished, unfinished, without checkpoints, and without its data."""

import html
import json
import re
import shutil

import pytest

from jaxseg import checkpoint, cli, evaluation, ranking
from jaxseg.data.sets.shapes import CLASSES, Shapes
from jaxseg.data.source import Classes
from jaxseg.errors import UserError
from jaxseg.report.run import run_page


def quiet(text):
    """Nobody is told."""


@pytest.fixture(scope="module")
def page(run_with_averages):
    return run_page(run_with_averages, announce=quiet)


@pytest.fixture
def copied(run_with_averages, tmp_path):
    return shutil.copytree(run_with_averages, tmp_path / "run")


def images_said(page):
    return re.findall(r"mIoU of this image alone ([\d.]+)", page)


def test_a_finished_run_has_every_section(page, check_html, run_with_averages):
    found = check_html(page)
    sections = {"scores", "curves", "classes", "confusion", "images", "run"}
    assert sections <= found.ids
    assert "finished at step 2 of 2" in page
    scores = evaluation.read_scores(run_with_averages, "val", 2)
    assert f"<dd>{100 * scores['miou']:.2f} %</dd>" in page
    assert "(eval/val/2.json)" in page
    assert "validation loss, step 2: " in page
    assert "circle, step 2: " in page
    assert page.count("<article") == 8  # all images: there are fewer than 24
    assert len(images_said(page)) == 8
    assert images_said(page) == sorted(images_said(page), key=float, reverse=True)
    start = json.loads((run_with_averages / "run.json").read_text())["starts"][-1]
    assert start["versions"]["jax"] in page
    assert html.escape(start["command"]) in re.findall("<pre.*?</pre>", page)[0]


def test_the_predictions_are_those_that_were_evaluated(page, run_with_averages):
    """Image by image they add up to the mIoU that `evaluate` got from batches."""
    said = re.findall(r"images of val together: ([\d.]+) %", page)
    scores = evaluation.read_scores(run_with_averages, "val", 2)
    assert said == [f"{100 * scores['miou']:.2f}"]


def test_a_split_that_was_not_evaluated_is_scored_here(run_with_averages):
    page = run_page(run_with_averages, split="train", images=3, announce=quiet)
    assert "(computed for this page)" in page
    assert "train, step 2" in page
    assert page.count("<article") == 3
    assert not (run_with_averages / "eval/train").exists()


def test_contested_regions_come_first(copied, check_html):
    regions = [
        {"index": i, "box": [2, 3, 9, 9], "label": "circle", "predicted": "square", "pixels": 30,
         "margin": 0.8}
        for i in (5, 2)
    ]  # fmt: skip
    ranking.write({"regions": regions}, copied, "val", 2)
    page = run_page(copied, images=3, announce=quiet)
    check_html(page)
    assert page.count("<article") == 2 + 3
    assert page.index("Look at these first") < page.index("Best images")
    assert page.count("30 pixels labelled circle, predicted square") == 2


def test_a_step_that_is_not_the_last_says_so(copied):
    scores = {**evaluation.read_scores(copied, "val", 2), "miou": 0.0123}
    evaluation.write_scores(scores, "val", 9, copied)
    page = run_page(copied, step="2", images=0, announce=quiet)
    assert "The last of 2 evaluated steps, 9, has 1.23 % mIoU." in page
    assert "The last of" not in run_page(copied, step="9", images=0, announce=quiet)


def test_without_checkpoints_the_scores_stay(copied, check_html):
    shutil.rmtree(copied / "checkpoints")
    told = []
    page = run_page(copied, announce=told.append)
    check_html(page)
    assert "No gallery: no checkpoint in" in page
    assert "No gallery: no checkpoint in" in told[-1]
    assert "<article" not in page
    assert 'id="confusion"' in page
    assert "val, step 2" in page
    with pytest.raises(UserError, match="step '7' has neither a checkpoint nor scores"):
        run_page(copied, step="7", announce=quiet)


def test_a_run_that_has_just_begun_has_a_page(copied, check_html):
    for name in ("checkpoints", "eval", "tensorboard"):
        shutil.rmtree(copied / name)
    (copied / "metrics.jsonl").unlink()
    page = run_page(copied, announce=quiet)
    check_html(page)
    assert "No step was logged yet." in page
    assert "No scores on val" in page
    assert 'id="confusion"' not in page


def test_data_that_is_gone_is_named(copied, check_html, tmp_path):
    path = copied / "config.json"
    config = json.loads(path.read_text())
    config["dataset"].update(name="camvid", data_dir=str(tmp_path))
    path.write_text(json.dumps(config))
    page = run_page(copied, announce=quiet)
    check_html(page)
    (reason,) = re.findall("No gallery: ([^<]*)", page)
    assert "camvid" in reason
    assert "rgb(" in page  # the classes' colours are known from the checkpoint


def test_a_class_has_one_colour_on_the_page(run_with_averages, monkeypatch):
    """Also if the data set's colours have changed since the run."""
    palette = tuple((i, 99, 200) for i in range(5))
    monkeypatch.setattr(Shapes, "classes", Classes(CLASSES.names, palette))
    page = run_page(run_with_averages, images=1, announce=quiet)
    assert set(re.findall(r"rgb\((.*?)\)", page)) == {f"{i},99,200" for i in range(5)}


def test_a_failed_run_says_why_as_text(copied):
    path = copied / "run.json"
    record = json.loads(path.read_text())
    record.update(status="failed", step=1, reason="UserError: <b>&")
    record["starts"][-1].update(status="failed", reason="UserError: <b>&")
    path.write_text(json.dumps(record))
    page = run_page(copied, images=0, announce=quiet)
    assert "failed at step 1 of 2: UserError: &lt;b&gt;&amp;" in page
    assert "<b>" not in page
    assert "No gallery: no images were asked for." in page


def test_names_of_classes_are_text(copied):
    path = copied / "eval/val/2.json"
    path.write_text(path.read_text().replace("circle", "<b>&"))
    page = run_page(copied, images=0, announce=quiet)
    assert "<b>" not in page
    assert "&lt;b&gt;&amp;" in page


def test_converted_weights_have_a_page(copied):
    (copied / "run.json").unlink()
    page = run_page(copied, images=0, announce=quiet)
    assert "weights were converted" in page


def test_the_command_writes_the_page(run_with_averages, tmp_path, capsys):
    out = tmp_path / "page.html"
    words = ["report", "--workdir", str(run_with_averages), "--images", "2", "--out", str(out)]
    assert cli.main(words) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith(f"written: {out} (")
    assert "predicting the 8 images of val with step 2" in printed.err
    assert out.read_text().count("<article") == 2
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--images=few"], "--images=few, expected how many images"),
        (["--out=missing/page.html"], "there is no folder missing"),
        (["--step=7"], "step '7' has neither"),
    ],
)
def test_mistakes_get_one_line(run_with_averages, capsys, words, message):
    assert cli.main(["report", "--workdir", str(run_with_averages), *words]) == 2
    assert message in capsys.readouterr().err
    assert not (run_with_averages / "report.html").exists()


def test_a_folder_without_a_run_is_named(tmp_path, capsys):
    assert cli.main(["report", "--workdir", str(tmp_path)]) == 2
    assert f"{tmp_path} is not a run" in capsys.readouterr().err


def test_the_best_checkpoint_is_shown(page, run_with_averages):
    best = checkpoint.find(run_with_averages / "checkpoints", "best")
    assert f"with these predictions of step {best}." in page


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_opens_in_a_browser_from_a_file(browser, page, tmp_path, width):
    path = tmp_path / "report.html"
    path.write_text(page)
    browser.open(path, width=width)
    assert browser.trouble() == []
    assert browser.value("document.documentElement.scrollWidth") <= width
