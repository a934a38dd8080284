import numpy as np
import pytest

from jaxseg.data.padding import mean_pixel, padded_size


@pytest.mark.parametrize(
    ("size", "canvas", "multiple", "want"),
    [
        ((360, 480), (0, 0), 32, (384, 480)),
        ((1, 64), (0, 0), 64, (64, 64)),
        ((5, 7), (0, 0), 1, (5, 7)),
        ((334, 500), (513, 513), 32, (513, 513)),
        ((513, 500), (513, 513), 32, (513, 513)),
        ((514, 577), (513, 513), 32, (545, 577)),  # 32 k + 1 again
        ((500, 20), (0, 100), 16, (512, 100)),
    ],
)
def test_by_hand(size, canvas, multiple, want):
    assert padded_size(size, canvas=canvas, multiple=multiple) == want


def test_the_mean_pixel_is_rounded():
    assert mean_pixel((123.675, 116.28, 103.53)).tolist() == [124, 116, 104]
    deep = mean_pixel((40000.4,), 16)
    assert (deep.dtype, deep.tolist()) == (np.uint16, [40000])
