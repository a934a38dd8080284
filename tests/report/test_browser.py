"""The page in a browser: it draws, switches, and is used with a keyboard."""

import json

import numpy as np
import pytest

from jaxseg.data.palettes import voc_palette
from jaxseg.data.source import Classes
from jaxseg.report.charts import Series, line_chart
from jaxseg.report.confusion import confusion_matrix
from jaxseg.report.gallery import Item, Prediction, gallery
from jaxseg.report.page import Section, document

CLASSES = Classes(("<b>&", "cell", "rim"), ((40, 40, 200), (200, 30, 30), (30, 200, 30)))
WITH_BACKGROUND = Classes(CLASSES.names, ((0, 0, 0), *CLASSES.palette[1:]))
TRUTH = np.zeros((40, 60), np.int32)
TRUTH[:20, 30:], TRUTH[20:, :30], TRUTH[20:, 30:] = 1, 2, 255
GUESS = np.where(TRUTH == 2, 1, np.where(TRUTH == 255, 0, TRUTH))


def make_page(classes=CLASSES, truth=TRUTH, guess=GUESS):
    image = np.full((*truth.shape, 3), 120, np.uint8)
    items = [Item(name, image, truth, [Prediction("guess", "", guess)]) for name in ("a", "b")]
    chart = line_chart(
        [Series("one", [0, 10, 20], [1.0, 2.0, 3.0]), Series("two", [0, 20], [5.0, 4.0])],
        name="loss", title="Loss", x_label="step", y_label="loss",
    )  # fmt: skip
    matrix = confusion_matrix(np.array([[3, 1, 0], [0, 8, 0], [1, 1, 2]]), CLASSES.names, name="m")
    sections = [
        Section("charts", "Charts", chart + matrix),
        Section("images", "Images", gallery([("All", items)], classes)),
    ]
    return document("A <b>page</b>", "", sections, "")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("pages") / "page.html"
    path.write_text(make_page())
    return path


def colour(browser, kind, x, y, item=0):
    """What a canvas holds at a pixel, RGB and alpha."""
    at = f"canvas[data-kind={kind}][data-item='{item}']"
    data = f"getContext('2d').getImageData({x}, {y}, 1, 1).data"
    return browser.value(f"[...document.querySelector(`{at}`).{data}]")


def click(browser, selector):
    browser.value(f"document.querySelector({json.dumps(selector)}).click()")


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("dark", [False, True])
def test_a_page_logs_nothing_and_fits_the_screen(browser, page, width, dark):
    browser.open(page, width=width, dark=dark)
    assert browser.trouble() == []
    assert browser.value("document.documentElement.scrollWidth") <= width


def test_an_error_would_be_noticed(browser, tmp_path, page):
    path = tmp_path / "broken.html"
    path.write_text(page.read_text().replace("</body>", "<script>nothing()</script></body>"))
    browser.open(path)
    assert browser.trouble()
    path.write_text(page.read_text().replace("</body>", "<img src='http://127.0.0.1:9/a'></body>"))
    browser.open(path)
    assert browser.trouble()


def test_labels_are_drawn_in_their_colours(browser, page):
    browser.open(page)
    assert colour(browser, "truth", 5, 5) == [40, 40, 200, 255]  # class 0 is drawn too
    assert colour(browser, "truth", 40, 5) == [200, 30, 30, 255]
    assert colour(browser, "truth", 5, 30) == [30, 200, 30, 255]
    assert colour(browser, "prediction", 5, 30) == [200, 30, 30, 255]
    assert colour(browser, "errors", 5, 5)[3] == 0  # right
    assert colour(browser, "errors", 5, 30) == [255, 0, 128, 255]  # wrong
    void = {tuple(colour(browser, "truth", x, 30)) for x in range(31, 60, 2)}
    assert len(void) == 2  # stripes
    assert not void & {(*rgb, 255) for rgb in CLASSES.palette}


def test_a_background_is_not_drawn_and_its_switch_hides_its_errors(browser, tmp_path):
    path = tmp_path / "background.html"
    guess = np.where(TRUTH == 2, 0, TRUTH)
    guess[:5, :5] = 1
    path.write_text(make_page(WITH_BACKGROUND, TRUTH, guess))
    browser.open(path)
    assert colour(browser, "truth", 10, 10)[3] == 0
    assert colour(browser, "prediction", 5, 30)[3] == 0
    assert colour(browser, "prediction", 2, 2) == [200, 30, 30, 255]
    assert colour(browser, "errors", 2, 2) == [255, 0, 128, 255]
    click(browser, "input[data-class='0']")
    assert colour(browser, "errors", 2, 2)[3] == 0
    assert colour(browser, "errors", 5, 30) == [255, 0, 128, 255]  # missed, not its own


def test_canvases_are_smooth_where_they_are_reduced(browser, page, tmp_path):
    """Reduced by whole pixels, thin objects lose some of theirs."""
    style = "getComputedStyle(document.querySelector('canvas')).imageRendering"
    browser.open(page)
    assert browser.value(style) == "pixelated"
    large = np.zeros((200, 400), np.int32)
    path = tmp_path / "large.html"
    path.write_text(make_page(truth=large, guess=large))
    browser.open(path)
    assert browser.value(style) == "auto"
    browser.value("document.getElementById('zoom').focus()")
    browser.press("End")
    assert browser.value(style) == "pixelated"


