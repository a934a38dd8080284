"""What a run's process leaves in its log; how it is started and ended, see test_local.py."""

from jaxseg.sweeps.process import last_line


def test_the_line_that_says_why(tmp_path):
    log = tmp_path / "log"
    log.write_text("step 1\nValueError: too wide\n  hint\n----\n\n")
    assert last_line(log) == "ValueError: too wide"
    log.write_text("step 1\nstep 2\n\n")
    assert last_line(log) == "step 2"
    log.write_text("")
    assert last_line(log) == ""
