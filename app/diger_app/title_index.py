"""Finding items by what a person types, quickly also among 100 thousand titles.

Titles are folded (case, accents and punctuation aside) and joined into one string, in which a
search is a scan at memory speed; no title ever travels to the browser unasked. After titles with
the words typed come items whose makers and kinds have them; and where nothing has, the words are
spelt as the nearest ones that some item has, or titles that share most letter triples are offered.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher, get_close_matches
from functools import cached_property

import numpy as np

_NOT_WORD = re.compile(r"[\W_]+", re.UNICODE)
_YEAR = re.compile(r"\s+\d{4}$")
_BUCKETS = 1 << 16
_FEW = 5000  # rows up to which reading titles one by one beats a scan of all
MAX_TYPED = 120  # characters of a query that are looked at


def fold(text: str) -> str:
    """Lower case, no accents, words separated by single spaces.

    >>> fold("  Amélie (2001)! ")
    'amelie 2001'
    """
    plain = unicodedata.normalize("NFKD", text)
    plain = "".join(c for c in plain if not unicodedata.combining(c)).casefold()
    return _NOT_WORD.sub(" ", plain).strip()


class TitleIndex:
    """An index over (items,) ids, titles (None where unknown) and popularity.

    `more` is what else items can be found by: who made them, and their kinds.
    """

    def __init__(
        self,
        ids: Sequence[str],
        titles: Sequence[str | None],
        popularity: np.ndarray,
        more: Sequence[str] = (),
    ) -> None:
        self._ids = {str(item): row for row, item in enumerate(ids)}
        self._popularity = np.asarray(popularity)
        self._folded = [
            fold(title if title else str(item)) for item, title in zip(ids, titles, strict=True)
        ]
        self._text, self._starts = _joined(self._folded)
        self._whole = self._folded
        if more:
            told = zip(self._folded, more, strict=True)
            self._whole = [f"{title} {fold(words)}" for title, words in told]

    def find(self, typed: str, limit: int = 8) -> list[int]:
        """Item rows for what was typed, best first.

        An item's id comes first (as it was typed, blanks and all, before the same without blanks
        around it), then titles that begin with the text, then those that have all
        its words (or beginnings of words), then items whose makers or kinds have the rest of them,
        then titles that have it anywhere; failing all, close ones. The popular before the others.
        With nothing typed: the most popular items.
        """
        named = self._named(typed)
        typed = typed.strip()[:MAX_TYPED]
        query = fold(typed)
        if named is None and not query and not typed:
            return [int(row) for row in self._by_popularity(np.arange(len(self._folded)))[:limit]]
        rows: list[int] = [] if named is None else [named]
        for group in self._groups(query) if query else ():
            rows = list(dict.fromkeys(rows + group))
            if len(rows) >= limit:
                break
        if not rows and query:
            spelt = self._spelt(query)
            rows = self.find(spelt, limit) if spelt != query else self.close(query, limit)
        return rows[:limit]

    def offers(self, line: str, limit: int = 3) -> list[int]:
        """Rows that a line which names none for certain may mean: the best kind of match alone, so
        that "2001" offers the title that begins with it, and not what else is of that year."""
        query = fold(line[:MAX_TYPED])
        for text in dict.fromkeys((query, self._spelt(query))) if query else ():
            for group in self._groups(text):
                if group:
                    return group[:limit]
        return self.close(query, limit)

    def _groups(self, query: str) -> Iterator[list[int]]:
        """Rows of each kind of match of a folded query, the best kind first, the popular first."""
        words = query.split()
        begun = [f" {word}" for word in words]
        text, starts = self._everything
        kinds = (
            lambda: self._containing([f"\n {query}"]),
            lambda: self._containing(begun),
            lambda: _containing(begun, text, starts, self._whole),
            lambda: self._containing(words),
        )
        for kind in kinds:
            yield self._by_popularity(kind()).tolist()

    def _spelt(self, query: str) -> str:
        """The query with each word that no item has as the nearest one that some has: of titles,
        or, if nearer still, of makers and kinds, whose many words are like almost anything."""

        def spelt(word: str) -> str:
            near = get_close_matches(word, self._words, n=8, cutoff=0.72)
            good = (
                one
                for one in near
                if abs(len(one) - len(word)) < 2
                and (
                    sorted(one) == sorted(word)  # two letters changed places
                    or SequenceMatcher(None, one, word).ratio()
                    >= (0.8 if self._words[one] else 0.85)
                )
            )
            return next(good, word)

        known = self._words
        return " ".join(w if w in known or len(w) < 4 else spelt(w) for w in query.split())

    @cached_property
    def _words(self) -> dict[str, bool]:
        """Every word, and whether a title has it."""
        words = dict.fromkeys((word for line in self._whole for word in line.split()), False)
        return words | dict.fromkeys((w for title in self._folded for w in title.split()), True)

    @cached_property
    def _everything(self) -> tuple[str, np.ndarray]:
        return _joined(self._whole)

    def exact(self, text: str) -> int | None:
        """The row that `text` names for certain: an id, or a title that only one item has.

        A year at the end of a title may be left away.
        """
        named = self._named(text)
        if named is not None:
            return named
        folded = fold(text)
        row = self._titles.get(folded, -1) if folded else -1
        return row if row >= 0 else None

    def _named(self, text: str) -> int | None:
        return self._ids.get(text, self._ids.get(text.strip()))

    def close(self, text: str, limit: int = 3) -> list[int]:
        """Rows whose titles share most letter triples with `text`, by the Dice coefficient.

        A single word is like too many others: of it, half as much again is asked.
        """
        at_least = 0.3 if " " in text.strip() else 0.45
        buckets = np.unique(_triples(fold(text[:MAX_TYPED])))
        order, offsets, sizes = self._triple_index
        if not len(buckets):
            return []
        hits = np.concatenate([order[offsets[b] : offsets[b + 1]] for b in buckets])
        shared = np.bincount(hits, minlength=len(self._folded))
        score = 2 * shared / (sizes + len(buckets))
        best = np.lexsort((-self._popularity, -score))[:limit]
        return [int(row) for row in best if score[row] >= at_least]

    def warm(self) -> None:
        """Make now what the first close match would otherwise wait for."""
        _ = self._titles, self._triple_index

    @cached_property
    def _titles(self) -> dict[str, int]:
        """Row of each folded title, with and without its year; -1 where several items have it."""
        found: dict[str, int] = {}
        for form in (lambda t: t, lambda t: _YEAR.sub("", t)):
            own: dict[str, int] = {}
            for row, title in enumerate(self._folded):
                key = form(title)
                own[key] = -1 if key in own else row
            found = own | found  # a whole title outweighs a shortened one
        return found

    @cached_property
    def _triple_index(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows sorted by triple, where each triple begins, and triples per title."""
        codes = np.frombuffer(self._text.encode("utf-32-le"), dtype=np.uint32).astype(np.int64)
        if len(codes) < 3:
            nothing = np.zeros(0, np.int64)
            return nothing, np.zeros(_BUCKETS + 1, np.int64), np.zeros(len(self._folded))
        newline = codes == 10
        at = np.flatnonzero(~(newline[:-2] | newline[1:-1] | newline[2:]))
        row = np.repeat(np.arange(len(self._folded)), np.diff(self._starts, append=len(codes)))
        pairs = _hash(codes)[at] * len(self._folded) + row[at]
        pairs.sort()
        pairs = pairs[np.diff(pairs, prepend=-1) > 0]
        bucket, row = np.divmod(pairs, len(self._folded))
        offsets = np.searchsorted(bucket, np.arange(_BUCKETS + 1))
        return row, offsets, np.bincount(row, minlength=len(self._folded))

    def _containing(self, pieces: Sequence[str]) -> np.ndarray:
        return _containing(pieces, self._text, self._starts, self._folded)

    def _by_popularity(self, rows: np.ndarray) -> np.ndarray:
        return rows[np.argsort(-self._popularity[rows], kind="stable")]


