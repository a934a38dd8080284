"""What the benchmarks share on the command line: numeric flags and tables."""

from collections.abc import Sequence
from typing import Any

from jaxseg.errors import UserError


def positive(command: str, values: Any, name: str) -> float:
    """The number that a flag gives; raises UserError unless it is a positive number."""
    text = values[name].value
    try:
        if (number := float(text)) > 0:
            return number
    except ValueError:
        pass
    raise UserError(f"{command}: --{name} is {text!r}, expected a number above 0")


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, markdown: bool) -> str:
    """Columns of words aligned left, columns of numbers right."""
    right = [all(_is_number(cell) for cell in column) for column in zip(*rows, strict=True)]
    if markdown:
        rule = ["---:" if number else "---" for number in right]
        return "\n".join("| " + " | ".join(cells) + " |" for cells in (headings, rule, *rows))
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    lines = []
    for cells in (headings, *rows):
        padded = (
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(cells, widths, right, strict=True)
        )
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def _is_number(cell: str) -> bool:
    return not cell or cell[0].isdigit()
