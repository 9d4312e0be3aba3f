"""The documented interface: the functions of the page for programs, over HTTP and as MCP tools.

Names, types and docstrings are what people see in the API page, `gradio_client` and MCP. Wrong
input comes back as one sentence.
"""

from __future__ import annotations

import functools
import inspect
import logging
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import gradio as gr
from pydantic import ValidationError, validate_call

from diger.errors import DigerError
from diger.explain.prefixes import neighbours
from diger.tokenizer.suffix import format_sid
from diger_app import export, service
from diger_app.library import Library
from diger_app.panels.common import MODEL
from diger_app.render.text import sentence
from diger_app.shelf import Loaded, Shelf
from diger_app.view import DECODINGS, MAX_BEAM, MAX_K, MAX_TREE_BEAM, View

_log = logging.getLogger(__name__)


class Blocks(gr.Blocks):
    """Gradio's, where values that no function of ours gets to see are refused in a sentence too."""

    async def preprocess_data(self, *args: Any, **kwargs: Any) -> Any:
        """The values of a call as the function takes them; without a trace where they are wrong."""
        try:
            return await super().preprocess_data(*args, **kwargs)
        except Exception:
            said = "These are not the values that this function takes; the API page lists them."
            raise gr.Error(said, print_exception=False) from None


class Api:
    """The functions, over one library."""

    def __init__(self, library: Library) -> None:
        self._library = library

    def register(self) -> None:
        """Add the endpoints to the surrounding Blocks."""
        plain: list[Callable[..., Any]] = [self.datasets, self.search]
        model: list[Callable[..., Any]] = [
            self.recommend,
            self.item,
            self.beam_tree,
            self.new_item,
        ]
        for fn in plain:
            gr.api(_said(fn), api_name=fn.__name__, concurrency_limit=8)
        for fn in model:
            gr.api(_said(fn), api_name=fn.__name__, concurrency_id=MODEL)

    def datasets(self) -> list[dict]:
        """List the datasets and the bundles that can be used with each.

        Returns:
            A list of {dataset, title, simulated, licence, items, bundles: [{bundle, method}]}.
        """
        return [
            {
                "dataset": key,
                "title": shelf.label,
                "simulated": shelf.simulated,
                "licence": shelf.licence,
                "items": len(shelf.ids),
                "bundles": [{"bundle": n, "method": s.method} for n, s in shelf.sources.items()],
            }
            for key in self._library.datasets
            for shelf in (self._library.shelf(key),)
        ]

    def search(self, query: str, dataset: str = "", limit: int = 8) -> list[dict]:
        """Find items by title or id.

        Args:
            query: what to look for; words may be cut short. Empty for the most popular items.
            dataset: a dataset's name; empty for the first one.
            limit: how many items at most, up to 50.

        Returns:
            A list of {item_id, title}, best first.
        """
        shelf = self._library.shelf(dataset)
        rows = shelf.index.find(query, service.checked_number("limit", limit, 1, 50))
        return [_named(shelf, row) for row in rows]

    def recommend(
        self,
        history: list[str],
        dataset: str = "",
        bundle: str = "",
        k: int = 10,
        beam: int = 50,
        leave_out_seen: bool = True,
        decoding: str = "beam",
        target: str = "",
    ) -> dict:
        """Recommend what comes next after a history, with the SIDs that were generated.

        Args:
            history: item ids, oldest first, at least one.
            dataset: a dataset's name; empty for the first one.
            bundle: one bundle's name; empty for a static and a differentiable one side by side.
            k: how many items, up to 20.
            beam: beams of the search, up to 100.
            leave_out_seen: leave out the items of the history.
            decoding: "beam" within the catalogue, "hybrid", the same reordered by the item-level
                head where a model has one, "telling" with what everyone chooses counting
                less, or "free" without the catalogue, which may write SIDs that
                no item has.
            target: the item that came next in truth, where known, to learn its rank.

        Returns:
            {dataset, history, settings, target, results: [{bundle, method, target_rank,
            recommendations: [{rank, item_id, title, sid, probability, log_probability,
            shared_codes, shared_with}]}]}. Probabilities are over the full codebook.
        """
        shelf = self._library.shelf(dataset)
        if decoding not in DECODINGS:
            raise DigerError(
                f"decoding must be one of {', '.join(DECODINGS)}, got {decoding[:40]!r}"
            )
        view = View(
            dataset=shelf.key,
            history=service.checked_history(history),
            k=service.checked_number("k", k, 1, MAX_K),
            beam=service.checked_number("beam", beam, 1, MAX_BEAM),
            leave_out_seen=leave_out_seen,
            decoding=decoding,
            target=target,
        )
        names = [bundle] if bundle else [name for name in shelf.pair() if name]
        sides = [service.recommend(shelf, name, view) for name in names]
        return export.document(shelf, view, sides)

    def item(self, item_id: str, dataset: str = "") -> dict:
        """Look up an item: its SID and prefix neighbours under each bundle, and content neighbours.

        Args:
            item_id: the item's id, as from search.
            dataset: a dataset's name; empty for the first one.

        Returns:
            {item_id, title, training_events, sids: [{bundle, method, sid, neighbours: [{depth,
            prefix, words, total, items}]}], content_neighbours: [{item_id, title, cosine}]}.
        """
        shelf = self._library.shelf(dataset)
        row = service.history_rows(shelf, [item_id])[0]
        loaded = [shelf.load(name) for name in shelf.pair() if name]
        space, near = shelf.space, []
        if space is not None and space.units[row].any():
            found = space.nearest(space.units[row], 8, leave_out=row)
            near = [
                {**_named(shelf, r), "cosine": round(float(c), 4)}
                for r, c in zip(found[0].tolist(), found[1].tolist(), strict=True)
            ]
        return {
            **_named(shelf, row),
            "training_events": int(shelf.popularity[row]),
            "sids": [
                {
                    "bundle": one.name,
                    "method": one.method,
                    "sid": format_sid(one.sids[row]),
                    "neighbours": _rings(shelf, one, row),
                }
                for one in loaded
            ],
            "content_neighbours": near,
        }

    def beam_tree(
        self, history: list[str], dataset: str = "", bundle: str = "", beam: int = 5
    ) -> dict:
        """Follow the beam search: what was weighed, kept and dropped at each level.

        Args:
            history: item ids, oldest first, at least one.
            dataset: a dataset's name; empty for the first one.
            bundle: a bundle's name; empty for the first one, a static one where there is one.
            beam: beams, up to 12.

        Returns:
            {dataset, bundle, levels: [{weighed, kept, outside, branches: [{prefix, words, kept,
            probability, prefix_probability, items, item}]}]}.
        """
        shelf = self._library.shelf(dataset)
        name = bundle or shelf.pair()[0]
        width = service.checked_number("beam", beam, 1, MAX_TREE_BEAM)
        view = replace(
            View(), dataset=shelf.key, history=service.checked_history(history), tree_beam=width
        )
        loaded = shelf.load(name)
        return {
            "dataset": shelf.key,
            "bundle": loaded.name,
            "levels": [
                {
                    "weighed": level.weighed,
                    "kept": level.kept,
                    "outside": level.outside,
                    "branches": [
                        {
                            "prefix": format_sid(one.prefix),
                            "words": service.words_for(shelf, loaded, one.prefix),
                            "kept": one.kept,
                            "probability": float(f"{math.exp(one.step):.6g}"),
                            "prefix_probability": float(f"{math.exp(one.log_p):.6g}"),
                            "items": one.items,
                            "item": None if one.row is None else _named(shelf, one.row),
                        }
                        for one in level.branches
                    ],
                }
                for level in service.tree(shelf, name, view)
            ],
        }

    def new_item(
        self,
        title: str,
        description: str = "",
        history: list[str] | None = None,
        dataset: str = "",
        bundle: str = "",
        only_new: bool = False,
    ) -> dict:
        """Name an item that no model has seen, from its text, and rank it after a history.

        Args:
            title: the new item's title.
            description: what it is; both are read by the text encoder.
            history: item ids, oldest first; without one the item is named and not ranked.
            dataset: a dataset's name; empty for the first one.
            bundle: a bundle's name; empty for the first one.
            only_new: rank among the items without training events alone (cold start).

        Returns:
            {bundle, sid, beside: [{shared_codes, items}], rank, candidates, probability}.
        """
        from diger_app.new_item import new_item

        shelf = self._library.shelf(dataset)
        view = View(
            dataset=shelf.key,
            title=title,
            description=description,
            history=service.checked_history(history or []),
            only_new=only_new,
        )
        made = new_item(shelf, bundle or shelf.pair()[0], view)
        ranking = made.ranking
        return {
            "bundle": made.loaded.name,
            "sid": format_sid(made.sid),
            "beside": [
                {"shared_codes": depth, "items": [_named(shelf, r) for r in rows.tolist()]}
                for depth, rows in made.beside
            ],
            "rank": ranking.rank if ranking else None,
            "candidates": ranking.candidates if ranking else None,
            "probability": math.exp(ranking.log_p) if ranking else None,
        }


