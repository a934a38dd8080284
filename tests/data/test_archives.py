"""Archives are unpacked whole, within limits, and never outside of their folder."""

import io
import tarfile
import zipfile
from typing import Any

import pytest

from jaxseg.data import archives
from jaxseg.data.archives import Unpacker, is_archive, stem
from jaxseg.errors import UserError

FILES = {"a/x.png": b"x" * 3000, "a/b/y.png": b"", "z.txt": b"z"}


def pack(path, files, links=()):
    """A zip or tar file, by the suffix, of `files`."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
            for name, content in files.items():
                packed.writestr(name, content)
            for name in links:
                entry = zipfile.ZipInfo(name)
                entry.external_attr = 0o120777 << 16
                packed.writestr(entry, "/etc/passwd")
        return path
    mode: Any = {".gz": "w:gz", ".tgz": "w:gz", ".bz2": "w:bz2", ".xz": "w:xz"}.get(
        path.suffix, "w"
    )
    with tarfile.open(path, mode) as packed:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            packed.addfile(entry, io.BytesIO(content))
        for name in links:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
            packed.addfile(entry)
    return path


def content(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


NAMES = ["d.zip", "d.tar", "d.tar.gz", "d.tgz", "d.tar.bz2", "d.tar.xz"]


@pytest.mark.parametrize("name", NAMES)
def test_every_kind_is_unpacked_whole(name, tmp_path):
    junk = {"__MACOSX/a/x.png": b"1", "a/._x.png": b"2", "a/.DS_Store": b"3"}
    archive = pack(tmp_path / name, FILES | junk)
    assert is_archive(archive)
    assert stem(archive) == "d"
    Unpacker().unpack(archive, tmp_path / "out")
    assert content(tmp_path / "out") == FILES


def test_archives_in_archives_have_a_folder_each(tmp_path):
    inner = {n: pack(tmp_path / n, {f"images/{n}.png": b"x"}) for n in ("train.zip", "test.tar.gz")}
    outer = pack(tmp_path / "all.zip", {n: path.read_bytes() for n, path in inner.items()})
    Unpacker().unpack(outer, tmp_path / "out")
    assert content(tmp_path / "out") == {
        "train/images/train.zip.png": b"x",
        "test/images/test.tar.gz.png": b"x",
    }


@pytest.mark.parametrize("suffix", [".zip", ".tar"])
@pytest.mark.parametrize("name", ["../x.png", "a/../../x.png", "/x.png", "..\\x.png", "C:\\x.png"])
def test_nothing_is_written_outside(name, suffix, tmp_path):
    archive = pack(tmp_path / f"d{suffix}", {"ok.png": b"1", name: b"2"})
    with pytest.raises(UserError, match=r"d\.(zip|tar): its entry .* outside of the folder"):
        Unpacker().unpack(archive, tmp_path / "in/out")
    assert {p.name for p in tmp_path.rglob("*") if p.is_file()} <= {archive.name, "ok.png"}


@pytest.mark.parametrize("suffix", [".zip", ".tar"])
def test_links_are_refused(suffix, tmp_path):
    archive = pack(tmp_path / f"d{suffix}", FILES, links=["a/link.png"])
    with pytest.raises(UserError, match=r"'a/link\.png' is a link"):
        Unpacker().unpack(archive, tmp_path / "out")


@pytest.mark.parametrize(
    ("limit", "value"),
    [("MOST_BYTES", 2**20 - 1), ("MOST_FILES", 1), ("MANY_BYTES", 2**20 - 1)],
)
@pytest.mark.parametrize("name", ["d.zip", "d.tar.gz"])
def test_what_grows_too_large_is_stopped(name, limit, value, tmp_path, monkeypatch):
    archive = pack(tmp_path / name, {"a": bytes(2**20), "b": b""})
    Unpacker().unpack(archive, tmp_path / "within")
    monkeypatch.setattr(archives, "MOST_TIMES", 1)
    monkeypatch.setattr(archives, limit, value)
    with pytest.raises(UserError, match="hold more than"):
        Unpacker().unpack(archive, tmp_path / "beyond")
    assert sum(map(len, content(tmp_path / "beyond").values())) <= 2**20


def test_the_limit_is_of_all_archives_together(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MOST_BYTES", 5000)
    archive, unpacker = pack(tmp_path / "d.zip", FILES), Unpacker()
    unpacker.unpack(archive, tmp_path / "one")
    with pytest.raises(UserError, match="hold more than"):
        unpacker.unpack(archive, tmp_path / "two")


@pytest.mark.parametrize("name", NAMES)
def test_a_download_cut_short_is_named(name, tmp_path):
    whole = pack(tmp_path / name, {f"{i}.png": bytes([i]) * 5000 for i in range(200)})
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    with pytest.raises(UserError, match=rf"{name}: not an archive that can be read to its end"):
        Unpacker().unpack(whole, tmp_path / "out")
