"""Files that PyTorch wrote (see fixtures/make.py), and malicious ones."""

import os
import pickle
import re
import zipfile
from collections import OrderedDict
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.weights.files import pytorch, read
from jaxseg.weights.files.pytorch import LEGACY_START

FIXTURES = Path(__file__).parent / "fixtures"
EXPECTED = {
    "conv.weight": np.arange(24, dtype=np.float32).reshape(4, 3, 2),
    "turned": np.arange(6, dtype=np.float32).reshape(2, 3).T,
    "slice": np.array([3, 5, 7], np.float32),
    "half": np.array([1.5, -2], np.float32),
    "bfloat16": np.array([1.5, -2], np.float32),
    "count": np.array(7, np.int64),
    "flag": np.array([True, False]),
    "parameter": np.array([0.25], np.float32),
}


@pytest.mark.parametrize("name", ["tensors.pth", "tensors_legacy.pth"])
def test_reads_what_pytorch_wrote(name):
    entries = read(FIXTURES / name)
    assert list(entries) == list(EXPECTED)
    for key, expected in EXPECTED.items():
        assert entries[key].dtype == expected.dtype, key
        np.testing.assert_array_equal(entries[key], expected)


def test_unwraps_a_checkpoint_of_data_parallel_training():
    entries = read(FIXTURES / "wrapped_legacy.pth")
    assert list(entries) == ["slice", "count"]
    np.testing.assert_array_equal(entries["slice"], [3, 5, 7])


def test_an_object_other_than_a_tensor_is_refused_by_name():
    with pytest.raises(UserError, match=r"argparse\.Namespace.*state_dict") as error:
        read(FIXTURES / "namespace_legacy.pth")
    assert "\n" not in str(error.value)


class Malicious:
    """Its pickle calls a function when an ordinary reader loads it."""

    def __init__(self, function, *arguments):
        self._call = function, arguments

    def __reduce__(self):
        return self._call


def write_zip(path, content):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data.pkl", content)
        archive.writestr("x/byteorder", "little")
        archive.writestr("x/data/0", np.arange(4, dtype=np.float32).tobytes())


def write_legacy(path, content):
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}
    head = pickle.dumps(1001, 2) + pickle.dumps(system, 2)
    path.write_bytes(LEGACY_START + head + content + pickle.dumps([], 2))


@pytest.mark.parametrize("write", [write_zip, write_legacy])
@pytest.mark.parametrize("function", ["posix.system", "builtin__.eval"])
def test_a_pickle_runs_nothing(write, function, tmp_path):
    canary = tmp_path / "canary"
    malicious = {
        "posix.system": Malicious(os.system, f"touch {canary}"),
        "builtin__.eval": Malicious(eval, f"open({str(canary)!r}, 'w')"),
    }[function]
    content = pickle.dumps({"state_dict": OrderedDict(weight=malicious)}, 2)
    pickle.loads(content)
    assert canary.exists()  # as an ordinary reader runs it
    canary.unlink()
    write(tmp_path / "bad.pth", content)
    with pytest.raises(UserError, match=re.escape(function)):
        read(tmp_path / "bad.pth")
    assert not canary.exists()


def built(target, state):
    """The opcodes that set the state of `target`, as pickles do with objects they have built."""
    return b"\x80\x02" + target + pickle.dumps(state, 2)[2:-1] + b"b."


def test_a_pickle_does_not_change_a_type_of_numpy(tmp_path):
    """np.dtype's own __setstate__ would change it for the whole process."""
    before = np.dtype(ml_dtypes.bfloat16).__reduce__()
    state = (3, ">", None, None, None, -1, -1, 0)
    write_zip(tmp_path / "bad.pth", built(b"ctorch\nBFloat16Storage\n", state))
    with pytest.raises(UserError, match=r"bad\.pth"):
        read(tmp_path / "bad.pth")
    assert np.dtype(ml_dtypes.bfloat16).__reduce__() == before
    np.testing.assert_array_equal(read(FIXTURES / "tensors.pth")["bfloat16"], [1.5, -2])


