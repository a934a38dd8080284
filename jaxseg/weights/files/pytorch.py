"""PyTorch checkpoints (.pth, .pt, .bin), read without PyTorch and without running their code.

A checkpoint is a pickle, and a pickle is a program. This reader allows the few objects that tensors
are made of and refuses all others by name, so a file can build arrays and nothing else. The pickle
gets only strings and objects without attributes, because its opcode BUILD sets attributes of
whatever it holds, or calls its __setstate__, and could so change a function's defaults or NumPy's
types for the whole process.

Both formats are read: zip files (since PyTorch 1.6, "torch/serialization.py") and the stream of
pickles before them.
"""

import io
import math
import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import ml_dtypes
import numpy as np

from jaxseg.errors import UserError

LEGACY_START = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # a pickle of PyTorch's magic number
_LEGACY_PROTOCOL = 1001

_STORAGES = {
    "DoubleStorage": np.dtype("<f8"),
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}


class _Storage(NamedTuple):
    """A flat array in the file, not read yet."""

    key: str
    kind: str  # a key of _STORAGES
    count: int

    @property
    def dtype(self) -> np.dtype:
        return _STORAGES[self.kind]


class _Tensor(NamedTuple):
    """A strided view of a storage; offset and strides count elements."""

    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


class _Entries(dict):
    """A state_dict. PyTorch gives it an attribute `_metadata`, which is ignored."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        pass


class _MakeEntries:
    __slots__ = ()

    def __call__(self, *items: Any) -> _Entries:
        return _Entries(*items)


class _MakeTuple:
    __slots__ = ()

    def __call__(self, *items: Any) -> tuple:
        return tuple(*items)


class _RebuildTensor:
    __slots__ = ()

    def __call__(self, storage: _Storage, offset: int, size: Any, stride: Any, *_: Any) -> _Tensor:
        if not isinstance(storage, _Storage):
            raise TypeError("a tensor has no storage")
        return _Tensor(storage, int(offset), tuple(size), tuple(stride))


class _RebuildParameter:
    __slots__ = ()

    def __call__(self, tensor: _Tensor, *_: Any) -> _Tensor:
        return tensor


ALLOWED = {
    ("collections", "OrderedDict"): _MakeEntries(),
    ("torch", "Size"): _MakeTuple(),
    ("torch._utils", "_rebuild_tensor_v2"): _RebuildTensor(),
    ("torch._utils", "_rebuild_parameter"): _RebuildParameter(),
    **{("torch", name): name for name in _STORAGES},
}


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: Any, path: Path):
        super().__init__(file, encoding="utf-8")
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in ALLOWED:
            return ALLOWED[module, name]
        raise UserError(
            f"{self._path} holds a Python object {module}.{name}, which is not loaded because it "
            "could run any program: save the weights alone, torch.save(model.state_dict(), FILE)"
        )

    def persistent_load(self, pid: Any) -> _Storage:
        # ("storage", type, key, device, count), in the stream format a view of another one last
        what, kind, key, _, count, *view = pid
        if what != "storage" or kind not in _STORAGES or any(view):
            raise UserError(f"{self._path} holds a storage of an unknown kind")
        return _Storage(str(key), kind, int(count))


def read_zip(archive: zipfile.ZipFile, path: Path) -> dict[str, np.ndarray]:
    """The state_dict of an opened zip checkpoint."""
    (root,) = [n.removesuffix("data.pkl") for n in archive.namelist() if n.endswith("/data.pkl")]
    if f"{root}byteorder" in archive.namelist() and archive.read(f"{root}byteorder") != b"little":
        raise UserError(f"{path} was written on a big-endian machine, which is not supported")
    content = _Unpickler(io.BytesIO(archive.read(f"{root}data.pkl")), path).load()
    return _state_dict(content, lambda storage: archive.read(f"{root}data/{storage.key}"), path)


def read_legacy(path: Path) -> dict[str, np.ndarray]:
    """The state_dict of a checkpoint in the format before the zip one."""
    with path.open("rb") as file:
        _Unpickler(file, path).load()  # the magic number
        protocol = _Unpickler(file, path).load()
        system = _Unpickler(file, path).load()
        if protocol != _LEGACY_PROTOCOL or not system["little_endian"]:
            raise UserError(f"{path} has an unknown version of PyTorch's format")
        unpickler = _Unpickler(file, path)
        content = unpickler.load()
        keys = _Unpickler(file, path).load()
        storages = _storages(content)
        data = {key: _read_storage(file, storages[key]) for key in keys}
    return _state_dict(content, lambda storage: data[storage.key], path)


def _storages(content: Any) -> dict[str, _Storage]:
    """Every storage in nested containers, by its key."""
    if isinstance(content, _Tensor):
        return {content.storage.key: content.storage}
    found = {}
    inside = content.values() if isinstance(content, Mapping) else content
    if isinstance(content, Mapping | list | tuple):
        for value in inside:
            found.update(_storages(value))
    return found


def _read_storage(file: BinaryIO, storage: _Storage) -> bytes:
    count = int.from_bytes(file.read(8), "little")
    if count != storage.count:
        raise ValueError(f"a storage has {count} elements, expected {storage.count}")
    return file.read(count * storage.dtype.itemsize)


def _state_dict(
    content: Any, read: Callable[[_Storage], bytes], path: Path
) -> dict[str, np.ndarray]:
    """The tensors by name, unwrapped.

    A training checkpoint holds them under the key "state_dict" or "model", beside the optimizer,
    and DataParallel puts "module." before every name.
    """
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping):
        raise UserError(
            f"{path} holds a {type(content).__name__}, expected a state_dict, as written by "
            "torch.save(model.state_dict(), FILE)"
        )
    tensors = {str(k): v for k, v in content.items() if isinstance(v, _Tensor)}
    if not tensors:
        keys = ", ".join(map(str, list(content)[:5]))
        raise UserError(f"{path} holds no named tensors, only: {keys or 'nothing'}")
    if all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): value for name, value in tensors.items()}
    return {name: _array(name, tensor, read) for name, tensor in tensors.items()}


def _array(name: str, tensor: _Tensor, read: Callable[[_Storage], bytes]) -> np.ndarray:
    storage = tensor.storage
    flat = np.frombuffer(read(storage), storage.dtype)
    if len(flat) != storage.count:
        raise ValueError(
            f"{name}: {len(flat)} elements, expected {storage.count}: the file is cut short"
        )
    # as_strided checks nothing: the view must lie in the storage
    axes = list(zip(tensor.size, tensor.stride, strict=True))
    numbers = (tensor.offset, *tensor.size, *tensor.stride)
    if any(type(number) is not int or number < 0 for number in numbers):
        raise ValueError(f"{name} has an offset, size or stride that is not a whole number")
    count = math.prod(tensor.size)
    last = tensor.offset + sum((size - 1) * stride for size, stride in axes)
    if count > storage.count or (count and last >= storage.count):
        raise ValueError(f"{name} of size {tensor.size} reaches past its storage")
    strides = [stride * storage.dtype.itemsize for stride in tensor.stride]
    view = np.lib.stride_tricks.as_strided(flat[tensor.offset :], tensor.size, strides)
    return np.array(view)  # a contiguous copy
