"""The exit code and the line of whatever ends a command."""

import errno
import os
import signal

import jax
import pytest

from jaxseg.errors import NonFiniteLossError, Stopped, UserError, explain

RAN_OUT = "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 9 bytes."


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UserError("no such image"), 2, "no such image"),
        (NonFiniteLossError("loss nan"), 1, "loss nan"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (Stopped(signal.SIGINT, "stopped at step 3"), 130, "stopped at step 3"),
        (Stopped(signal.SIGTERM, ""), 143, ""),
        (
            FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "a.png"),
            2,
            "No such file or directory: a.png",
        ),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), 2, "No space left on device"),
        (OSError("image file is truncated"), 2, "image file is truncated"),
        (OSError(), 2, "OSError"),
        (OSError("first\nsecond"), 2, "first"),
    ],
)
def test_an_error_gets_its_exit_code_and_line(error, code, line):
    assert explain(error) == (code, line)


@pytest.mark.parametrize("kind", [jax.errors.JaxRuntimeError, ValueError])  # XLA raises both
def test_out_of_memory_says_what_to_do(kind):
    explained = explain(kind(f"{RAN_OUT}\nand a table of buffers"))
    assert explained is not None
    code, line = explained
    assert code == 1
    assert line.startswith(f"the device is out of memory ({RAN_OUT}): lower config.batch_size")
    assert "config.grad_accum_steps" in line
    assert "config.remat=True" in line
    assert "\n" not in line


@pytest.mark.parametrize(
    "error",
    [
        KeyError("x"),
        ValueError("shapes do not match"),
        jax.errors.JaxRuntimeError("INTERNAL: Failed to compile module"),
        # TensorStore's word for a full disk
        ValueError("RESOURCE_EXHAUSTED: Error writing x: No space left on device"),
    ],
)
def test_what_nobody_expected_keeps_its_traceback(error):
    assert explain(error) is None
