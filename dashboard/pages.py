"""All pages in the order of the navigation; a page is one file of `dashboard/panels`."""

from __future__ import annotations

from importlib import import_module

from dashboard.panel import Page

_NAMES = (
    "verdict",
    "leaderboard",
    "slices",
    "training",
    "codebook",
    "drift",
    "cost",
    "compare",
)
PAGES: tuple[Page, ...] = tuple(import_module(f"dashboard.panels.{n}").PAGE for n in _NAMES)
