"""Files are whole or not there, whatever interrupts their writing."""

import pytest

from jaxseg import files


def test_a_file_is_replaced_at_once(tmp_path):
    path = tmp_path / "a.png"
    path.write_text("old")
    with files.replacing(path) as partial:
        assert partial.suffix == ".png"  # Pillow and NumPy go by it
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
@pytest.mark.parametrize("there", [True, False])
def test_what_is_interrupted_leaves_nothing(error, there, tmp_path):
    path = tmp_path / "a.png"
    if there:
        path.write_text("old")

    def write():
        with files.replacing(path) as partial:
            partial.write_text("half")
            raise error

    with pytest.raises(error):
        write()
    assert [p.read_text() for p in tmp_path.iterdir()] == ["old"] * there


def test_text(tmp_path):
    files.write_text(tmp_path / "a.json", "{}")
    assert (tmp_path / "a.json").read_text() == "{}"
