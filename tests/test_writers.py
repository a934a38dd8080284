import json

from jaxseg.writers import MetricWriter, Progress, clock


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


def test_plain_lines_where_there_is_no_terminal(capsys):
    progress = Progress(start=0, total=100, batch_size=4)
    speeds = progress.update(10, {"loss": 1.25, "learning_rate": 0.01}, waited=0.0)
    line = capsys.readouterr().err
    assert line.startswith("step 10/100  loss 1.2500  lr 1.00e-02")
    assert "images/s" in line
    assert "data wait 0 %" in line
    assert "left" in line
    assert speeds["images_per_second"] > 0


def test_time_reads_as_a_clock():
    assert clock(59.6) == "1:00"
    assert clock(3725.0) == "1:02:05"


def test_scores_that_will_be_computed_again_are_dropped(tmp_path):
    """The run was killed between writing the scores of step 2 and saving them."""
    writer = MetricWriter(tmp_path, resume_step=0, evaluated=False)
    for row in ({"loss": 0.1}, {"val/miou": 0.5}):
        writer.write(2, row)
    writer.close()
    for evaluated, left in ((True, 2), (False, 1)):
        MetricWriter(tmp_path, resume_step=2, evaluated=evaluated).close()
        assert len(rows(tmp_path)) == left
