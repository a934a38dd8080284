"""The HTML document: a heading, sections and links to them, styles, script. It loads nothing."""

import dataclasses
import datetime
from collections.abc import Sequence
from html import escape
from importlib import resources

# A page that loads anything by mistake shows a broken picture rather than telling who reads it.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of the page; `name` is its anchor, `content` is HTML."""

    name: str
    title: str
    content: str


def document(title: str, heading: str, sections: Sequence[Section], footer: str) -> str:
    """The whole page.

    Args:
      title: text for the browser's tab and the page's head line.
      heading: HTML below the head line.
      sections: in order.
      footer: text.
    """
    links = "".join(
        f'<a href="#{section.name}">{escape(section.title)}</a>' for section in sections
    )
    body = "".join(
        f'<section id="{section.name}"><h2>{escape(section.title)}</h2>{section.content}</section>'
        for section in sections
    )
    files = resources.files("jaxseg.report")
    style, script = (files.joinpath(f"page.{kind}").read_text() for kind in ("css", "js"))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style></head>\n<body>"
        f'<header><div class="top"><h1>{escape(title)}</h1>'
        '<button type="button" id="theme">dark colours</button></div>'
        f'{heading}<nav aria-label="Sections">{links}</nav></header>\n<main>{body}</main>\n'
        f"<footer>{escape(footer)}</footer>\n<script>\n{script}</script></body></html>\n"
    )


def paragraph(text: str, kind: str = "") -> str:
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def tiles(numbers: Sequence[tuple[str, str, str]]) -> str:
    """Key numbers: the name, the number with its unit, and what it is of."""
    entries = (
        f"<div><dt>{escape(name)}</dt><dd>{escape(number)}</dd>"
        f'<dd class="note">{escape(note)}</dd></div>'
        for name, number, note in numbers
    )
    return f'<dl class="tiles">{"".join(entries)}</dl>'


def code(text: str) -> str:
    return f'<pre tabindex="0"><code>{escape(text)}</code></pre>'


def bullets(lines: Sequence[str]) -> str:
    """A list of texts."""
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"


def now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