def test_labels_of_more_than_255_classes_are_drawn(browser, tmp_path):
    classes = Classes(tuple(map(str, range(300))), voc_palette(300), void=65535)
    truth = np.full((4, 4), 299, np.int32)
    truth[0] = 65535
    path = tmp_path / "wide.html"
    path.write_text(make_page(classes, truth, np.full((4, 4), 255, np.int32)))
    browser.open(path)
    assert colour(browser, "truth", 1, 2)[:3] == list(classes.palette[299])
    assert colour(browser, "prediction", 1, 2)[:3] == list(classes.palette[255])


def test_a_switch_hides_a_class_and_shows_it_again(browser, page):
    browser.open(page)
    before = browser.picture("canvas[data-kind=truth]")
    click(browser, "input[data-class='0']")
    assert colour(browser, "truth", 5, 5)[3] == 0
    assert colour(browser, "truth", 40, 5)[3] == 255
    assert colour(browser, "truth", 5, 5, item=1)[3] == 0
    assert browser.picture("canvas[data-kind=truth]") != before
    click(browser, "input[data-class='2']")
    assert colour(browser, "errors", 5, 30)[3] == 0  # errors go with the true class
    assert colour(browser, "prediction", 5, 30)[3] == 255
    click(browser, "input[data-class='3']")
    assert colour(browser, "truth", 40, 30)[3] == 0
    click(browser, "button[data-all='1']")
    assert browser.picture("canvas[data-kind=truth]") == before
    click(browser, "button[data-all='']")
    assert {colour(browser, "truth", x, y)[3] for x in (5, 40) for y in (5, 30)} == {0}


def test_the_slider_changes_what_is_seen(browser, page):
    browser.open(page)
    pictures = [browser.picture("canvas[data-kind=truth]")]
    browser.value("document.getElementById('opacity').focus()")
    for key in ("Home", "End"):
        browser.press(key)
        pictures.append(browser.picture("canvas[data-kind=truth]"))
    assert len(set(pictures)) == 3
    assert browser.value("document.querySelector('#opacity + output').textContent") == "100 %"
    browser.press("Home")  # now the photograph alone is seen
    assert browser.picture("canvas[data-kind=truth]") == browser.picture("canvas[data-item='1']")


def test_class_names_are_text(browser, page):
    browser.open(page)
    assert browser.value("document.querySelectorAll('b').length") == 0
    assert browser.value("document.querySelector('.switch').textContent") == "<b>&"
    assert browser.value("document.title") == "A <b>page</b>"


def focus(browser):
    return browser.value("document.activeElement.getAttribute('aria-label')")


def test_values_are_read_with_the_keyboard(browser, page):
    browser.open(page)
    browser.value("document.querySelector('#loss [tabindex=\"0\"]').focus()")
    assert focus(browser) == "one, step 0: 1"
    browser.press("ArrowRight")
    assert browser.value("document.querySelector('#loss output').textContent") == "one, step 10: 2"
    browser.press("Tab")
    assert focus(browser).startswith("truth <b>&, predicted <b>&: 75.00 %")
    browser.press("ArrowDown")
    browser.press("ArrowRight")
    assert focus(browser).startswith("truth cell, predicted cell: 100.00 %")
    said = browser.value("document.querySelector('#m output').textContent")
    assert said == focus(browser)
    browser.press("Tab", shift=True)
    assert focus(browser) == "one, step 10: 2"  # where the arrow keys left


def test_values_are_read_with_the_pointer(browser, page):
    browser.open(page)
    box = "document.querySelectorAll('#m .mark')[7].getBoundingClientRect()"
    x, y = browser.value(f"(b => [b.x + b.width / 2, b.y + b.height / 2])({box})")
    browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    said = browser.value("document.querySelector('#m output').textContent")
    assert said == "truth rim, predicted cell: 25.00 % of rim, 1 of 4 pixels"


def test_everything_that_acts_is_reached_by_tab_and_shows_its_focus(browser, page):
    browser.open(page)
    element, reached = "document.activeElement", []
    browser.press("Tab")
    while browser.value(f"{element} != document.body"):
        reached.append(
            browser.value(f"{element}.id || {element}.dataset.class || {element}.tagName")
        )
        ring = f"getComputedStyle({element}).outlineStyle != 'none'"
        assert browser.value(f"{ring} || {element}.classList.contains('active')"), reached
        browser.press("Tab")
    charts, controls = ["circle", "rect"], ["opacity", "zoom", "BUTTON", "BUTTON", *"0123"]
    assert reached == ["theme", "A", "A", *charts, *controls]
    browser.value("document.querySelector('input[data-class=\"1\"]').focus()")
    browser.press(" ")
    assert colour(browser, "truth", 40, 5)[3] == 0


def test_every_control_has_a_label(browser, page):
    browser.open(page)
    assert browser.value("[...document.querySelectorAll('input')].every(i => i.labels.length)")
    assert browser.value("[...document.querySelectorAll('canvas')].every(c => c.ariaLabel)")
    assert browser.value("[...document.querySelectorAll('button')].every(b => b.textContent)")


@pytest.mark.parametrize("dark", [False, True])
def test_colours_follow_the_system_and_the_button(browser, page, dark):
    browser.open(page, dark=dark)
    brightness = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]"
    assert (browser.value(brightness) < 128) == dark
    click(browser, "#theme")
    assert (browser.value(brightness) > 128) == dark
    names = ("dark colours", "light colours")
    assert browser.value("document.getElementById('theme').textContent") == names[not dark]
