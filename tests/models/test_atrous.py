import pytest

from jaxseg.errors import UserError
from jaxseg.models.atrous import check_output_stride, replace_strides


@pytest.mark.parametrize(
    ("output_stride", "expected"),
    [
        (32, [(2, 1), (1, 1), (2, 1), (2, 1), (1, 1), (2, 1), (1, 1)]),
        (16, [(2, 1), (1, 1), (2, 1), (2, 1), (1, 1), (1, 1), (1, 2)]),
        (8, [(2, 1), (1, 1), (2, 1), (1, 1), (1, 2), (1, 2), (1, 4)]),
    ],
)
def test_by_hand(output_stride, expected):
    assert replace_strides([2, 1, 2, 2, 1, 2, 1], output_stride) == expected


def test_output_stride():
    check_output_stride(64, coarsest=64)
    with pytest.raises(UserError, match=r"output_stride is 12, expected one of 8, 16, 32$"):
        check_output_stride(12)
    with pytest.raises(UserError, match=r"output_stride is 128, expected one of 8, 16, 32, 64$"):
        check_output_stride(128, coarsest=64)
