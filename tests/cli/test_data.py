from PIL import Image

QUICK = ["--config", "configs/quickstart.py:unet,width=4,depth=1"]


def test_data_show_and_stats(tmp_path, jaxseg):
    code, _, _ = jaxseg("data", "show", *QUICK, "--out", tmp_path / "grid.png")
    assert code == 0
    assert Image.open(tmp_path / "grid.png").width > 500
    code, out, _ = jaxseg("data", "stats", *QUICK, "--config.dataset.train_examples=5")
    assert code == 0
    assert "5 images" in out
    assert "class_weights" in out
