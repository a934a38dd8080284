"""What is timed is what the networks run, and no wrong lowering can win."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.bench import choices, ops
from jaxseg.bench.cases import CASES, Case
from jaxseg.errors import UserError
from jaxseg.ops import lowering
from jaxseg.ops.catalogue import OPERATIONS

TINY = {  # x, kernel, options
    "conv": ((9, 8, 16), (3, 3, 16, 6), {"stride": 2}),
    "pointwise_conv": ((9, 8, 4), (1, 1, 4, 6), {"stride": 2}),
    "atrous_conv": ((9, 8, 4), (3, 3, 4, 6), {"dilation": 2}),
    "depthwise_conv": ((9, 8, 4), (3, 3, 1, 4), {"stride": 2}),
    "transposed_conv": ((5, 4, 4), (4, 4, 4, 6), {"stride": 2, "padding": 1}),
    "transposed_conv_per_class": ((5, 4, 3), (4, 4, 3), {"stride": 2, "padding": 1}),
    "resize": ((5, 4, 3), (), {"size": (11, 14)}),
    "max_pool": ((9, 8, 4), (), {}),
    "max_pool_3x3": ((9, 8, 4), (), {}),
}
FIRST = {case.operation: case for case in reversed(CASES)}


def tiny(operation: str) -> Case:
    x, kernel, options = TINY[operation]
    return dataclasses.replace(
        FIRST[operation], where="tiny", x=(2, *x), kernel=kernel, options=options
    )


@pytest.mark.parametrize("backend", ["cpu", "gpu"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_case_asks_for_the_class_that_it_names_and_has_a_choice(case, backend):
    """Of whole shapes; they are traced and not computed."""
    for dtype in ops.DTYPES:
        questions = ops.asked(case.on(backend), dtype)
        (forms,) = (forms for name, _, forms in questions if name == case.operation)
        assert (case.operation, case.shapes, forms) in questions
        assert len(forms) > 1


def test_every_operation_is_timed_in_every_lowering():
    found: dict[str, set[str]] = {}
    for case in CASES:
        for name, _, forms in ops.asked(case.on("cpu"), "float32"):
            found.setdefault(name, set()).update(forms)
    assert found == {name: set(forms) for name, forms in OPERATIONS.items()}


def test_shapes_differ_by_backend_in_nothing_but_batch_and_channels():
    for case in CASES:
        small, large = case.on("cpu"), case.on("gpu")
        assert small.x[0] == 2
        assert large.x == (16, *case.x)
        assert large.kernel == case.kernel
        assert small.x[1:3] == case.x[:2]


@pytest.mark.parametrize("operation", TINY)
def test_pytorch_does_the_same_work(operation):
    """Also its gradients, which a wrong order of a kernel's axes would spoil first."""
    pytest.importorskip("torch")
    from jaxseg.bench import torch_ops

    case = tiny(operation)
    arrays = case.arrays("float32")
    y, pull = jax.vjp(lambda *a: case(*a), *arrays)
    gradient = jax.random.normal(jax.random.key(1), y.shape)
    for program in torch_ops.programs(case, arrays, gradient).values():
        np.testing.assert_allclose(program.output(), y, atol=1e-5)
        program.both()
        for ours, theirs in zip(pull(gradient), program.gradients(), strict=True):
            np.testing.assert_allclose(theirs, ours, atol=1e-4)


@pytest.fixture
def own_table(tmp_path, monkeypatch):
    """A table elsewhere, which no later test sees."""
    monkeypatch.setattr(lowering, "TABLE", tmp_path / "lowerings.json")
    lowering.table.cache_clear()
    yield
    lowering.table.cache_clear()


def test_every_lowering_is_timed_and_the_fastest_is_written(own_table):
    other = {"tpu": {"machine": "other", "versions": "jax 1", "command": "", "choices": {}}}
    lowering.TABLE.write_text(json.dumps(other))
    result = ops.measure(tiny("pointwise_conv"), "float32", seconds=0.01)
    (question,) = ops.asked(tiny("pointwise_conv"), "float32")
    assert tuple(result["compile"]) == question[2]
    for part in ops.PARTS:
        assert set(question[2]) <= set(result[part])
        assert all(time > 0 for time in result[part].values())
    best = choices.choose([result])
    host = {"machine": "this", "versions": "jax 2", "command": "jaxseg bench ops"}
    choices.write(host, best, choices.kept(host, partial=False))
    written = json.loads(lowering.TABLE.read_text())
    assert written["tpu"] == other["tpu"]
    assert written["cpu"] == {**host, "choices": best}


