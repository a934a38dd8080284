import contextlib
from functools import partial

import jax
import jax.numpy as jnp
import pytest

from jaxseg import defaults
from jaxseg.config import check_config
from jaxseg.data.source import Classes
from jaxseg.errors import UserError
from jaxseg.ops import catalogue, lowering
from jaxseg.ops.product import product
from jaxseg.program import build_program

FORMS = ("native", "rows", "taps")


@pytest.fixture
def measured(monkeypatch):
    """A table for `conv` of wide float32: "rows" is the fastest on a CPU, "taps" on a GPU."""
    cpu, gpu = ({"conv": {"float32": {"wide": form}}} for form in ("rows", "taps"))
    table = {"cpu": {"choices": cpu}, "gpu": {"choices": gpu}, "abacus": {"choices": {}}}
    monkeypatch.setattr(lowering, "table", lambda: table)


def choose(shapes="wide", dtype=jnp.float32, forms=FORMS):
    return lowering.choose("conv", shapes, dtype, forms)


def test_the_table_decides_and_else_the_first(measured):
    assert choose() == "rows"
    assert choose(shapes="narrow") == choose(dtype=jnp.bfloat16) == "native"
    assert choose(forms=("native", "taps")) == "native"  # "rows" can't do these shapes


def test_forced_goes_before_the_table_where_it_can(measured):
    with lowering.forced({"conv": "taps"}):
        assert choose() == choose(shapes="narrow") == "taps"
        assert choose(forms=("native", "rows")) == "rows"
        with lowering.forced({"conv": lowering.MEASURED}):
            assert choose() == "rows"
        assert choose() == "taps"
    assert choose() == "rows"


def test_the_devices_of_the_program_decide_and_not_the_default(measured, monkeypatch):
    with lowering.forced({}, "gpu"):
        assert choose() == "taps"
        with lowering.forced({"max_pool": "slices"}):
            assert choose() == "taps"
    with lowering.forced({}, "abacus"):
        assert choose() == "native"
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert choose() == "taps"
    for device in (jax.devices("cpu")[0], "cpu"):
        with jax.default_device(device):
            assert choose() == "rows"
    with lowering.forced({}, "cpu"):
        assert choose() == "rows"


def test_products_of_bfloat16_are_widened_where_the_target_is_a_cpu():
    x = jnp.ones((2, 2), jnp.bfloat16)
    for platform, widened in (("cpu", True), ("gpu", False)):
        with lowering.forced({}, platform):
            jaxpr = str(jax.make_jaxpr(partial(product, "ij,jk->ik"))(x, x))
        assert ("convert_element_type" in jaxpr) == widened


def test_the_table_in_the_package_names_what_exists():
    for backend, entry in lowering.table().items():
        for operation, by_dtype in entry["choices"].items():
            for dtype, by_shapes in by_dtype.items():
                assert jnp.dtype(dtype).name == dtype
                assert set(by_shapes.values()) <= set(catalogue.OPERATIONS[operation]), backend
        assert entry["machine"]
        assert entry["versions"]
        assert entry["command"]


CLASSES = Classes(("sky", "tree"), ((0, 0, 255), (0, 128, 0)))


def build(**lowerings):
    config = defaults.get_config("unet,width=2,depth=1")
    config.augment.crop_size = (8, 8)
    config.batch_size = config.eval.batch_size = 8
    config.lowerings.update(lowerings)
    return config, build_program(check_config(config), CLASSES, announce=print)


def test_the_config_names_every_operation():
    assert set(defaults.get_config("unet").lowerings) == set(catalogue.OPERATIONS)


def test_an_unknown_lowering_is_refused():
    with pytest.raises(UserError, match=r"config.lowerings.conv is 'rowz'; did you mean 'rows'"):
        build(conv="rowz")


@pytest.mark.parametrize(("asked", "given"), [("measured", "native"), ("rows", "rows")])
def test_steps_are_traced_with_the_configs(asked, given, monkeypatch):
    """On several devices under jit, what is left to the table is what splits well.

    The table is that of the mesh's devices, CPUs here, whatever JAX's default is.
    """
    seen = []

    def forced(choices, platform):
        seen.append((choices, platform))
        return contextlib.nullcontext()

    monkeypatch.setattr(lowering, "forced", forced)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    config, program = build(conv=asked, max_pool="slices")
    state = program.parallel.place_state(program.init_state())
    batch = {"image": jnp.zeros((8, 8, 8, 3), jnp.uint8), "size": jnp.full((8, 2), 8)}
    program.predict_step(state.eval_variables, batch)
    assert seen == [({**config.lowerings, "conv": given, "max_pool": "slices"}, "cpu")]
