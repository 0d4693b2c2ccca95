"""A document as one HTML file that needs nothing else: styles, script, pictures and data are in it, and it asks no network.

What can be played with is drawn by `page/page.js` with plotly.js (basic bundle, MIT licence), both of which are in the file.
"""

import base64
import html
import io
import json
import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from PIL import Image

from bench.presentation.chart import Chart, Chooser, Records
from bench.presentation.chart_data import chart_data, records_data, slider_data
from bench.presentation.document import Block, Bullets, Cell, Document, Figure, Heading, Inline, Paragraph, Span, Table

TAGS = {"strong": "strong", "emphasis": "em", "underlined": "u", "code": "code"}
MARKS = {"best": "strong", "tie": "u", "heed": "strong"}
"""The tag around a cell of a mark, which is its class, too."""


def render(document: Document, folder: Path) -> str:
    """The whole page.

    Args:
        document: its blocks; the first is the heading of level 1.
        folder: where the pictures of its figures lie.
    """
    page = _Page(folder)
    blocks = list(document)
    body = [page.block(block) for block in blocks]
    links = [(level, f'<a href="#{anchor}">{escaped(text)}</a>') for level, text, anchor in page.headings if level in (2, 3)]
    if len(links) > 1:
        contents = "".join(f"<li{' class=part' * (level == 2)}>{link}</li>" for level, link in links)
        body.insert(1, f'<nav aria-label="Contents"><ul>{contents}</ul></nav>')
    own = files("bench.presentation") / "page"
    charts = any(item["kind"] == "chart" or item["kind"] == "chooser" for item in page.items)
    return Template((own / "page.html").read_text(encoding="utf-8")).substitute(
        title=escaped(next((text for _, text, _ in page.headings), "Report")),
        style=(own / "page.css").read_text(encoding="utf-8"),
        body="\n".join(body),
        data=json.dumps(page.items, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c"),
        library=(own / "plotly-basic.min.js").read_text(encoding="utf-8") if charts else "",
        script=(own / "page.js").read_text(encoding="utf-8"),
    )


def escaped(text: str) -> str:
    """Text that shows as it is; what no reader can see becomes a replacement character."""
    return html.escape("".join(c if c.isprintable() else "\ufffd" for c in re.sub(r"\s+", " ", text)))


def inline(text: Inline) -> str:
    """Text of a paragraph."""
    return "".join(escaped(p) if isinstance(p, str) else _span(p) for p in ([text] if isinstance(text, str) else text))


def _span(span: Span) -> str:
    if span.look == "link":
        return f'<a href="{escaped(span.target)}">{escaped(span.text)}</a>'
    return f"<{TAGS[span.look]}>{escaped(span.text)}</{TAGS[span.look]}>"


def anchor_of(text: str) -> str:
    """The id of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")


def picture(path: Path) -> str:
    """A picture as a data URL: without loss, smaller than the PNG that it was.

    Raises:
        OSError: no such picture.
    """
    buffer = io.BytesIO()
    with Image.open(path) as image:
        image.save(buffer, "WEBP", lossless=True)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


class _Page:
    """Blocks as HTML; the data of what can be played with is gathered in `items`, which elements name by number."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.items: list[Mapping[str, Any]] = []
        self.headings: list[tuple[int, str, str]] = []

    def block(self, block: Block) -> str:
        match block:
            case Heading():
                return self._heading(block)
            case Paragraph():
                return f"<p>{inline(block.text)}</p>"
            case Bullets():
                return _bullets(block)
            case Table():
                return _table(block)
            case Figure():
                return self._figure(block)
            case Chooser():
                return self._chooser(block)
            case Records():
                return self._records(block)

    def _item(self, kind: str, data: Mapping[str, Any]) -> str:
        self.items.append({"kind": kind, **data})
        return f'data-item="{len(self.items) - 1}"'

    def _heading(self, heading: Heading) -> str:
        anchor, taken = anchor_of(heading.text), {a for *_, a in self.headings}
        anchor = next(a for n in range(len(taken) + 1) if (a := f"{anchor}-{n}" if n else anchor) not in taken)
        self.headings.append((heading.level, heading.text, anchor))
        return f'<h{heading.level} id="{anchor}">{escaped(heading.text)}</h{heading.level}>'

    def _figure(self, figure: Figure) -> str:
        title = escaped(figure.title)
        if figure.file is None:
            return f"<p><strong>{title}</strong>: no figure, because {inline(figure.caption)}</p>"
        text = figure.chart.caption if figure.chart is not None and figure.chart.caption else figure.caption
        caption = f"<figcaption><strong>{title}.</strong> {inline(text)}</figcaption>"
        if figure.chart is not None:
            return f"<figure>{self._chart(figure.chart, title)}{caption}</figure>"
        try:
            image = f'<img alt="{title}" src="{picture(self.folder / figure.file)}">'
        except OSError:  # not there any more, or damaged
            return f"<figure>{caption}</figure>"
        return f'<figure><button type="button" class="zoom" aria-label="Enlarge: {title}">{image}</button>{caption}</figure>'

    def _chart(self, chart: Chart, title: str) -> str:
        item = self._item("chart", chart_data(chart))
        panels = "".join(f'<div class="panel" data-panel="{i}"></div>' for i in range(len(chart.panels)))
        return f'<div class="chart" role="group" aria-label="{title}, chart" {item}>{panels}</div>'

    def _chooser(self, chooser: Chooser) -> str:
        sliders = [slider_data(s, inline) for s in chooser.sliders]
        item = self._item("chooser", {"sliders": sliders, **chart_data(chooser.chart), "panels": []})
        radio = f'<input type="radio" name="kind{len(self.items)}"'
        kinds = "".join(
            f'<label>{radio} value="{i}"{" checked" * (i == 0)}> {escaped(s.name)}</label>'
            for i, s in enumerate(chooser.sliders)
        )
        first = chooser.sliders[0]
        last, start = len(first.choices) - 1, first.choices[first.start]
        notes = "".join(f"<p>{inline(note)}</p>" for note in chooser.notes)
        asked = f"<fieldset><legend>Budget for one image</legend>{kinds}</fieldset>"
        place = f'min="0" max="{last}" value="{first.start}" aria-valuetext="{escaped(start.told)}"'
        moved = f'<label>at most <output>{escaped(start.told)}</output><input type="range" {place}></label>'
        told = f'<p class="use">{inline(start.text)}</p><ul>{_items(start.remarks)}</ul>'
        text = f'{asked}<p class="range">{moved}</p><div aria-live="polite">{told}</div>{notes}'
        chart = '<div class="chart" role="group" aria-label="Quality against the budget, chart"><div class="panel"></div></div>'
        return f'<div class="chooser" {item}><div class="advice">{text}</div>{chart}</div>'

    def _records(self, records: Records) -> str:
        item, heading = self._item("records", records_data(records)), self._heading(Heading(2, "All records"))
        search = '<label>Filter <input type="search" placeholder="sampler, family, .."></label> <span role="status"></span>'
        note = f"<p>{escaped(records.note)}</p>" if records.note else ""
        take = " ".join(f'<button type="button" data-format="{kind}">{kind.upper()}</button>' for kind in ("csv", "json"))
        table = f'<div class="records" {item}><p class="tools">{search} {take}</p>{note}{_table(records.shown)}</div>'
        return f'<section class="all">{heading}{table}</section>'


def _items(items: Any) -> str:
    return "".join(f"<li>{inline(item)}</li>" for item in items)


def _bullets(bullets: Bullets) -> str:
    return f"<ul>{_items(bullets.items)}</ul>"


def _cell(cell: Cell, right: bool) -> str:
    text = escaped(cell.text)
    if cell.mark:
        text = f'<{MARKS[cell.mark]} class="{cell.mark}">{text}</{MARKS[cell.mark]}>'
    note = f" {escaped(cell.note)}" if cell.note else ""
    number = isinstance(cell.value, int | float) and not isinstance(cell.value, bool)
    value = f' data-value="{cell.value}"' if number else ""
    return f"<td{' class=right' * right}{value}>{text}{note}</td>"


def _table(table: Table) -> str:
    titles = enumerate(table.columns)
    head = "".join(
        f"<th scope=col{' class=right' * (i in table.right)}>{escaped(c)}</th>" if c else "<td></td>" for i, c in titles
    )
    lines = ("".join(_cell(c, i in table.right) for i, c in enumerate(row)) for row in table.rows)
    rows = "\n".join(f"<tr>{line}</tr>" for line in lines)
    caption = f"<caption>{escaped(table.caption)}</caption>" if table.caption else ""
    return (
        f'<div class="wide" tabindex="0"><table>{caption}<thead><tr>{head}</tr></thead><tbody>\n{rows}\n</tbody></table></div>'
    )