def result(**times: float):
    return {
        "operation": "op", "dtype": "float32", "shapes": "some",
        "compile": dict.fromkeys(times, 1.0),
        "with gradients": {**times, "PyTorch, contiguous": 0.1},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("results", "chosen"),
    [
        ([result(own=2.0, other=1.0)], "other"),
        ([result(own=1.02, other=1.0)], "own"),  # a tie
        ([result(own=1.04, other=1.0)], "other"),
        # ratios count, not seconds: 4 * 0.1 < 1 * 1
        ([result(own=1.0, other=4.0), result(own=1.0, other=0.1)], "other"),
        # one that can't do all of the class is out
        ([result(own=2.0, other=1.0), result(own=1.0)], "own"),
    ],
)
def test_the_fastest_of_a_class_is_chosen(results, chosen):
    assert choices.choose(results) == {"op": {"float32": {"some": chosen}}}


def test_parts_of_a_table_come_from_one_machine(own_table):
    lowering.TABLE.write_text("{}")
    host = {"machine": "one", "versions": "jax 1", "command": ""}
    choices.write(host, {"a": {"float32": {"x": "own"}}}, {})
    rest = choices.kept(host, partial=True)
    choices.write(host, {"a": {"bfloat16": {"x": "own"}}, "b": {"float32": {"x": "own"}}}, rest)
    kept = choices.kept(host, partial=True)
    assert kept["a"] == {"float32": {"x": "own"}, "bfloat16": {"x": "own"}}
    assert kept["b"] == {"float32": {"x": "own"}}
    other = {**host, "machine": "two"}
    with pytest.raises(UserError, match="measured on one, this is two"):
        choices.kept(other, partial=True)
    assert choices.kept(other, partial=False) == {}


def scaled(x, factor):
    """The product, or in its lowering "wrong" a thing that is like it, but for one row."""
    shifted = x.at[:, 0].set(0.0)
    form = lowering.choose("scaled", "any", x.dtype, ("right", "wrong"))
    return (x if form == "right" else shifted) * factor[0]


@pytest.mark.parametrize("dtype", ops.DTYPES)
def test_a_wrong_lowering_stops_the_benchmark(dtype):
    case = Case("scaled", "any", "here", scaled, (2, 32, 32, 3), (1,))
    with pytest.raises(UserError, match="lowering 'wrong' has another output than 'right'"):
        ops.measure(case, dtype, seconds=0.01)


@jax.custom_vjp
def badly(x):
    return x


badly.defvjp(lambda x: (x, None), lambda _, g: (jnp.roll(g, 1, axis=1),))


def test_a_wrong_gradient_stops_it_too():
    def call(x):
        form = lowering.choose("same", "any", x.dtype, ("right", "wrong"))
        return x if form == "right" else badly(x)

    with pytest.raises(UserError, match="another gradient of the input than 'right'"):
        ops.measure(Case("same", "any", "here", call, (2, 8, 8, 3)), "float32", seconds=0.01)


def test_without_pytorch_its_columns_are_empty():
    times = {"own": 0.002, "other": 0.001}
    measured = {
        "operation": "op", "where": "here", "dtype": "float32", "shapes": "some",
        "compile": dict.fromkeys(times, 1.0), "forward": times, "with gradients": times,
    }  # fmt: skip
    (row,) = ops.rows([measured], choices.choose([measured]))
    assert row == ["op: here", "some", "float32", "", "", "", "", "other", "", "", "1.0"]
    for part in ops.PARTS:
        measured[part] = {**times, "PyTorch, contiguous": 0.004, "PyTorch, channels_last": 0.002}
    (row,) = ops.rows([measured], choices.choose([measured]))
    assert row[3:] == ["2.00", "2.00", "1.00", "1.00", "other", "0.50", "0.50", "1.0"]
