"""Run a command and write down the most memory that its process held.

    python -m jaxseg.bench.launcher RESULT COMMAND...

Linux counts what the parent held when it started a process as that process's own peak. So the
parent is this small program rather than a benchmark that holds gigabytes.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def main(argv: Sequence[str]) -> None:
    result, *command = argv
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    unit = 1 if sys.platform == "darwin" else 1024
    code = os.waitstatus_to_exitcode(status)
    found = {"peak_bytes": usage.ru_maxrss * unit, "exit_code": code}
    Path(result).write_text(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
