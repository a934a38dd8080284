"""From the values that a data set's masks hold to class indices."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Int32

from jaxseg.data.source import LabelError


def relabel(
    values: Int32[np.ndarray, "h w"], labels: Mapping[int, int], name: str, expected: str
) -> Int32[np.ndarray, "h w"]:
    """What `labels` holds for each value.

    Args:
      values: a mask's, none of them negative.
      labels: class or void by value.
      name: what an error calls the mask's file.
      expected: how the error ends: the values there may be, and the fix.

    Raises:
      LabelError: `labels` lacks a value.
    """
    table = np.full(max(*labels, int(values.max(initial=0))) + 1, -1, np.int32)
    table[[*labels]] = [*labels.values()]
    found = table[values]
    if (found < 0).any():
        wrong = np.unique(values[found < 0]).tolist()
        shown = ", ".join(map(str, wrong[:5])) + (", ..." if len(wrong) > 5 else "")
        raise LabelError(f"{name}: mask value(s) {shown}, expected {expected}")
    return found
