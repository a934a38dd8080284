"""`jaxseg models`."""

from collections.abc import Sequence
from typing import Any

from jaxseg.cli import flags
from jaxseg.errors import UserError

HEADINGS = ("params, M", "multiply-adds, G", "paper", "config argument", "weights, proven equal")


def models(argv: Sequence[str]) -> None:
    """The models, with their papers, parameters, multiply-adds, and whose weights fit them.

    jaxseg models [--size 512] [--markdown]

      --size N                 height and width of the image that multiply-adds are counted for
      --markdown               a Markdown table, as in the README

    Segmentation models are counted for the 21 classes of PASCAL VOC, classifiers for ImageNet's
    1000. Files of your own in jaxseg/models come last. `jaxseg weights inspect SOURCE` says what a
    file of weights fits.

    Example:
      jaxseg models --size 224
    """
    values = flags.define()
    flags.string(values, size="512")
    flags.boolean(values, "markdown")
    flags.no_rest("models", flags.parse(values, "models", argv))
    text = values["size"].value
    if not text.isdecimal() or int(text) < 224:
        raise UserError(f"models: --size is {text!r}, expected a number of pixels, at least 224")
    flags.quiet()
    from jaxseg import zoo

    traced: dict[Any, Any] = {}  # what models share is traced once
    columns = (HEADINGS, *(zoo.row(entry, int(text), traced) for entry in zoo.entries()))
    if values["markdown"].value:
        rule = ("---:", "---:", "---", "---", "---")
        for cells in (HEADINGS, rule, *columns[1:]):
            print("| " + " | ".join(cells) + " |")
        return
    widths = [max(map(len, column)) for column in zip(*columns, strict=True)]
    for cells in columns:
        padded = (
            cell.rjust(w) if i < 2 else cell.ljust(w)
            for i, (cell, w) in enumerate(zip(cells, widths, strict=True))
        )
        print("  ".join(padded).rstrip())