def _said(fn: Callable[..., Any]) -> Callable[..., Any]:
    """`fn` with its errors as one sentence for the caller, and no trace."""

    checked, names = validate_call(fn), list(inspect.signature(fn).parameters)

    @functools.wraps(fn)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return checked(**dict(zip(names, args, strict=False)), **kwargs)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = " ".join(map(str, first["loc"]))
            said = sentence(f"{where}: {first['msg']}")
            raise gr.Error(said, print_exception=False) from None
        except DigerError as error:
            raise gr.Error(sentence(str(error)), print_exception=False) from None
        except Exception:
            _log.exception("the API function %s failed", fn.__name__)
            raise gr.Error(
                "Something went wrong on the server; its log says what.", print_exception=False
            ) from None

    return call


def _named(shelf: Shelf, row: int) -> dict[str, str]:
    return {"item_id": shelf.ids[row], "title": shelf.title(row)}


def _rings(shelf: Shelf, loaded: Loaded, row: int) -> list[dict[str, Any]]:
    return [
        {
            "depth": one.depth,
            "prefix": format_sid(one.prefix),
            "words": service.words_for(shelf, loaded, one.prefix),
            "total": one.total,
            "items": [_named(shelf, int(r)) for r in one.rows],
        }
        for one in neighbours(loaded.codes, row, shelf.popularity)
    ]
