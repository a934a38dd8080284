"""Which splits of a data set a run trains and validates on: decided here for all commands."""

import dataclasses
from collections.abc import Mapping

from jaxseg.data.layout import SPLITS

TO_TRAIN = 80  # per cent of the examples, where there is no split to validate on


@dataclasses.dataclass(frozen=True)
class Splits:
    """The splits, or slices such as "train[:22]", that a run trains and validates on."""

    train: str
    val: str
    note: str = ""  # says that validation has a share of the training split, if it has


def choose(train: str, val: str, sizes: Mapping[str, int]) -> Splits:
    """The splits of a config, found in a data set with splits of these `sizes`.

    A data set without a split to validate on gives its last fifth, but at least one example, if
    the config has the defaults "train" and "val". TFDS stores examples in the order of their
    names' hashes, so this is a random share, the same one until an image is added, removed or
    renamed.
    """
    found = Splits(find(train, sizes), find(val, sizes))
    has_val = any(name in sizes for name in ("val", *SPLITS["val"]))
    if (train, val) != ("train", "val") or has_val or found.train not in sizes:
        return found
    count = sizes[found.train]
    # as TFDS rounds in train[:80%], which would leave nothing of one or two
    kept = min(round(TO_TRAIN * count / 100), count - 1)
    return Splits(
        f"{found.train}[:{kept}]",
        f"{found.train}[{kept}:]",
        f"no val split: {count - kept} of {count} images, chosen by a hash of their names, are for "
        f"validation ({found.train}[{kept}:])",
    )


def find(split: str, sizes: Mapping[str, int]) -> str:
    """`split`, or the other name that SPLITS has for it if the data set has that one instead."""
    others = [name for name in SPLITS.get(split, ()) if name in sizes]
    return others[0] if split not in sizes and len(others) == 1 else split
