from PIL import Image


def test_a_run_gets_a_picture_in_its_folder(jaxseg, workdir):
    code, out, _ = jaxseg("plot", workdir)
    path = workdir / "curves.png"
    assert (code, out) == (0, f"written: {path}\n")
    with Image.open(path) as image:
        assert image.width == 1400
    path.unlink()


def test_several_runs_get_one_in_the_current_folder(jaxseg, workdir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    beside = tmp_path / "seed0.log"
    beside.write_text("what was printed")
    code, out, _ = jaxseg("plot", workdir, workdir, beside, "--classes=circle,star")
    assert (code, out) == (0, "written: curves.png\n")
    assert {path.name for path in tmp_path.iterdir()} == {"curves.png", "seed0.log"}


def test_a_mistake_gets_one_line_and_leaves_no_file(jaxseg, workdir, tmp_path):
    for argv, message in (
        ([], "plot needs the folder of a run"),
        ([workdir, "--out", tmp_path / "a.jpg"], "a.jpg: expected a name that ends with .png"),
        ([workdir, "--out", tmp_path / "no/a.png"], "there is no folder"),
        ([workdir, "--out", tmp_path / "a.png", "--classes=cirkle"], "no class 'cirkle'"),
        ([tmp_path, "--out", tmp_path / "a.png"], "is not a run"),
    ):
        code, out, err = jaxseg("plot", *argv)
        assert (code, out) == (2, "")
        assert message in err
        assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
