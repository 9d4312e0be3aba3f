"""The strip of the first screen: an item's text, its codes in words, the next name being written.

Everything stands there from the first; what moves is only how it comes in, by the times (seconds)
given here, while the script has the strip marked as playing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from diger.charts.methods import method_colour
from diger.explain.spelling import Written
from diger_app.render.text import arm, chip, chips, esc, item_button, percent
from diger_app.service import Recommended, words_for
from diger_app.shelf import Loaded, Shelf

LENGTH = 20.0  # seconds
_TEXT, _CODES, _WRITING, _END = 0.3, 3.5, 9.5, 18.0


@dataclass(frozen=True)
class Telling:
    """One model's part: its first recommendation and how that is spelt."""

    loaded: Loaded
    first: Recommended
    written: Sequence[Written]


def strip(shelf: Shelf, row: int, history: int, tellings: Sequence[Telling]) -> str:
    """What a recommender of `tellings` makes of item `row`, the last of a history of `history`."""
    if not tellings:
        return ""
    told = _text(shelf, row, tellings) + _codes(shelf, row, tellings)
    return (
        f'<div class="strip" data-length="{LENGTH:g}"><div class="strip-parts">'
        f"{told}{_writing(shelf, history, tellings)}"
        '</div><button type="button" class="strip-play">Play it again</button></div>'
    )


def _at(seconds: float) -> str:
    return f'style="--at:{seconds:.2f}s"'


def _text(shelf: Shelf, row: int, tellings: Sequence[Telling]) -> str:
    record = shelf.items.iloc[row]
    said = record.get("description")
    maker = record.get("brand")
    body = f'<p class="strip-said" dir="auto">{esc(said, 200)}</p>' if isinstance(said, str) else ""
    by = f'<p class="muted" dir="auto">{esc(maker, 80)}</p>' if isinstance(maker, str) else ""
    if not body and not by:
        body = '<p class="muted">Its text stays with who has the dataset.</p>'
    title = item_button(shelf.ids[row], shelf.title(row))
    known = {s.name for one in tellings for s in one.loaded.model.bundle.about.content.sources}
    what = "its text and who uses it" if "behaviour" in known else "text"
    return (
        f'<section class="strip-part come" {_at(_TEXT)}><h3>1 <span>An item is {what}</span></h3>'
        f'<p class="strip-title">{title}</p>{by}{body}</section>'
    )


def _codes(shelf: Shelf, row: int, tellings: Sequence[Telling]) -> str:
    """The codes of the item, one line a prefix; where the models agree on all, once."""
    named: list[tuple[Sequence[Loaded], Loaded]] = []
    loaded = [one.loaded for one in tellings]
    if len(loaded) > 1 and all((m.sids[row] == loaded[0].sids[row]).all() for m in loaded[1:]):
        named = [(loaded, loaded[0])]
    else:
        named = [([one], one) for one in loaded]
    blocks = []
    for who, model in named:
        lines = []
        codes, said = model.codes[row].tolist(), ""
        for level in range(len(codes)):
            prefix = codes[: level + 1]
            under = int((model.codes[:, : level + 1] == model.codes[row, : level + 1]).all(1).sum())
            words = ", ".join(words_for(shelf, model, prefix, 2))
            again, said = words == said, words
            count = "this one alone" if under == 1 else f"{under} items"
            lines.append(
                f'<li class="come" {_at(_CODES + 1.5 * level)}>'
                f'<span class="prefix">{"".join(chip(i, c) for i, c in enumerate(prefix))}</span>'
                f'<span class="words" dir="auto">{"" if again else esc(words, 60)} '
                f"<small>{count}</small></span></li>"
            )
        marks = "".join(_mark(one) for one in who)
        both = "alike for both" if len(who) == 2 else "alike for all" if len(who) > 2 else ""
        head = f'<p class="strip-who">{marks}<span class="muted">{both}</span></p>'
        blocks.append(f'<div class="ladder">{head}<ol>{"".join(lines)}</ol></div>')
    return (
        f'<section class="strip-part come" {_at(_CODES - 0.5)}><h3>2 <span>That becomes a name: '
        "a few codes, coarse first</span></h3>"
        f'<div class="ladders">{"".join(blocks)}</div></section>'
    )


def _mark(loaded: Loaded) -> str:
    return f'<span class="strip-arm">{arm(loaded.method)}</span>'


def _writing(shelf: Shelf, history: int, tellings: Sequence[Telling]) -> str:
    levels = max(len(one.written) for one in tellings)
    pace = (_END - _WRITING) / (levels + 0.5)
    rows = "".join(_written(shelf, one, pace) for one in tellings)
    after = "this one" if history == 1 else f"these {history}"
    return (
        f'<section class="strip-part strip-writes come" {_at(_WRITING - 0.6)}><h3>3 <span>After '
        f"{after}, each model writes the next name, code by code; the likeliest whole name comes "
        f"first</span></h3>{rows}</section>"
    )


def _written(shelf: Shelf, one: Telling, pace: float) -> str:
    slots = []
    for level, step in enumerate(one.written[:-1]):  # the suffix is shown with the title
        words = ", ".join(words_for(shelf, one.loaded, step.prefix, 2))
        rest = "".join(
            f"<span>{chip(level, code)}{percent(math.exp(log_p))}</span>"
            for code, log_p in step.others
        )
        slots.append(
            f'<li class="slot come" {_at(_WRITING + pace * level)}><div class="slot-head">'
            f"{chip(level, step.prefix[-1])}<b>{percent(math.exp(step.step))}</b></div>"
            f'<span class="words" dir="auto" title="{esc(words)}">{esc(words, 40) or "&nbsp;"}'
            f'</span><span class="slot-rest" title="the next likely codes">{rest}</span></li>'
        )
    assert one.first.row is not None
    title = item_button(shelf.ids[one.first.row], shelf.title(one.first.row))
    end = (
        f'<li class="slot slot-end come" {_at(_END)}><div class="slot-title">{title}</div>'
        f"{chips(one.first.sid)}"
        f'<span class="muted">{percent(one.first.probability)} in all</span></li>'
    )
    return (
        f'<div class="writing" style="--method:{method_colour(one.loaded.method)}">'
        f'{_mark(one.loaded)}<ol class="slots">{"".join(slots)}{end}</ol></div>'
    )
