"""The report: one self-contained HTML file, charts as inline SVG, ready to print.

A brief of two pages, and behind it, on request, an appendix of whole pages of the dashboard.

Nothing in it is fetched or run: no scripts, no fonts, no links but those a reader may follow. Every
text is escaped. It says when it was made and from which bundles, by their hashes.
"""

from __future__ import annotations

import hashlib
import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date

import pandas as pd

from dashboard.glossary import TERMS
from dashboard.panel import Figure, Lens, Page, Panel, build, panels_of, sentence
from dashboard.panels import cost, matrix, verdict
from diger.charts.export import to_svg
from diger.charts.theme import LIGHT
from diger.errors import DigerError

MOST_ROWS = 60
WIDE, NARROW = 860, 420

_STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { font: 15px/1.5 "Source Sans 3", "Helvetica Neue", Helvetica, Arial, sans-serif;
  color: #1d2330; background: #fff; max-width: 60rem; margin: 0 auto; padding: 2rem 1.5rem; }
h1 { font-size: 2.1rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1rem; font-weight: 500; color: #545c6b; margin: 3rem 0 0; padding-top: .6rem;
  border-top: 2px solid #1d2330; }
h3 { font-size: 1.35rem; line-height: 1.3; margin: 1.2rem 0 .6rem; }
h4 { font-size: 1rem; margin: .6rem 0 .2rem; }
.faint, .note { color: #545c6b; } .note { font-size: .88rem; margin: .4rem 0; }
.missing { border-left: 3px solid #8b93a1; padding-left: .8rem; color: #545c6b; }
figure { margin: 0; } svg { max-width: 100%; height: auto; }
.row { display: flex; flex-wrap: wrap; gap: 1rem; } .row figure { flex: 1 1 20rem; min-width: 0; }
table { border-collapse: collapse; font-size: .8rem; width: 100%; }
th, td { text-align: left; padding: .25rem .5rem; border-bottom: 1px solid #e4e7ec;
  vertical-align: top; }
td.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.scroll { overflow-x: auto; } code { font-size: .8rem; overflow-wrap: anywhere; }
dt { font-weight: 600; margin-top: .6rem; } dd { margin: 0; }
dd.more { font-size: .88rem; color: #545c6b; }
section.panel, figure, tr { break-inside: avoid; }
h2, h3, h4, thead { break-after: avoid; } .note { break-before: avoid; }
@media print { html { font-size: 11px; } dl { margin: 0; } dt { margin-top: .4rem; }
  h3 { margin: .5rem 0 .2rem; }
  body { max-width: none; padding: 0; font: 11px/1.35 sans-serif; } h2 { break-before: page; }
  h2.brief { break-before: auto; margin-top: .4rem; }
  .brief + .panels svg { max-height: 38mm; }
  /* Chromium breaks a row of flex boxes anywhere. */
  .row { display: block; } .row figure.narrow { display: inline-block; width: 48%; }
  .scroll { overflow: visible; } table { font-size: 8.5px; } }
"""
# A question and its first panel share a page; what a card says in full is for paper and screen.
_A4 = "@page { size: A4; margin: 12mm 16mm; }"
_SLIDES = """
@page { size: 338.67mm 190.5mm; margin: 12mm; }
@media print { body { font-size: 15px; } section.panel + section.panel { break-before: page; }
  h2, h2.brief { break-before: page; border: 0; margin: 0; }
  h2:first-of-type { break-before: avoid; margin-top: 1rem; }
  h2 { font-size: 16px; } h3 { font-size: 28px; } h4 { font-size: 20px; }
  dl { font-size: 24px; line-height: 1.25; } dd.more { display: none; } .note { font-size: 15px; }
  svg, .brief + .panels svg { width: 100%; max-height: 118mm; } table { font-size: 11px; } }
@media screen { body { max-width: 76rem; } }
"""


def report(
    title: str,
    parts: Mapping[str, list[Panel]],
    lens: Lens,
    *,
    story: Mapping[str, list[Panel]] | None = None,
    slides: bool = False,
    progress: Callable[[float], object] = lambda share: None,
) -> str:
    """The HTML of a report.

    Args:
        title: on top.
        parts: panels of the appendix by the question they answer, in order; none, no appendix.
        story: panels of the brief, by the question.
        lens: what they were made of.
        slides: lay out for 16:9 instead of A4.
        progress: told the share of figures that are drawn.
    """
    chapters = [(question, listed, " class='brief'") for question, listed in (story or {}).items()]
    chapters += [(question, listed, "") for question, listed in parts.items()]
    panels = [panel for _, listed, _ in chapters for panel in listed]
    total, done = max(1, sum(len(p.figures) for p in panels)), 0
    body: list[str] = []
    for question, listed, kind in chapters:
        body.append(f"<h2{kind}>{_escaped(question)}</h2><div class='panels'>")
        for panel in listed:
            body.append(_panel(panel))
            done += len(panel.figures)
            progress(done / total)
        body.append("</div>\n")
    layout = _SLIDES if slides else _A4
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        # Whatever a text may hide, the file can load and run nothing.
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'; img-src data:\">"
        f"<title>{_escaped(title)}</title><style>{_STYLE}{layout}</style></head><body>\n"
        f"<h1>{_escaped(title)}</h1>\n{_about(lens)}\n{''.join(body)}\n"
        f"{_words(panels) + _bundles(lens) if parts else _digest(lens)}\n</body></html>\n"
    )


def brief(lens: Lens) -> dict[str, list[Panel]]:
    """The brief: the decision and its lift, then what the ingredients bring, first charts only."""
    chapters = {
        verdict.PAGE.question: (verdict.decision, verdict.main_metric),
        matrix.PAGE.question: (matrix.training, matrix.content, matrix.controls),
        cost.PAGE.question: (cost.seconds,),
    }
    made = {}
    for question, builders in chapters.items():
        panels = [build(builder, lens) for builder in builders]
        made[question] = [
            replace(
                panel,
                figures=tuple(
                    # Flat, as for a slide: two pages have no room for more.
                    replace(f, chart=f.slide if f.slide is not None else f.chart, wide=True)
                    for f in panel.figures[:1]
                ),
                notes=panel.notes[:1],
                blank=(),
            )
            for panel in panels
            if not panel.missing
        ]
    return {question: panels for question, panels in made.items() if panels}


def sections(
    lens: Lens, pages: Sequence[Page], progress: Callable[[float], object] = lambda share: None
) -> dict[str, list[Panel]]:
    """Panels by question; pages that show one dataset at a time come once for each."""
    wanted = []
    for page in pages:
        if "dataset" not in page.controls:
            wanted.append((page.question, page, lens))
            continue
        for dataset in lens.datasets:
            view = replace(lens.view, dataset=dataset)
            question = f"{page.question} {lens.title(dataset)}"
            wanted.append((question, page, Lens(lens.library, view)))
    parts: dict[str, list[Panel]] = {}
    for i, (question, page, one) in enumerate(wanted):
        parts[question] = list(panels_of(page, one))
        progress((i + 1) / len(wanted))
    return parts


def _about(lens: Lens) -> str:
    real = [lens.title(d) for d in lens.datasets]
    legend = " ".join(f"{words}." for words in lens.legend(lens.runs))
    return (
        f'<p class="faint">DIGER Studio, {date.today():%d %B %Y}. {len(lens.runs)} runs on '
        f"{_escaped(', '.join(real))}. Test split, metric {_escaped(lens.view.metric)} where "
        f"one is shown. {_escaped(legend)}</p>"
    )


def _panel(panel: Panel) -> str:
    finding = f"<h3>{_escaped(panel.finding)}</h3>" if panel.finding else ""
    if panel.missing:
        why = f'<p class="missing">{_escaped(sentence(panel.missing))}.</p>'
        return f'<section class="panel">{finding}{why}</section>\n'
    narrow = sum(not figure.wide for figure in panel.figures) > 1
    figures = "".join(_figure(figure, narrow) for figure in panel.figures)
    notes = [*(f"Blank: {reason}" for reason in panel.blank), *panel.notes]
    return (
        f'<section class="panel" id="{_escaped(panel.key)}">{finding}'
        f'<div class="row">{figures}</div>'
        + "".join(f'<p class="note">{_escaped(note)}</p>' for note in notes)
        + "</section>\n"
    )


def _figure(figure: Figure, narrow: bool) -> str:
    head = f"<h4>{_escaped(figure.title)}</h4>" if figure.title else ""
    if figure.card:
        lines = (
            f"<dt>{_escaped(head)}</dt>"
            f"<dd>{_escaped(sentence(short))}</dd>"
            + "".join(f'<dd class="more">{_escaped(sentence(part))}</dd>' for part in parts)
            for head, short, parts in figure.card
        )
        return f"<figure><dl>{''.join(lines)}</dl></figure>"
    if figure.chart is not None:
        try:
            small = narrow and not figure.wide
            drawn = to_svg(figure.chart, LIGHT, NARROW if small else WIDE)
            return f"<figure{' class=narrow' if small else ''}>{head}{drawn}</figure>"
        except DigerError as error:
            return f'<figure>{head}<p class="missing">{_escaped(str(error))}</p></figure>'
    return f"<figure>{head}{_html_table(figure)}</figure>" if figure.table is not None else ""


def _html_table(figure: Figure) -> str:
    table = figure.table
    assert table is not None
    wanted = [c for c in figure.paper or table.columns if c in table.columns]
    shown = table.loc[:, [c for c in wanted if not _is_blank(table[c])]]
    rows = []
    for values in shown.head(MOST_ROWS).itertuples(index=False, name=None):
        cells = "".join(
            _cell(value, figure.formats.get(str(column), "%.4g"))
            for column, value in zip(shown.columns, values, strict=True)
        )
        rows.append(f"<tr>{cells}</tr>")
    head = "".join(f"<th>{_escaped(str(c))}</th>" for c in shown.columns)
    more = len(shown) - MOST_ROWS
    tail = f'<p class="note">and {more} rows more</p>' if more > 0 else ""
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>{tail}"
    )


def _cell(value: object, form: str) -> str:
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return "<td></td>"
    if isinstance(value, bool):
        return f"<td>{'yes' if value else 'no'}</td>"
    if isinstance(value, int | float):
        return f'<td class="n">{_escaped(form % value)}</td>'
    return f"<td>{_escaped(str(value))}</td>"


def _is_blank(column: pd.Series) -> bool:
    return bool((column.isna() | (column.astype(str) == "")).all())


def _words(panels: list[Panel]) -> str:
    terms = [t for t in dict.fromkeys(t for p in panels for t in p.terms) if t in TERMS]
    if not terms:
        return ""
    listed = "".join(f"<dt>{_escaped(t)}</dt><dd>{_escaped(TERMS[t])}</dd>" for t in terms)
    return f"<h2>What the words mean</h2><dl>{listed}</dl>"


def _bundles(lens: Lens) -> str:
    rows = "".join(
        f"<tr><td>{_escaped(row.bundle)}</td><td><code>{row.hash}</code></td></tr>"
        for row in lens.runs.itertuples()
    )
    return (
        "<h2>What it was made from</h2><p class='note'>Bundles by the SHA-256 of their manifests, "
        "which covers every file in them.</p>"
        f'<div class="scroll"><table><tbody>{rows}</tbody></table></div>'
    )


def _digest(lens: Lens) -> str:
    """In place of the list of bundles: how many, and one digest of all their hashes."""
    hashes = sorted(lens.runs["hash"])
    digest = hashlib.sha256("".join(hashes).encode()).hexdigest()[:16]
    return (
        f'<p class="note">Made from {len(hashes)} bundles; SHA-256 of their sorted hashes '
        f"<code>{digest}</code>. The report with its appendix lists them.</p>"
    )


def _escaped(text: str) -> str:
    return html.escape(" ".join(str(text).split()))
