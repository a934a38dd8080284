"""What an error offers to paste, and what it says about it."""

import json
from collections import Counter
from pathlib import Path

import pytest

from jaxseg.data.proposal import for_colours, for_values

PATH = Path("mine/classes.json")
BLACK, RED, CREAM = (0, 0, 0), (255, 0, 0), (224, 224, 192)


def pasted(text):
    return json.loads(text[text.index("{") : text.rindex("}") + 1])


def evenly(values):
    return Counter(dict.fromkeys(values, 10))


@pytest.mark.parametrize(
    ("found", "classes", "about"),
    [
        ([0, 255], [0, 255], ""),
        ([0, 128, 255], [0, 128, 255], "255 is a class here"),
        ([1, 2, 3], [1, 2, 3], ""),
        ([1, 2, 3, 255], [1, 2, 3], "255 stays void"),
        ([1, 255], [1, 255], ""),
        ([0, 127, 255], [0, 127, 255], "255 is a class here"),
        ([0, 2, 12, 15, 255], [0, 2, 12, 15], "255 stays void"),
        ([0, 1, 4], [0, 1, 4], ""),
    ],
)
def test_values_are_classes_and_what_255_is_is_said(found, classes, about):
    text = for_values(evenly(found), PATH)
    names = [f"class_{i}" for i in range(len(classes))]
    assert pasted(text) == {"names": names, "values": classes}
    assert str(PATH) in text
    assert about in text
    assert bool(about) == ("255 is a" in text or "255 stays" in text)


@pytest.mark.parametrize("found", [[0], [255], range(0, 256, 2), range(0, 30000, 7)])
def test_no_file_is_offered_where_there_are_hardly_classes(found):
    assert "{" not in for_values(evenly(found), PATH)


def test_black_comes_first_and_then_the_most_frequent():
    counts = Counter({RED: 50, (0, 255, 0): 70, BLACK: 3, (9, 9, 9): 1})
    assert pasted(for_colours(counts, 0, PATH)) == {
        "names": ["background", "class_1", "class_2", "class_3"],
        "colours": [[0, 0, 0], [0, 255, 0], [255, 0, 0], [9, 9, 9]],
    }
    without = pasted(for_colours(Counter({RED: 5, CREAM: 9}), 0, PATH))
    assert without == {"names": ["class_0", "class_1"], "colours": [[*CREAM], [*RED]]}


def test_which_colour_is_void_is_left_to_the_user():
    text = for_colours(evenly([BLACK, RED, CREAM]), 0, PATH)
    assert "perhaps (224, 224, 192), marks" in text
    assert '"void": [224, 224, 192]' in text
    assert list(CREAM) in pasted(text)["colours"]
    assert '"void": [R, G, B]' in for_colours(evenly([BLACK, RED]), 0, PATH)


def test_colours_of_smoothed_edges_are_doubted():
    shades = {(i, i, i): 1 for i in range(1, 40)}
    text = for_colours(Counter({BLACK: 90_000, RED: 10_000, **shades}), 0, PATH)
    assert "39 of the 41 cover less than 0.05 % of the pixels each" in text
    many = for_colours(
        Counter({BLACK: 90_000, RED: 9_000, **{(i, 0, 0): 9 for i in range(1, 99)}}), 0, PATH
    )
    assert "{" not in many
    assert "(0, 0, 0) (90.1 %), (255, 0, 0) (9.01 %)" in many
    assert "100 colours are smoothed edges or JPEG" in many
