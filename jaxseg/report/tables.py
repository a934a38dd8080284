"""Tables of numbers in percent, with bars behind those that are compared."""

from collections.abc import Collection, Sequence
from html import escape

from jaxseg.metrics import percent


def percent_table(
    heads: Sequence[str],
    rows: Sequence[tuple[str, Sequence[float | None]]],
    *,
    caption: str,
    bars: Collection[int] = (),
    colours: Sequence[Sequence[int]] = (),
    last: tuple[str, Sequence[float | None]] | None = None,
    best: bool = False,
) -> str:
    """One row for each name, with shares (0 to 1, None for undefined) in percent.

    Args:
      heads: of the first column and of each number.
      rows: names and their numbers.
      caption: what the table shows.
      bars: which numbers have a bar behind them.
      colours: RGB of a square before each name.
      last: a row below a line, such as the mean.
      best: whether the highest number of each row is bold, but for the last.
    """
    first, *others = (escape(head) for head in heads)
    head = f'<th scope="col">{first}</th>' + "".join(
        f'<th scope="col" class="number">{other}</th>' for other in others
    )
    body = "".join(
        _row(name, values, bars, swatch(colours[i]) if colours else "", best)
        for i, (name, values) in enumerate(rows)
    )
    foot = f"<tfoot>{_row(*last, (), '', False)}</tfoot>" if last else ""
    return _table(head, body, foot, caption)


def text_table(
    heads: Sequence[str],
    lines: Sequence[Sequence[str]],
    *,
    caption: str,
    words: Collection[int] = (0,),
) -> str:
    """Cells of text; the first of each line names it, columns other than `words` are numbers."""

    def cell(i: int, text: str, tag: str) -> str:
        kind = "" if i in words else ' class="number"'
        return f"<{tag}{kind}>{escape(text)}</{tag.split()[0]}>"

    head = "".join(cell(i, text, 'th scope="col"') for i, text in enumerate(heads))
    body = ""
    for first, *others in lines:
        cells = cell(0, first, 'th scope="row"')
        cells += "".join(cell(i, text, "td") for i, text in enumerate(others, 1))
        body += f"<tr>{cells}</tr>"
    return _table(head, body, "", caption)


def _table(head: str, body: str, foot: str, caption: str) -> str:
    label = escape(caption)
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{label}"><table>'
        f"<caption>{label}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
        f"{foot}</table></div>"
    )


def fact_table(facts: Sequence[tuple[str, str]]) -> str:
    """Names and what is to be said of them, as text."""
    rows = (
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(text)}</td></tr>'
        for name, text in facts
    )
    return f'<table class="facts">{"".join(rows)}</table>'


def swatch(colour: Sequence[int]) -> str:
    """A small square of an RGB colour."""
    red, green, blue = (int(channel) for channel in colour)
    return f'<span class="swatch" style="background:rgb({red},{green},{blue})"></span>'


def _row(
    name: str, values: Sequence[float | None], bars: Collection[int], before: str, best: bool
) -> str:
    highest = percent(max((v for v in values if v is not None), default=None)) if best else ""
    cells = "".join(
        _number(value, i in bars, value is not None and percent(value) == highest)
        for i, value in enumerate(values)
    )
    return f'<tr><th scope="row">{before}{escape(name)}</th>{cells}</tr>'


def _number(value: float | None, bar: bool, strong: bool) -> str:
    text = f"<strong>{percent(value)}</strong>" if strong else percent(value)
    if not bar or value is None:
        return f'<td class="number">{text}</td>'
    return f'<td class="number bar" style="--share:{100 * value:.1f}%"><span>{text}</span></td>'
