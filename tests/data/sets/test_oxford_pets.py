import numpy as np

from tests.data.sets.files import photograph, write


def test_trimaps_and_lists(tmp_path, prepared, refused):
    root, trimaps = tmp_path / "d", {}
    for i, name in enumerate(("Abyssinian_1", "beagle_2", "pug_3")):
        photograph(root / f"images/{name}.jpg", (5, 6), seed=i)
        values = np.random.default_rng(i).integers(1, 4, (5, 6)).astype(np.uint8)
        trimaps[name] = write(root / f"annotations/trimaps/{name}.png", values)
    (root / "annotations/trimaps/._pug_3.png").write_bytes(b"junk")
    (root / "annotations/trainval.txt").write_text("Abyssinian_1 1 1 1\npug_3 3 2 2\n")
    (root / "annotations/test.txt").write_text("beagle_2 2 2 1\n")
    found = prepared("oxford_pets")
    assert found.sizes == {"test": 1, "train": 2}
    for name, values in trimaps.items():
        np.testing.assert_array_equal(found.labels[name], values.astype(int) - 1)
    assert found.classes.names == ("pet", "background", "border")
    (root / "annotations/test.txt").unlink()
    assert "test.txt: no such list" in refused("oxford_pets", root)
