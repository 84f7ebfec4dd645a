"""One HTML file that needs no other: title, contents, sections, and the few kinds of markup in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from .svg import HUES


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it; `lacks` if there is nothing to show yet."""

    title: str
    body: str
    lacks: bool = False
    parts: tuple[str, ...] = ()  # further headings that the contents list

    @property
    def anchor(self) -> str:
        return anchor(self.title)


def render_page(title: str, lead: str, sections: Sequence[Section], footer: str) -> str:
    """The whole file."""
    contents = "".join(_entry(section) for section in sections)
    bodies = "".join(
        f'<section><h2 id="{section.anchor}">{escape(section.title)}</h2>{section.body}</section>'
        for section in sections
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="data:,"><title>{escape(title)}</title>'
        f'<style>{_beside("page.css")}{_hues()}</style></head>\n<body><div class="page">'
        f'<nav aria-label="Contents"><b>Contents</b><ol>{contents}</ol></nav>'
        f"<main><h1>{escape(title)}</h1>{lead}{bodies}<footer>{footer}</footer></main></div>"
        f"<script>\n{_beside('page.js')}</script></body></html>\n"
    )


def anchor(title: str) -> str:
    """A heading's anchor in links."""
    return "".join(c if c.isalnum() else "-" for c in title.lower()).strip("-")


def heading(title: str, listed: bool = False) -> str:
    """A heading below the section's own; one that is `listed` in the contents needs a unique name."""
    name = f' id="{anchor(title)}"' if listed else ""
    return f"<h3{name}>{escape(title)}</h3>"


def paragraph(text: str, kind: str = "") -> str:
    """Plain text."""
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def missing(text: str, command: str = "", kind: str = "") -> str:
    """What is missing, and the command that makes it."""
    line = f"<pre>{escape(command)}</pre>" if command else ""
    return f'<div class="missing {kind}"><p>{escape(text)}</p>{line}</div>'


def table(head: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    """Rows of markup; the columns `numbers` are aligned to the right."""
    kinds = [' class="n"' if i in numbers else "" for i in range(len(head))]
    top = "".join(f"<th{kind}>{escape(name)}</th>" for kind, name in zip(kinds, head, strict=True))
    lines = (
        "<tr>" + "".join(f"<td{kind}>{cell}</td>" for kind, cell in zip(kinds, row, strict=True)) + "</tr>"
        for row in rows
    )
    return (
        f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'
    )


def figure(markup: str, name: str, note: str = "", kind: str = "", note_kind: str = "") -> str:
    """A drawing with its name above; `note_kind` is the class of the line that the note is about."""
    of = f' class="{note_kind}"' if note_kind else ""
    told = f" <span{of}>{escape(note)}</span>" if note else ""
    open_tag = f'<figure class="{kind}">' if kind else "<figure>"
    return f"{open_tag}<figcaption><b>{escape(name)}</b>{told}</figcaption>{markup}</figure>"


def legend(names: Sequence[tuple[str, str]]) -> str:
    """(name, the class of its colour) of each line."""
    items = "".join(f'<span><i class="{kind}"></i>{escape(name)}</span>' for name, kind in names)
    return f'<div class="legend">{items}</div>'


def folded(summary: str, body: str) -> str:
    """What few readers want to see, folded away."""
    return f"<details><summary>{escape(summary)}</summary>{body}</details>"


def code(text: str) -> str:
    """A command or a file's text, as it is."""
    return f"<pre>{escape(text)}</pre>"


def shell(lines: Sequence[str]) -> str:
    """Commands, wrapped only between words."""
    shown = (" ".join(f"<span>{escape(word)}</span>" for word in line.split(" ")) for line in lines)
    return '<pre class="shell">' + "".join(f"<div>{line}</div>" for line in shown) + "</pre>"


def tile(value: str, name: str) -> str:
    """One number that matters."""
    return f'<div class="tile"><b>{escape(value)}</b><span>{escape(name)}</span></div>'


def _beside(name: str) -> str:
    """The text of one of the page's own files, in this folder."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _hues() -> str:
    """Colours for codes, all of about the same lightness."""
    return "\n".join(
        f"svg .h{i} {{ fill: hsl({round(360 * i / HUES)} var(--code-chroma) "
        f"calc(var(--code-light) + {(i % 3 - 1) * 9}%)); }}"
        for i in range(HUES)
    )


def _entry(section: Section) -> str:
    kind = ' class="lacks" title="nothing to show yet"' if section.lacks else ""
    parts = "".join(f'<li><a href="#{anchor(part)}">{escape(part)}</a></li>' for part in section.parts)
    below = f"<ol>{parts}</ol>" if parts else ""
    return f'<li><a href="#{section.anchor}"{kind}>{escape(section.title)}</a>{below}</li>'
