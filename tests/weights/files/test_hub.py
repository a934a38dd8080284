"""The hub's cache, in its own layout, and no network."""

import json

import huggingface_hub
import numpy as np
import pytest
import safetensors.numpy
from huggingface_hub import constants, errors

from jaxseg import weights
from jaxseg.errors import UserError
from jaxseg.weights.files import hub

COMMITS = {"main": "a" * 40, "v1": "b" * 40}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, and what HF_HUB_OFFLINE=1 sets."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path


def add(cache, repo, name, content, revision="main"):
    folder = cache / f"models--{repo.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True, exist_ok=True)
    (folder / "refs" / revision).write_text(COMMITS[revision])
    path = folder / "snapshots" / COMMITS[revision] / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def add_absent(cache, repo, name):
    """The marker that the hub's library leaves for a file that the repository lacks."""
    folder = cache / f"models--{repo.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True, exist_ok=True)
    (folder / "refs/main").write_text(COMMITS["main"])
    (folder / ".no_exist" / COMMITS["main"]).mkdir(parents=True, exist_ok=True)
    (folder / ".no_exist" / COMMITS["main"] / name).touch()


def resnet18(width=1):
    """The names of timm's resnet18, with tiny arrays."""
    names = ["conv1", "fc"]
    for stage in range(1, 5):
        names += [f"layer{stage}.{block}.conv{i}" for block in (0, 1) for i in (1, 2)]
        names += [f"layer{stage}.0.downsample.0"] if stage > 1 else []
    norms = [n.replace("conv", "bn").replace("sample.0", "sample.1") for n in names if n != "fc"]
    entries: dict[str, np.ndarray] = {
        f"{n}.weight": np.ones((width, width, 1, 1), np.float32) for n in names
    }
    for norm in norms:
        for kind in ("weight", "bias", "running_mean", "running_var"):
            entries[f"{norm}.{kind}"] = np.ones(width, np.float32)
    return entries


def test_a_cached_name_is_found_without_a_network(cache):
    path = add(cache, "timm/resnet18", "model.safetensors", b"x")
    add(cache, "timm/resnet18", "pytorch_model.bin", b"y")
    config = add(cache, "timm/resnet18", "config.json", b"{}")
    assert hub.fetch("hf://timm/resnet18") == (path, config)


def test_a_revision_and_a_file(cache):
    add(cache, "a/b", "config.json", b"{}")
    add(cache, "a/b", "model.safetensors", b"x")
    config = add(cache, "a/b", "config.json", b"{}", "v1")
    deep = add(cache, "a/b", "deep/er.pth", b"x", "v1")
    assert hub.fetch("hf://a/b@v1/deep/er.pth") == (deep, config)


def test_a_repository_known_to_lack_files_is_found_without_a_network(cache):
    path = add(cache, "a/b", "pytorch_model.bin", b"x")
    add_absent(cache, "a/b", "model.safetensors")
    add_absent(cache, "a/b", "config.json")
    assert hub.fetch("hf://a/b") == (path, None)
    add_absent(cache, "c/d", "model.safetensors")
    add_absent(cache, "c/d", "pytorch_model.bin")
    with pytest.raises(
        UserError, match=r"hf://c/d: the repository has no model.safetensors or pytorch_model"
    ):
        hub.fetch("hf://c/d")


def test_cached_weights_are_enough_without_a_network(cache):
    """Neither the preferred file nor the config.json is cached or marked as lacking."""
    path = add(cache, "a/b", "pytorch_model.bin", b"x")
    assert hub.fetch("hf://a/b") == (path, None)
    path = add(cache, "a/b", "file.pth", b"x")
    assert hub.fetch("hf://a/b/file.pth") == (path, None)


def test_not_cached_and_no_network_is_one_line(cache):
    with pytest.raises(UserError, match=r"hf://timm/resnet18: .*not in the hub's cache") as error:
        weights.load("hf://timm/resnet18")
    assert "\n" not in str(error.value)


def test_a_repository_without_safetensors_gives_its_other_file(cache, monkeypatch):
    path = add(cache, "a/b", "pytorch_model.bin", b"x")

    def absent(repo, name, **kwargs):
        raise errors.EntryNotFoundError(name)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", absent)
    assert hub.fetch("hf://a/b") == (path, None)
    with pytest.raises(
        UserError, match=r"hf://c/d: the repository has no model.safetensors or pytorch_model"
    ):
        hub.fetch("hf://c/d")


@pytest.mark.parametrize("name", ["hf://resnet18", "hf://a/b@", "hf://a/b c", "hf://a//b"])
def test_a_malformed_name_is_shown_the_form(name, cache):
    with pytest.raises(UserError, match=r"expected hf://ORG/NAME\[@REVISION\]\[/FILE\]"):
        hub.fetch(name)


def test_a_name_that_the_hub_does_not_allow_is_one_line(cache):
    with pytest.raises(UserError, match=r"hf://a\.\.b/c: .*Cannot have -- or \.\. in repo_id"):
        hub.fetch("hf://a..b/c")


CONFIG = {
    "architecture": "resnet18",
    "pretrained_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.5, 1.0]},
}


@pytest.mark.parametrize("where", ["hub", "folder"])
def test_timms_config_tells_the_normalisation(where, cache):
    """On the hub, and beside a local file."""
    repo = "timm/resnet18"
    path = add(cache, repo, "model.safetensors", safetensors.numpy.save(resnet18()))
    source = f"hf://{repo}" if where == "hub" else str(path)
    assert weights.load(source).assumed >= {"mean", "std"}
    config = add(cache, repo, "config.json", json.dumps(CONFIG).encode())
    imported = weights.load(source)
    assert imported.options["backbone"] == "resnet18"
    assert imported.mean == (127.5, 127.5, 127.5)
    assert imported.std == (63.75, 127.5, 255.0)
    assert not imported.assumed & {"mean", "std"}
    config.write_text('{"architecture": ')
    with pytest.raises(UserError, match=r"can't read .*config\.json") as error:
        weights.load(source)
    assert "\n" not in str(error.value)
