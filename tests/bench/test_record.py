"""A record says how its numbers came about."""

import json
import re
import subprocess

from jaxseg.bench import record


def test_a_record_says_command_commit_versions_machine_and_date(tmp_path):
    path = tmp_path / "new" / "steps.json"

    record.write(path, "jaxseg bench steps", [{"seconds": 1.0}], commit_id="abc")

    found = json.loads(path.read_text())
    assert set(found) == {"command", "commit", "versions", "machine", "date", "results"}
    assert found["results"] == [{"seconds": 1.0}]
    assert found["commit"] == "abc"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", found["date"])


def test_the_commit_says_whether_files_differ(tmp_path):
    def git(*words):
        author = ["-c", "user.name=A", "-c", "user.email=a@b"]
        subprocess.run(["git", *author, *words], cwd=tmp_path, check=True, capture_output=True)

    assert record.commit(tmp_path) is None
    git("init")
    (tmp_path / "other.py").write_text("1")
    git("add", ".")
    git("commit", "-m", "theirs")
    assert record.commit(tmp_path) is None  # a repository that holds an installed copy of ours
    (tmp_path / "record.py").write_text("1")
    git("add", ".")
    git("commit", "-m", "ours")
    clean = record.commit(tmp_path)
    (tmp_path / "record.py").write_text("2")
    assert re.fullmatch(r"[0-9a-f]{40}", str(clean))
    assert record.commit(tmp_path) == f"{clean}+changes"


def test_the_command_leaves_out_where_its_results_go():
    words = ["--batch", "2", "--json", "a.json", "--json=b.json", "--markdown"]
    assert record.command_line("bench steps", words) == "jaxseg bench steps --batch 2 --markdown"
