import numpy as np

from tests.data.sets.files import write

SIZE = (5, 6)


def test_annotated_frames_of_each_sequence(tmp_path, prepared, refused):
    rng, truth = np.random.default_rng(0), {}
    root = tmp_path / "d/PhC-C2DH-U373"
    for sequence, frames in (("01", (1, 3)), ("02", (0,))):
        for frame in range(4):
            pixels = rng.integers(0, 256, SIZE).astype(np.uint8)
            write(root / f"{sequence}/t{frame:03d}.tif", pixels)
            write(root / f"{sequence}_GT/TRA/man_track{frame:03d}.tif", np.ones(SIZE, np.uint16))
            if frame in frames:
                cells = rng.choice([0, 0, 1, 2, 300], SIZE).astype(np.uint16)
                write(root / f"{sequence}_GT/SEG/man_seg{frame:03d}.tif", cells)
                truth[f"phc_u373_{sequence}_{frame:03d}"] = cells > 0
    silver = np.eye(*SIZE, dtype=np.uint16)
    write(root / "02_ST/SEG/man_seg002.tif", silver)
    truth["phc_u373_02_silver_002"] = silver > 0
    found = prepared("cell_tracking")
    assert found.sizes == {"phc_u373_01": 2, "phc_u373_02": 1, "phc_u373_02_silver": 1}
    assert found.labels.keys() == truth.keys()
    for name, mask in truth.items():
        np.testing.assert_array_equal(found.labels[name], mask)
    assert "phc_u373_01: 2 frames without a mask, left out" in found.notes
    write(tmp_path / "e/DIC-C2DH-HeLa/01/t000.tif", np.zeros(SIZE, np.uint8))
    assert "found neither PhC-C2DH-U373 nor" in refused("cell_tracking", tmp_path / "e")
    write(tmp_path / "e/DIC-C2DH-HeLa/01_GT/SEG/man_seg004.tif", np.zeros(SIZE, np.uint16))
    assert "man_seg004.tif: no frame t004.tif" in refused("cell_tracking", tmp_path / "e")