KNOWN = {
    ("collections", "OrderedDict"),
    ("torch", "Size"),
    ("torch", "FloatStorage"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"),
}


@pytest.mark.parametrize(("module", "name"), sorted(KNOWN))
@pytest.mark.parametrize("state", [{"name": 1}, (None, {"__defaults__": (1, 2)})])
def test_a_pickle_does_not_change_the_objects_it_gets(module, name, state, tmp_path):
    """Neither attributes nor a function's defaults."""
    write_zip(tmp_path / "bad.pth", built(f"c{module}\n{name}\n".encode(), state))
    with pytest.raises(UserError, match=r"bad\.pth"):
        read(tmp_path / "bad.pth")
    for key, expected in EXPECTED.items():
        np.testing.assert_array_equal(read(FIXTURES / "tensors.pth")[key], expected)


@pytest.mark.parametrize("state", [{"size": (9,)}, (None, {"size": (9,)}), ["x", 0, (9,), (1,)]])
def test_a_pickle_does_not_change_a_tensor_it_has_built(state, tmp_path):
    tensor = tensor_pickle(0, (4,), (1,)).removesuffix(b"s.")
    state = pickle.dumps(state, 2)[2:-1]
    write_zip(tmp_path / "bad.pth", tensor + state + b"bs.")
    with pytest.raises(UserError, match=r"bad\.pth"):
        read(tmp_path / "bad.pth")


def test_a_dictionary_gets_nothing_but_its_entries(tmp_path):
    """PyTorch gives state_dicts an attribute `_metadata`; others must not become its methods."""
    tensor = tensor_pickle(1, (3,), (1,))
    entries = tensor.removeprefix(b"\x80\x02}").removesuffix(b".")
    state = pickle.dumps({"items": 1, "get": 2, "_metadata": {}}, 2)[2:-1]
    content = b"\x80\x02ccollections\nOrderedDict\n)R" + entries + state + b"b."
    write_zip(tmp_path / "w.pth", content)
    np.testing.assert_array_equal(read(tmp_path / "w.pth")["w"], [1, 2, 3])


def test_no_object_that_a_pickle_gets_takes_attributes():
    for value in pytorch.ALLOWED.values():
        assert not isinstance(value, type)
        assert not hasattr(value, "__dict__"), value
        assert not hasattr(value, "__setstate__"), value


def tensor_pickle(offset, size, stride, count=4):
    """The opcodes that PyTorch writes for one tensor, with any numbers."""

    def numbers(values):
        return b"(" + b"".join(b"J" + int(v).to_bytes(4, "little", signed=True) for v in values)

    def string(text):
        return b"X" + len(text).to_bytes(4, "little") + text.encode()

    storage = b"(" + string("storage") + b"ctorch\nFloatStorage\n" + string("0") + string("cpu")
    storage += numbers([count])[1:] + b"tQ"
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + numbers([offset])[1:]
    tensor += numbers(size) + b"t" + numbers(stride) + b"t\x89}t" + b"R"
    return b"\x80\x02}" + string("w") + tensor + b"s."


def test_a_tensor_is_a_view_of_its_storage(tmp_path):
    write_zip(tmp_path / "w.pth", tensor_pickle(1, (3,), (1,)))
    np.testing.assert_array_equal(read(tmp_path / "w.pth")["w"], [1, 2, 3])


@pytest.mark.parametrize(
    ("offset", "size", "stride", "count"),
    [
        (0, (5,), (1,), 4),  # longer than its storage
        (2, (3,), (1,), 4),  # beyond its end
        (0, (2,), (4,), 4),
        (-1, (2,), (1,), 4),  # before its beginning
        (0, (2,), (-1,), 4),
        (0, (1 << 30, 1 << 30), (0, 0), 4),  # larger than any memory
        (0, (8,), (1,), 8),  # a storage longer than its bytes
    ],
)
def test_a_tensor_stays_in_its_storage(offset, size, stride, count, tmp_path):
    write_zip(tmp_path / "w.pth", tensor_pickle(offset, size, stride, count))
    with pytest.raises(UserError, match=r"can't read weights from .*w\.pth: w"):
        read(tmp_path / "w.pth")


@pytest.mark.parametrize("name", ["tensors.pth", "tensors_legacy.pth"])
def test_a_truncated_file_is_named(name, tmp_path):
    content = (FIXTURES / name).read_bytes()
    for length in (20, len(content) // 3, len(content) - 5):
        (tmp_path / "cut.pth").write_bytes(content[:length])
        with pytest.raises(UserError, match=r"cut\.pth") as error:
            read(tmp_path / "cut.pth")
        assert "\n" not in str(error.value)


def test_a_pickle_without_named_tensors_is_refused(tmp_path):
    for content, message in (([1, 2], "holds a list"), ({"epoch": 1}, "no named tensors.*epoch")):
        write_legacy(tmp_path / "x.pth", pickle.dumps(content, 2))
        with pytest.raises(UserError, match=message):
            read(tmp_path / "x.pth")
