"""All pages in the order of the navigation."""

from __future__ import annotations

from dashboard.panel import Page
from dashboard.panels import codebook, compare, cost, drift, leaderboard, slices, training, verdict

PAGES: tuple[Page, ...] = (
    verdict.PAGE,
    leaderboard.PAGE,
    slices.PAGE,
    training.PAGE,
    codebook.PAGE,
    drift.PAGE,
    cost.PAGE,
    compare.PAGE,
)
