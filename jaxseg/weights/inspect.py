"""What a source of weights is, in words."""

from collections.abc import Iterator, Mapping

import numpy as np

from jaxseg.weights import families, files
from jaxseg.weights.families.names import unknown_path
from jaxseg.weights.imported import Imported
from jaxseg.weights.requirements import flag, text


def describe(source: str) -> Iterator[str]:
    """Lines on a file or a hub's name: the network, the flags it needs, a table of its entries.

    Raises:
      UserError: not readable, or of no known family; its entries are shown before that.
    """
    path, config = files.locate(source)
    entries = files.read(path)
    try:
        imported = families.recognise(entries, source, config)
    except families.UnknownFamilyError:
        yield from _table(entries, {})
        raise
    yield from _needs(imported)
    yield ""
    yield from _table(entries, _our_names(imported))


def describe_run(imported: Imported) -> Iterator[str]:
    """The same lines on the weights of a run, whose names are ours."""
    yield from _needs(imported)
    yield ""
    yield from _table(imported.variables, {path: path for path in imported.variables})


def _our_names(imported: Imported) -> dict[str, str]:
    """What became of each foreign entry."""
    ours = dict.fromkeys(imported.unused, "(not used)")
    ours |= {name: f"into {path}" for name, path in imported.added_to.items()}
    for path, name in imported.source_names.items():
        known = "(not recognised)" if path == unknown_path(name) else path
        ours[name] = f"{ours[name]}, {known}" if name in ours else known
    return ours


def _needs(imported: Imported) -> Iterator[str]:
    options = [f"{key}={text(value)}" for key, value in imported.options.items()]
    yield f"{imported.family}: {len(imported.variables)} entries of a model"
    # quoted, because brackets mean something to a shell
    yield f'model:      --config "FILE:{",".join([imported.model, *options])}"'
    if imported.model == "classifier":
        yield "            or another model with such an encoder, whose other layers stay fresh"
    image_flags = [flag("dataset.mean", imported.mean), flag("dataset.std", imported.std)]
    if (channels := len(imported.mean)) != 3 or imported.bits != 8:
        image_flags += [flag("dataset.channels", channels), flag("dataset.bits", imported.bits)]
    yield f"images:     {' '.join(image_flags)}"
    if imported.assumed:
        yield f"assumed:    {', '.join(sorted(imported.assumed))}: such files do not tell"
    if imported.folded:
        yield "batch norm: folded into the convolutions; training measures its statistics first"
    for head in imported.heads:
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
