import json
import types
from unittest import mock

import pytest

from jaxseg import progress as progress_module
from jaxseg.compilation import Announced
from jaxseg.progress import Progress
from jaxseg.writers import MetricWriter, StepLog


def rows(path):
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]


def test_a_resume_drops_what_came_after_the_checkpoint(tmp_path):
    writer = MetricWriter(tmp_path, resume_step=0, evaluated=False)
    for step in (1, 2, 3):
        writer.write(step, {"loss": step / 10})
    writer.close()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')  # killed while writing
    writer = MetricWriter(tmp_path, resume_step=2, evaluated=True)
    writer.write(3, {"loss": 0.7})
    writer.close()
    assert rows(tmp_path) == [
        {"step": 1, "loss": 0.1}, {"step": 2, "loss": 0.2}, {"step": 3, "loss": 0.7},
    ]  # fmt: skip
    assert list((tmp_path / "tensorboard").glob("events*"))


def test_scores_that_will_be_computed_again_are_dropped(tmp_path):
    """The run was killed between writing the scores of step 2 and saving them."""
    writer = MetricWriter(tmp_path, resume_step=0, evaluated=False)
    for row in ({"loss": 0.1}, {"val/miou": 0.5}):
        writer.write(2, row)
    writer.close()
    for evaluated, left in ((True, 2), (False, 1)):
        MetricWriter(tmp_path, resume_step=2, evaluated=evaluated).close()
        assert len(rows(tmp_path)) == left


class Device:
    """One that computes a step in a second, by a clock of its own."""

    def __init__(self, monkeypatch):
        self.now = 100.0
        monkeypatch.setattr(
            progress_module, "time", types.SimpleNamespace(perf_counter=lambda: self.now)
        )

    def numbers(self, ready_at):
        """What a step gives: reading waits until it is there."""

        def read(_):
            self.now = max(self.now, ready_at)
            return 0.5

        def is_ready(_):
            return self.now >= ready_at

        number = mock.MagicMock(__float__=read, is_ready=lambda: is_ready(None))
        return {"loss": number, "grad_norm": number}


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("every", [1, 4])
def test_speed_is_that_of_the_steps_without_compiling(tmp_path, monkeypatch, waits, every):
    """Six a second, whether a call to a step of six images waits for its second or not."""
    device = Device(monkeypatch)
    progress = Progress(total=100, batch_size=6)
    writer = MetricWriter(tmp_path, resume_step=0, evaluated=False)
    step_fn = Announced(mock.Mock(), "step", announce=lambda _: None)
    log = StepLog(every, lambda _: 0.1, step_fn, writer, progress)
    free_at = device.now
    for step in range(1, 13):
        if step in (1, 6):  # another shape compiles again, while the device rests
            device.now = free_at + 40.0
            step_fn.compile_seconds += 40.0
        free_at = max(free_at, device.now) + 1.0
        if waits:
            device.now = free_at
        log.step(step, device.numbers(free_at), ("x",), waited=0.0)
    log.flush(waited=0.0)
    writer.close()
    written = rows(tmp_path)
    assert [row["step"] for row in written] == list(range(every, 13, every))
    compiled = [row["compile_seconds"] for row in written if "compile_seconds" in row]
    assert compiled == [40.0, 40.0]
    assert [row["images_per_second"] for row in written] == pytest.approx([6.0] * len(written))
