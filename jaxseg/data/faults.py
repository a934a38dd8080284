"""Everything that is wrong with a folder of images and masks, in one error."""

import dataclasses
import os
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

from jaxseg.errors import UserError

SHOWN = 20

# of faults, with the heading of their list; where numbers are equal, the earlier one comes first
KINDS = {
    "classes": "which class is which",
    "folder": "folders",
    "unpaired": "images without a mask, masks without an image",
    "twice": "two files of one name",
    "image": "images that can't be read",
    "mask": "masks that can't be read",
    "size": "masks of another size than their image",
    "value": "masks that hold what is no class",
}


@dataclasses.dataclass(frozen=True)
class Fault:
    """One thing to repair."""

    kind: str  # of KINDS
    text: str  # the file, what came, what was expected and the fix
    examples: int = 1  # that can't be used because of it
    values: Mapping[int, int] = dataclasses.field(default_factory=dict)  # of a mask: pixels by it
    files: tuple[Path, ...] = ()  # the image and the mask, where both are there


class FaultsError(UserError):
    """What is wrong with a folder; `faults` are all of them."""

    def __init__(self, text: str, faults: Sequence[Fault]) -> None:
        super().__init__(text)
        self.faults = list(faults)


def error_of(
    faults: Sequence[Fault], source: Path, about: Mapping[str, str] | None = None
) -> FaultsError:
    """One error for all faults of a folder: one alone as it is, several as a list by kind.

    Kinds come in the order of the examples that they make unusable. Of many faults SHOWN are
    listed, some of each kind. `about` adds a line to a kind, or ends the error about one fault.
    """
    about = about or {}
    if len(faults) == 1:
        more = about.get(faults[0].kind, "")
        return FaultsError(f"{faults[0].text}; {more}" if more else faults[0].text, faults)
    by_kind = {kind: [f for f in faults if f.kind == kind] for kind in KINDS}
    listed = [group for group in by_kind.values() if group]
    listed.sort(key=lambda group: -sum(fault.examples for fault in group))
    lines = [f"{source}: {len(faults)} faults, and nothing was prepared:"]
    for group, shown in zip(listed, _shares([*map(len, listed)]), strict=True):
        lines.append(f"  {KINDS[group[0].kind]} ({len(group)}):")
        if more := about.get(group[0].kind, ""):
            lines.append(f"    {more}")
        for fault in group[:shown]:
            text = fault.text.replace(f"{source}{os.sep}", "")
            lines.append(textwrap.indent(text, "    "))
        if more := len(group) - shown:
            lines.append(f"    and {more} more")
    return FaultsError("\n".join(lines), faults)


def _shares(counts: Sequence[int]) -> list[int]:
    """How many of each kind are shown: evenly, and what some kinds leave goes to the first ones."""
    shares, left = [0] * len(counts), min(SHOWN, sum(counts))
    while left:
        for kind, count in enumerate(counts):
            if left and shares[kind] < count:
                shares[kind] += 1
                left -= 1
    return shares
