"""All pages in the order of the navigation; a page is one file of `dashboard/panels`."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module

from dashboard.panel import Page

NAMES = [
    "verdict",
    "matrix",
    "leaderboard",
    "slices",
    "training",
    "codebook",
    "drift",
    "cost",
    "compare",
]
# Panels from files of their own, and the page at whose end they stand.
MORE_PANELS: dict[str, str] = {}


def load_page(name: str) -> Page:
    """The page in `dashboard/panels/<name>.py`, with the panels that others add to it."""
    page: Page = import_module(f"dashboard.panels.{name}").PAGE
    places = [place.rsplit(".", 1) for place, where in MORE_PANELS.items() if where == page.key]
    more = (getattr(import_module(module), builder) for module, builder in places)
    return replace(page, builders=(*page.builders, *more))


PAGES: tuple[Page, ...] = tuple(map(load_page, NAMES))
