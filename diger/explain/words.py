"""What a SID prefix means in words: the terms that its items have and the catalogue has less.

A term is a category, a brand, or a word of title or description. Terms of a group are ordered by
p log(p / q), p the share of the group's items with the term and q the catalogue's: the term's part
in the Kullback-Leibler divergence, so that a term must be both common in the group and telling.
Categories and brands count in full, words of running text at half.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse

_WORD = re.compile(r"[^\W\d_][\w’'-]{2,}|\d{4}s", re.UNICODE)
_NAME = re.compile(r"[A-Z][\w’'-]+(?: [A-Z][\w’'-]+){1,2}")  # Hong Kong
_RUNNING_TEXT = 0.5
_DESCRIPTION_WORDS = 60
_COMMONEST = 0.6  # a word in more than this share of all items says nothing about any
_STOP = frozenset(
    [
        "about",
        "after",
        "all",
        "along",
        "also",
        "among",
        "and",
        "another",
        "any",
        "are",
        "around",
        "back",
        "because",
        "been",
        "before",
        "being",
        "between",
        "both",
        "but",
        "can",
        "could",
        "did",
        "does",
        "down",
        "during",
        "each",
        "even",
        "every",
        "few",
        "first",
        "for",
        "from",
        "get",
        "had",
        "has",
        "have",
        "having",
        "her",
        "here",
        "hers",
        "him",
        "his",
        "how",
        "into",
        "its",
        "itself",
        "just",
        "last",
        "like",
        "make",
        "makes",
        "many",
        "may",
        "more",
        "most",
        "much",
        "must",
        "new",
        "nor",
        "not",
        "now",
        "off",
        "old",
        "once",
        "one",
        "only",
        "onto",
        "other",
        "our",
        "out",
        "over",
        "own",
        "part",
        "same",
        "she",
        "should",
        "some",
        "such",
        "takes",
        "than",
        "that",
        "the",
        "their",
        "them",
        "then",
        "there",
        "these",
        "they",
        "thing",
        "things",
        "this",
        "those",
        "three",
        "through",
        "too",
        "two",
        "under",
        "until",
        "upon",
        "use",
        "used",
        "very",
        "was",
        "way",
        "were",
        "what",
        "when",
        "where",
        "whether",
        "which",
        "while",
        "who",
        "whom",
        "whose",
        "why",
        "will",
        "with",
        "within",
        "without",
        "would",
        "year",
        "years",
        "you",
        "your",
        "mood",
    ]
)


@dataclass(frozen=True, eq=False)
class Terms:
    """Which item has which term.

    Attributes:
        names: the terms as shown.
        weight: (terms,) 1 for categories and brands, less for words of running text.
        present: (items, terms) sparse, 1 where the item has the term.
        share: (terms,) share of all items with the term.
    """

    names: list[str]
    weight: np.ndarray
    present: sparse.csr_matrix
    share: np.ndarray

    @classmethod
    def build(cls, items: pd.DataFrame) -> Terms | None:
        """From the text columns of a catalogue; None where it has no text at all."""
        columns = [c for c in ("title", "brand", "categories", "description") if c in items]
        index: dict[str, int] = {}
        names: list[str] = []
        weight: list[float] = []
        rows: list[int] = []
        terms: list[int] = []
        for row, item in enumerate(items[columns].to_dict("records")):
            mine: set[int] = set()
            for name, value in _terms_of(item):
                key = name.casefold()
                if key not in index:
                    index[key] = len(names)
                    names.append(name)
                    weight.append(value)
                term = index[key]
                mine.add(term)
                weight[term] = max(weight[term], value)
                if name.islower():  # a name keeps its capital only where it is never without
                    names[term] = name
            rows += [row] * len(mine)
            terms += mine
        if not names:
            return None
        ones = np.ones(len(rows), np.float32)
        shape = (len(items), len(names))
        present = sparse.csr_matrix((ones, (rows, terms)), shape=shape)
        share = np.asarray(present.sum(axis=0)).ravel() / max(len(items), 1)
        return cls(names, np.asarray(weight), present, share)

    def describe(self, rows: np.ndarray, limit: int = 3) -> list[str]:
        """The most telling terms of the items `rows`, best first; at most `limit`.

        In a group of three or more items a term must occur at least twice.
        """
        rows = np.asarray(rows, dtype=np.int64)
        if not len(rows):
            return []
        counts = np.asarray(self.present[rows].sum(axis=0)).ravel()
        enough = counts >= (2 if len(rows) > 2 else 1)
        candidates = np.flatnonzero(enough & (self.share <= _COMMONEST))
        p, q = counts[candidates] / len(rows), self.share[candidates]
        score = self.weight[candidates] * p * np.log(np.maximum(p / q, 1e-12))
        order = candidates[np.argsort(-score, kind="stable")][: 8 * limit]
        chosen: list[str] = []
        for term in order:
            name = self.names[term]
            folded = name.casefold()
            if not any(folded in c.casefold() or c.casefold() in folded for c in chosen):
                chosen.append(name)
            if len(chosen) == limit:
                break
        return chosen


def _terms_of(item: dict) -> Iterable[tuple[str, float]]:
    categories = item.get("categories")
    if isinstance(categories, list | tuple | np.ndarray):
        for category in categories:
            name = " ".join(str(category).split())
            if 1 < len(name) <= 60:
                yield name, 1.0
    brand = item.get("brand")
    if isinstance(brand, str) and brand.strip():
        yield " ".join(brand.split())[:60], 1.0
    for column, most in (("title", 30), ("description", _DESCRIPTION_WORDS)):
        value = item.get(column)
        if isinstance(value, str):
            value = " ".join(value.split())
            if column == "description":
                for name in _NAME.findall(value)[:most]:
                    yield name, _RUNNING_TEXT
                value = _NAME.sub(" ", value)
            for word in _WORD.findall(value)[:most]:
                if word.casefold() not in _STOP and len(word) <= 30:
                    yield word, _RUNNING_TEXT
