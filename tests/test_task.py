"""`./task` makes its environment with a Python that will do, and makes a broken one anew."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# An interpreter that knows its version, makes environments and writes down what pip is told.
PYTHON = """\
#!/bin/sh
case "$1 $2" in
"-c "*) echo {version} ;;
"-m venv") mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && cp "$0" "$3/bin/pip" ;;
"-m pip") [ ! -e broken ] && echo "{version} $*" >> installed ;;
*) echo "ran $*" ;;
esac
"""


@pytest.fixture
def clone(tmp_path):
    """A folder with `task`, and interpreters python3.10 to python3.13 beside it."""
    shutil.copy(ROOT / "task", tmp_path)
    shutil.copytree(ROOT / ".ci", tmp_path / ".ci")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for minor in (10, 11, 12, 13, 14):
        path = tmp_path / "bin" / f"python3.{minor}"
        path.parent.mkdir(exist_ok=True)
        path.write_text(PYTHON.format(version=f"3.{minor}"))
        path.chmod(0o755)
    return tmp_path


def task(clone: Path, *words: str, python3: str = "3.11", **variables: str):
    shutil.copy(clone / "bin" / f"python{python3}", clone / "bin/python3")
    env = {"PATH": f"{clone / 'bin'}:{os.environ['PATH']}", **variables}
    return subprocess.run(
        [clone / "task", *words], env=env, capture_output=True, text=True, check=False
    )


def installs(clone: Path) -> list[str]:
    """The Python and the constraints of every call of pip."""
    path = clone / "installed"
    lines = path.read_text().splitlines() if path.exists() else []
    return [f"{line.split()[0]} {line.split('--constraint ')[1].split()[0]}" for line in lines]


@pytest.mark.parametrize("version", ["3.10", "3.14"])
def test_another_python_is_refused_in_one_line(clone, version):
    done = task(clone, "test", python3=version)
    assert done.returncode == 2
    assert done.stderr == (
        f"task: python3 is Python {version}, expected 3.11, 3.12 or 3.13; name one: "
        "PYTHON=python3.13 ./task test\n"
    )
    assert not (clone / ".venv").exists()


def test_an_interpreter_that_is_not_there_is_named(clone):
    done = task(clone, "test", PYTHON="python3.99")
    assert done.returncode == 2
    assert "python3.99 is Python (not found), expected 3.11" in done.stderr


@pytest.mark.parametrize(
    ("version", "constraints"),
    [
        ("3.11", ".ci/constraints.txt"),
        ("3.12", ".ci/constraints-3.13.txt"),
        ("3.13", ".ci/constraints-3.13.txt"),
    ],
)
def test_each_python_has_its_constraints_and_is_installed_once(clone, version, constraints):
    for _ in range(2):
        done = task(clone, "test", "-k", "one", python3=version)
        assert done.returncode == 0, done.stderr
        assert "pytest --numprocesses=2" in done.stdout
        assert done.stdout.endswith("-k one\n")
    assert installs(clone) == [f"{version} {constraints}"]
    assert (clone / constraints).exists()


def test_another_extra_is_installed_beside_the_tools(clone):
    task(clone, "test")
    task(clone, "test", EXTRAS="torch")
    assert [line.split()[-1] for line in (clone / "installed").read_text().splitlines()] == [
        ".[dev]",
        ".[dev,torch]",
    ]


def test_an_environment_of_an_old_python_is_made_anew(clone):
    subprocess.run([clone / "bin/python3.10", "-m", "venv", clone / ".venv"], check=True)
    (clone / ".venv/stale").touch()
    done = task(clone, "test")
    assert done.returncode == 0
    assert done.stderr == "task: making .venv anew, with Python 3.11\n"
    assert not (clone / ".venv/stale").exists()


def test_an_unfinished_installation_is_made_anew(clone):
    (clone / "broken").touch()
    assert task(clone, "test").returncode != 0
    (clone / ".venv/stale").touch()
    (clone / "broken").unlink()
    assert task(clone, "test").returncode == 0
    assert not (clone / ".venv/stale").exists()


def test_a_whole_environment_stays(clone):
    """Also where python3 has become another one; an interpreter that is named replaces it."""
    task(clone, "test")
    (clone / ".venv/mine").touch()
    assert task(clone, "test", python3="3.10").returncode == 0
    assert task(clone, "test", PYTHON="python3.11").returncode == 0
    assert (clone / ".venv/mine").exists()
    assert task(clone, "test", PYTHON="python3.13").returncode == 0
    assert not (clone / ".venv/mine").exists()
    assert installs(clone) == ["3.11 .ci/constraints.txt", "3.13 .ci/constraints-3.13.txt"]


def test_without_a_chore_it_lists_them(clone):
    out = task(clone).stdout
    for chore in ("quickstart", "test", "test-slow", "check", "fix"):
        assert f"\n  ./task {chore} " in out
