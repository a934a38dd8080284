from experiments import record_run


def test_the_scores_of_every_evaluation_are_kept(run_with_averages):
    kept = record_run.record(run_with_averages)
    assert kept["status"] == "finished"
    assert [scores["step"] for scores in kept["results"]] == [2]
    assert kept["results"][0]["examples"] == 8
    assert "confusion" not in kept["results"][0]
    assert kept["seconds"] >= 0
    assert kept["versions"]["jax"]
    assert kept["commit"]
