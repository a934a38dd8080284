"""PyTorch's modes."""

from jaxseg.bench import modes


def test_the_fastest_mode_is_pytorchs():
    seconds = {"jaxseg": 0.1, "eager": 0.3, "torch.compile": 0.2}
    assert modes.fastest(seconds) == "torch.compile"
    assert modes.fastest({"jaxseg": 0.1}) == ""


def test_every_device_compares_with_eager_and_compiled_pytorch():
    for each in modes.PYTORCH.values():
        compiled = [bool(mode.compile) for mode in each.values()]
        assert compiled == sorted(compiled)
        assert set(compiled) == {False, True}
    assert modes.PYTORCH["cuda"]["max-autotune"].compile == "max-autotune"
