"""The page of a sweep: rows compared, unfinished runs, and searches."""

import dataclasses
import json
import re
from typing import Any

import numpy as np
import pytest

from jaxseg import metrics, zoo
from jaxseg.data.palettes import voc_palette
from jaxseg.data.source import Classes
from jaxseg.report import side_by_side, sweep
from jaxseg.report.gallery import Item, Prediction, gallery
from jaxseg.report.sweep import sweep_page
from jaxseg.sweeps import statistics
from jaxseg.sweeps.plan import Task
from jaxseg.sweeps.results import Result, RowResults, Sweep
from jaxseg.sweeps.status import Status

NAMES = ("ground", "<b>cell")
MIOU = {"deep": (50.0, 52.0, 51.0), "wide": (60.0, 61.0, 62.5), "<i>both": (60.5, 61.0, None)}
START = {
    "versions": {"jax": "0.10.2"}, "git": {"commit": "abc", "clean": True},
    "devices": {"count": 1, "kind": "cpu"},
}  # fmt: skip


def result(folder, row, seed, score, place):
    """A run's folder and what `results.collect` reads of it; without a score it was killed."""
    workdir = folder / str(place) / f"seed{seed}"
    workdir.mkdir(parents=True)
    lines = ({"step": step, "loss": place + 1 / (step + seed)} for step in (1, 2, 3))
    (workdir / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    status = "finished" if score else "killed"
    record = {"status": status, "step": 3, "reason": "", "starts": [START]}
    (workdir / "run.json").write_text(json.dumps(record))
    words = ("train", "--config", "c.py", "--workdir", str(workdir))
    task = Task(row, seed, workdir, words, "d", total_steps=3)
    scores = None
    if score:
        share = round(100_000 * 2 * score / (100 + score))
        matrix = np.array([[share, 100_000 - share], [100_000 - share, share]])
        scores = metrics.scores(matrix, NAMES)
    curve = ((1, 10.0 + seed), (3, score or 20.0))
    found = Status(task, status, 3, score and score / 100)
    return Result(found, scores, curve, seconds=60.0, images_per_second=8.0, peak_memory=10**9)


def make(folder, *, searched=(), **record) -> Any:
    rows = []
    for place, (name, scores) in enumerate(MIOU.items()):
        shown = scores[:1] if searched else scores
        results = tuple(result(folder, name, i, x, place) for i, x in enumerate(shown))
        planned = {
            "overrides": {"model.width": str(place)},
            "published": 49.0 if place == 0 else None,
            "note": "on <u>other data" if place == 0 else "",
        }
        rows.append(RowResults(name, planned, results, zoo.Cost(1_000_000, 2_000_000_000)))
    record = {
        "experiment": "experiments/x.py:small", "metric": "miou", "split": "val",
        "question": "Deep <i>or wide?\n\nPublished: table 1\nof a paper.\n\nScale: small.",
        "higher_is_better": True, "seeds": [0, 1, 2], "searched": list(searched),
        "changes": ["--config.batch_size=4"], "rows": dict.fromkeys(MIOU), "baseline": "deep",
        **record,
    }  # fmt: skip
    table = None
    if not searched:
        found = {row.name: row.scores("miou") for row in rows}
        better = record["higher_is_better"]
        table = statistics.compare(found, "deep", higher_is_better=better)
    return Sweep(folder, record, tuple(rows), table)


def text_of(html):
    return re.sub(r"\s+", " ", re.sub("<[^>]*>", " ", html))


@pytest.fixture
def page(tmp_path):
    return sweep_page(make(tmp_path), images=0)


def test_every_section_is_there_and_names_are_text(page, check_html):
    found = check_html(page)
    sections = {"comparison", "unfinished", "curves", "by-class", "cost", "images", "reproduce"}
    assert sections <= found.ids
    assert not re.search("<i>|<b>|<u>", page)
    text = text_of(page)
    assert "8 of 9 runs finished" in text
    assert "Published: table 1 of a paper." in text
    assert "&lt;i&gt;both, seed 2: killed, step 3 of 3" in text
    assert "wide: better: +10.2 mIoU, 95 % interval" in text
    assert "deep: on &lt;u&gt;other data" in text
    assert "No images were asked for." in text


def test_the_dots_are_the_seeds(page):
    labels = re.findall('aria-label="([^"]*)"', page)
    assert "wide, seed 2: 62.50" in labels
    assert "deep, published: 49" in labels
    assert not any(label.startswith("&lt;i&gt;both, seed 2: ") for label in labels)


def test_curves_say_which_runs_they_are_of(page):
    chart = re.findall('<figure class="chart" id="by-step">.*?</figure>', page)[0]
    assert "deep, step 1: 11.00" in chart  # the mean of 10, 11 and 12
    assert "&lt;i&gt;both, seed 2 (killed), step 3: 20.00" in chart
    assert "Dotted: single runs that are not finished" in page
    assert "band" in chart


def test_the_best_row_of_each_class_is_bold(page):
    table = re.findall("<caption>IoU by class.*?</table>", page)[0]
    assert len(re.findall("<strong>61.17</strong>", table)) == 2  # wide, in both classes
    assert table.count("<strong>") == 2


def test_the_command_is_that_of_the_sweep(page, tmp_path):
    said = re.findall("<pre[^>]*><code>(.*?)</code>", page, re.DOTALL)
    assert said[0] == (
        f"jaxseg sweep run experiments/x.py:small --workdir {tmp_path} --seeds 3 "
        "--config.batch_size=4"
    )
    assert said[1].count("jaxseg train") == 3  # of one seed
    assert "<td>abc</td>" in page
    assert "jax 0.10.2" in page


def test_less_is_better_is_said(tmp_path):
    page = sweep_page(make(tmp_path, higher_is_better=False), images=0)
    assert "less is better" in text_of(page)
    assert "wide: worse: +10.2" in text_of(page)


def test_runs_on_different_code_are_told_apart(tmp_path):
    found = make(tmp_path)
    path = tmp_path / "0" / "seed0" / "run.json"
    path.write_text(path.read_text().replace('"abc"', '"def"'))
    page = sweep_page(found, images=0)
    assert "<td>abc (8 of 9 runs)</td>" in page
    assert "<td>def (1 of 9 runs)</td>" in page


def test_a_search_has_its_trials_and_no_comparison(tmp_path, check_html):
    found = make(tmp_path, searched=["model.width"], seeds=[0])

    def announce(text):
        raise AssertionError(text)

    page = sweep_page(found, images=8, announce=announce)  # predicts nothing
    ids = check_html(page).ids
    assert {"trials", "curves", "cost", "reproduce"} <= ids
    assert not ids & {"comparison", "by-class", "images", "dots"}
    rows = re.findall('<tr><th scope="row">(.*?)</th><td class="number">(.*?)</td>', page)
    assert [float(score) for _, score in rows[:3]] == [60.5, 60.0, 50.0]
    assert "--search 3" in page


def test_a_sweep_that_has_just_begun_has_a_page(tmp_path, check_html):
    found = make(tmp_path)
    rows = tuple(
        dataclasses.replace(
            row,
            results=tuple(
                Result(dataclasses.replace(r.status, state="waiting", step=0), None)
                for r in row.results
            ),
            cost=None,
        )
        for row in found.rows
    )
    for path in tmp_path.rglob("*.json*"):
        path.unlink()
    table = statistics.compare({row.name: row.scores("miou") for row in rows}, "deep")
    page = sweep_page(dataclasses.replace(found, rows=rows, table=table), images=0)
    check_html(page)
    assert "0 of 9 runs finished" in page
    assert "No run has its final scores yet." in page
    assert "No step was logged yet." in page
    assert page.count("waiting, step 0 of 3") == 9


@pytest.fixture
def with_images(tmp_path, monkeypatch):
    """The page of a sweep with predictions of three rows, drawn by hand."""
    classes = Classes(NAMES, ((40, 40, 200), (200, 30, 30)))
    truth = np.zeros((40, 60), np.int32)
    truth[:, 30:] = 1
    guesses = [Prediction(name, "", np.full_like(truth, i % 2)) for i, name in enumerate(MIOU)]
    items = [Item("a", np.full((40, 60, 3), 120, np.uint8), truth, guesses)]
    shown = side_by_side.Gallery(gallery([("All", items)], classes), classes)
    monkeypatch.setattr(sweep, "side_by_side", lambda *_, **__: shown)
    path = tmp_path / "report.html"
    path.write_text(sweep_page(make(tmp_path / "sweep")))
    return path


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_the_page_opens_in_a_browser_and_its_switches_work(browser, with_images, width, dark):
    browser.open(with_images, width=width, dark=dark)
    assert browser.trouble() == []
    assert browser.value("document.documentElement.scrollWidth") <= width

    def alpha(prediction, x):
        at = f"canvas[data-kind=prediction][data-prediction='{prediction}']"
        data = f"getContext('2d').getImageData({x}, 5, 1, 1).data[3]"
        return browser.value(f"document.querySelector(`{at}`).{data}")

    assert [alpha(i, 5) for i in range(3)] == [255] * 3
    browser.value("document.querySelector('input[data-class=\"1\"]').click()")
    assert [alpha(i, 5) for i in range(3)] == [255, 0, 255]  # of the row that guessed class 1
    browser.value("document.querySelector('#dots .mark').focus()")
    for key, said in (
        ("ArrowRight", "deep, seed 0: 50.00"),
        ("Home", "deep, mean of 3: 51.00, 95 % interval 48.52 to 53.48"),
    ):
        browser.press(key)
        assert browser.value("document.querySelector('#dots output').textContent") == said


def test_six_rows_on_8_images_of_480x360_stay_below_5_mb(tmp_path):
    """Also where labels are noise, which nothing makes small."""
    rng = np.random.default_rng(0)
    classes = Classes(tuple(map(str, range(150))), voc_palette(150))
    labels = rng.integers(0, 150, (360, 480)).astype(np.int32)
    image = rng.integers(0, 256, (360, 480, 3)).astype(np.uint8)
    guesses = [Prediction(str(i), "", labels) for i in range(6)]
    html = gallery([("", [Item("a", image, labels, guesses)])], classes)
    rest = len(sweep_page(make(tmp_path), images=0))
    assert 8 * len(html) + rest < 5e6
