import pytest

QUICK = ["--config", "configs/quickstart.py:unet,width=4,depth=1"]

TOGETHER = ("--coordinator_address=localhost:1", "--num_processes=2", "--process_id=0")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (TOGETHER[:2], "but no --process_id: give all three, or --distributed"),
        (("--coordinator_address=here", *TOGETHER[1:]), "expected HOST:PORT of the first process"),
        ((*TOGETHER[:2], "--process_id=2"), "--process_id=2 of --num_processes=2, expected one of"),
        ((*TOGETHER[:1], "--num_processes=0", "--process_id=0"), "--num_processes=0, expected at"),
    ],
)
def test_processes_that_can_not_find_each_other(words, message, tmp_path, jaxseg):
    code, out, err = jaxseg("train", *QUICK, "--workdir", tmp_path, *words)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
