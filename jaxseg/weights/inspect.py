"""What a source of weights is, in words."""

from collections.abc import Iterator, Mapping

import numpy as np

from jaxseg import weights
from jaxseg.weights.imported import Imported
from jaxseg.weights.names import unknown
from jaxseg.weights.read import read
from jaxseg.weights.requirements import flag, text


def describe(source: str) -> Iterator[str]:
    """Lines: the family, the model and the flags it needs, and a table of all entries.

    Raises:
      UserError: not readable, or of no known family; its entries come before that.
    """
    if weights.is_run(source):
        imported = weights.load(source)
        entries, ours = imported.variables, {path: path for path in imported.variables}
    else:
        path, config = weights.locate(source)
        entries = read(path)
        try:
            imported = weights.recognise(entries, source, config)
        except weights.UnknownFamilyError:
            yield from _table(entries, {})
            raise
        ours = _ours(imported)
    yield from _needs(imported)
    yield ""
    yield from _table(entries, ours)


def _ours(imported: Imported) -> dict[str, str]:
    """What each foreign entry is in our names."""
    ours = dict.fromkeys(imported.unused, "(not used)")
    ours |= {name: f"into {path}" for name, path in imported.added_to.items()}
    for path, name in imported.source_names.items():
        known = "(not recognised)" if path == unknown(name) else path
        ours[name] = f"{ours[name]}, {known}" if name in ours else known
    return ours


def _needs(imported: Imported) -> Iterator[str]:
    options = [f"{key}={text(value)}" for key, value in imported.options.items()]
    yield f"{imported.family}: {len(imported.variables)} entries of a model"
    # quoted, for a shell takes brackets as its own
    yield f'model:      --config "FILE:{",".join([imported.model, *options])}"'
    if imported.model == "classifier":
        yield "            or another model with such an encoder, whose other layers stay fresh"
    yield f"images:     {flag('dataset.mean', imported.mean)} {flag('dataset.std', imported.std)}"
    if imported.assumed:
        yield f"assumed:    {', '.join(sorted(imported.assumed))}: such files do not say"
    if imported.folded:
        yield "batch norm: folded into the weights; training measures its statistics first"
    for head in imported.head:
        if (kernel := imported.variables.get(f"params/{head}/kernel")) is not None:
            yield f"classes:    {kernel.shape[-1]} ({head})"


def _table(entries: Mapping[str, np.ndarray], ours: Mapping[str, str]) -> Iterator[str]:
    rows = [
        (name, "x".join(map(str, value.shape)) or "-", value.dtype.name)
        for name, value in entries.items()
    ]
    rows = [("entry", "shape", "type"), *rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    last = ["ours", *(ours.get(name, "(not recognised)") for name in entries)]
    for row, end in zip(rows, last, strict=True):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join([*cells, end])
