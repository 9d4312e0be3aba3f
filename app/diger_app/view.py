"""What a person looks at, as a link says it: all in the query string, nothing on a server.

A query string is written by anybody. Every value is checked here for form and bounded in size; what
is not understood is left at its default, with a sentence for the person. Whether a dataset, bundle
or item exists is for the library to say.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any
from urllib.parse import parse_qsl, quote

MAX_HISTORY = 100  # events in a history; models here read 50
MAX_K = 20
MIN_BEAM, MAX_BEAM = 20, 100
MAX_TREE_BEAM, DEFAULT_TREE_BEAM = 12, 4
MAX_TEXT = 600  # characters of a new item's title or description
MAX_QUERY = 30_000

TABS = ("recommend", "think", "explore", "new", "share", "about")
DECODINGS = ("beam", "hybrid", "telling", "free")
SIDES = ("left", "right", "third")
EXPLORE_VIEWS = ("map", "item", "browse")


@dataclass(frozen=True)
class View:
    """One view; the names are those of the query string.

    `left`, `right` and `third` are the bundles of the columns, `history` and `target` item ids,
    `prefix` the SID prefix that is browsed, `side` the column shown where only one is.
    """

    tab: str = "recommend"
    dataset: str = ""
    left: str = ""
    right: str = ""
    third: str = ""
    history: tuple[str, ...] = ()
    target: str = ""
    k: int = 10
    beam: int = 50
    leave_out_seen: bool = True
    decoding: str = "beam"
    side: str = "left"
    tree_beam: int = DEFAULT_TREE_BEAM
    explore: str = "map"
    item: str = ""
    prefix: tuple[int, ...] = ()
    title: str = ""
    description: str = ""
    only_new: bool = False

    @property
    def columns(self) -> dict[str, str]:
        """The bundle of each column that has one, by the column's name."""
        return {side: name for side in SIDES if (name := getattr(self, side))}


def to_query(view: View) -> str:
    """The query string (without `?`) of a view; defaults are left out."""
    parts = ((field.name, written(view, field.name)) for field in fields(View))
    return "&".join(f"{name}={value}" for name, value in parts if value)


def written(view: View, name: str) -> str:
    """One value of a view as the query string has it; empty for its default."""
    value = getattr(view, name)
    default = next(field.default for field in fields(View) if field.name == name)
    return "" if value == default else _written(name, value)


def from_query(query: str) -> tuple[View, list[str]]:
    """The view of a query string, and a sentence for each part that was not understood.

    >>> from_query("?dataset=demo&k=5&history=a,b")[0].history
    ('a', 'b')
    """
    notes: list[str] = []
    if len(query) > MAX_QUERY:
        return View(), ["The link is too long to be one of ours; this is the start page."]
    try:
        pairs = parse_qsl(query.removeprefix("?"), keep_blank_values=True, max_num_fields=60)
    except ValueError:
        return View(), ["The link has too many parts to be one of ours; this is the start page."]
    values: dict[str, Any] = {}
    for name, text in pairs:
        read = _READERS.get(name)
        if read is None:
            continue
        try:
            values[name] = read(text)
        except ValueError as error:
            notes.append(f"The link's {name.replace('_', ' ')} {error}; the default is used.")
    return View(**values), notes


def split_ids(text: str) -> tuple[str, ...]:
    """Item ids from a comma-separated list in which `%2C` stands for a comma within an id."""
    return tuple(_decoded(part) for part in text.split(",") if part)


def join_ids(ids: tuple[str, ...] | list[str]) -> str:
    """The inverse of `split_ids`."""
    return ",".join(one.replace("%", "%25").replace(",", "%2C") for one in ids)


def _decoded(part: str) -> str:
    return part.replace("%2C", ",").replace("%2c", ",").replace("%25", "%")


def _written(name: str, value: Any) -> str:
    if name == "history":
        value = join_ids(value)
    elif name == "prefix":
        value = "-".join(map(str, value))
    elif isinstance(value, bool):
        value = int(value)
    return quote(str(value), safe="-_.~,")


def _word(limit: int) -> Callable[[str], str]:
    def read(text: str) -> str:
        if len(text) > limit:
            raise ValueError(f"is longer than {limit} characters")
        return text

    return read


def _between(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit()) or not low <= int(text[:9]) <= high:
            raise ValueError(f"must be a number from {low} to {high}")
        return int(text)

    return read


def _one_of(choices: tuple[str, ...]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return text

    return read


def _flag(text: str) -> bool:
    if text not in ("0", "1"):
        raise ValueError("must be 0 or 1")
    return text == "1"


def _history(text: str) -> tuple[str, ...]:
    ids = split_ids(text)
    if len(ids) > MAX_HISTORY:
        raise ValueError(f"has {len(ids)} items, more than {MAX_HISTORY}")
    return ids


def _prefix(text: str) -> tuple[int, ...]:
    parts = text.split("-") if text else []
    if len(parts) > 16 or not all(p.isascii() and p.isdigit() and len(p) < 7 for p in parts):
        raise ValueError("must be codes joined by hyphens, as in 12-200")
    return tuple(int(part) for part in parts)


_READERS: dict[str, Callable[[str], Any]] = {
    "tab": _one_of(TABS),
    "dataset": _word(120),
    "left": _word(200),
    "right": _word(200),
    "third": _word(200),
    "history": _history,
    "target": _word(300),
    "k": _between(1, MAX_K),
    "beam": _between(MIN_BEAM, MAX_BEAM),
    "leave_out_seen": _flag,
    "decoding": _one_of(DECODINGS),
    "side": _one_of(SIDES),
    "tree_beam": _between(1, MAX_TREE_BEAM),
    "explore": _one_of(EXPLORE_VIEWS),
    "item": _word(300),
    "prefix": _prefix,
    "title": _word(MAX_TEXT),
    "description": _word(MAX_TEXT),
    "only_new": _flag,
}