def _joined(lines: Sequence[str]) -> tuple[str, np.ndarray]:
    """All lines in one text, each with a newline and a space before it, and where each begins."""
    lengths = np.array([len(line) + 2 for line in lines], dtype=np.int64)
    return "".join(f"\n {line}" for line in lines), np.cumsum(lengths) - lengths


def _containing(
    pieces: Sequence[str], text: str, starts: np.ndarray, lines: Sequence[str]
) -> np.ndarray:
    """Rows whose line, with the newline and the space before it, contains every piece."""
    rows: np.ndarray | None = None
    for piece in sorted(pieces, key=len, reverse=True):  # the longest is likely the rarest
        if rows is not None and len(rows) <= _FEW:
            few = [row for row in rows.tolist() if piece in f"\n {lines[row]}"]
            rows = np.asarray(few, np.int64)
            continue
        hits = [match.start() for match in re.finditer(re.escape(piece), text)]
        found = np.unique(np.searchsorted(starts, hits, side="right") - 1)
        rows = found if rows is None else np.intersect1d(rows, found, assume_unique=True)
    return np.zeros(0, np.int64) if rows is None else rows


def _triples(folded: str) -> np.ndarray:
    """Hashed letter triples of a folded text with a space before it, as in the index."""
    codes = np.frombuffer(f" {folded}".encode("utf-32-le"), dtype=np.uint32).astype(np.int64)
    return _hash(codes) if len(codes) >= 3 else np.zeros(0, np.int64)


def _hash(codes: np.ndarray) -> np.ndarray:
    return (codes[:-2] * 961 + codes[1:-1] * 31 + codes[2:]) % _BUCKETS
