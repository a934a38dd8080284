"""The checks of operations notice a wrong one."""

from jaxseg.bench import checks


def test_checks_find_a_wrong_operation(monkeypatch):
    assert all(result["passed"] for result in checks.results(["max_pool"]))
    case, _ = next(each for each in checks.CHECKS if each[0].operation == "max_pool")
    monkeypatch.setattr(checks, "CHECKS", ((case, lambda x: checks._pooled(x[:, ::-1])),))
    assert not any(result["passed"] for result in checks.results())
