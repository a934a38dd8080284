"""A side that fails leaves the others' numbers alone."""

import pytest

from jaxseg.bench.setting import Setting

pytest.importorskip("torch")

from jaxseg.bench import compare

SETTING = Setting("unet", {"width": 4, "depth": 1}, "train", 2, 32, "float32", "cpu")


class Side:
    """Fails in its call number `fails_at`, counted from 1."""

    def __init__(self, fails_at=None):
        self._fails_at, self._calls = fails_at, 0

    def run(self, steps=1):
        self._calls += 1
        if self._calls == self._fails_at:
            raise MemoryError("no room\nfor more")


@pytest.fixture
def sides(monkeypatch):
    """Replaces what is built: name -> a side or an exception."""

    def replace(made):
        def builders(setting, modes, cache, processes):
            return {name: (lambda name=name: made[name]()) for name in modes}

        monkeypatch.setattr(compare, "_builders", builders)

    return replace


def broken():
    raise ValueError("cannot be built")


@pytest.mark.parametrize("failed", ["jaxseg", "contiguous"])
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (broken, "ValueError: cannot be built"),
        (lambda: Side(1), "MemoryError: no room"),  # while it compiles
        (lambda: Side(6), "MemoryError: no room"),  # while they alternate
    ],
)
def test_the_other_sides_numbers_stay(sides, failed, make, message):
    names = ["jaxseg", "contiguous", "channels_last"]
    sides({**dict.fromkeys(names, Side), failed: make})

    *_, row = compare.measure(SETTING, names, 0.01, 1e9, "")

    assert row["errors"] == {failed: message}
    assert {name for name in names if name != failed} <= set(row["seconds"])
    assert all(share > 0 for share in row["matmul_share"].values())


def test_a_row_has_each_sides_numbers_as_soon_as_they_are_there(sides):
    names = ["jaxseg", "contiguous"]
    sides(dict.fromkeys(names, Side))

    known = [list(row["seconds"]) for row in compare.measure(SETTING, names, 0.0, 1.0, "")]

    assert known == [["jaxseg"], names, names]
