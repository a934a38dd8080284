"""How many faults make one error that can be read."""

from pathlib import Path

from jaxseg.data.faults import Fault, error_of

SOURCE = Path("/data/mine")


def faults(kind, count, examples=1):
    return [Fault(kind, f"{SOURCE}/{kind}/{i}.png: wrong; mend it", examples) for i in range(count)]


def test_one_fault_is_its_own_line():
    (fault,) = faults("size", 1)
    assert str(error_of([fault], SOURCE)) == fault.text


def test_what_spoils_most_examples_comes_first_and_every_kind_is_shown():
    found = [*faults("value", 2), *faults("image", 500), *faults("classes", 1, 900)]
    lines = str(error_of(found, SOURCE)).splitlines()
    assert lines[0] == "/data/mine: 503 faults, and nothing was prepared:"
    heads = [line for line in lines if line.startswith("  ") and line[2] != " "]
    assert [head.partition("(")[2] for head in heads] == ["1):", "500):", "2):"]
    listed = [line.strip() for line in lines if "mend it" in line]
    assert len(listed) == 20
    assert sum(line.startswith("image/") for line in listed) == 17
    assert "    and 483 more" in lines
    assert len({line.split(":")[0] for line in listed}) == 20


def test_up_to_twenty_are_all_shown():
    text = str(error_of([*faults("twice", 19), *faults("mask", 1)], SOURCE))
    assert text.count("mend it") == 20
    assert "more" not in text


def test_the_lines_of_a_fault_stay_below_each_other():
    fault = Fault("classes", 'x: save this:\n{"names": 1,\n "values": 2}')
    assert '\n    x: save this:\n    {"names": 1,\n     "values": 2}\n' in str(
        error_of([fault, *faults("size", 1)], SOURCE)
    )
