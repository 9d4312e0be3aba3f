"""SID drift, use of codebooks and train-inference agreement, epoch by epoch.

Drift counts items whose codes differ, suffix left aside: since the start, and since the last epoch;
all items, head and tail apart, and level by level. Head items are the most popular fifth of the
catalogue. A collapse, and drift that stays at zero, are named in the log.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from torch import Tensor

from diger.evaluation.beyond_accuracy import head_items
from diger.tokenizer.stats import level_records, sid_stats

COLLAPSED = 0.1  # effective codes under this share of those at the start
STILL_AFTER = 3  # epochs without any drift before it is mentioned

log = logging.getLogger("diger.training")


class SidWatch:
    """Collects one record an epoch; plain numbers, ready for JSON."""

    def __init__(self, codes: np.ndarray, popularity: np.ndarray, codebook_size: int) -> None:
        self.start = codes.copy()
        self.size = codebook_size
        self.head = head_items(popularity)
        self.epochs = 0
        self.begin = sid_stats(codes, codebook_size).levels
        self.warned: set[str] = set()

    def batch(
        self, codes: Tensor, plain: Tensor, noise_scale: Tensor, hot: Tensor | None
    ) -> dict[str, float]:
        """Numbers of one batch from codes, codes without noise and factors, all (n, levels)."""
        agree = (codes == plain).float().mean(0).tolist()
        parts = {f"agreement_{i + 1}": value for i, value in enumerate(agree)}
        parts["agreement"] = sum(agree) / len(agree)
        parts["noise_scale"] = noise_scale.mean().item()
        if hot is not None:
            on = [hot[j][plain[:, j]].float().mean().item() for j in range(plain.shape[1])]
            parts |= {f"hot_share_{i + 1}": value for i, value in enumerate(on)}
            parts["hot_share"] = sum(on) / len(on)
        return parts

    def epoch(
        self, codes: np.ndarray, last: np.ndarray
    ) -> tuple[dict[str, float], list[dict[str, Any]]]:
        """The epoch's columns of the history, and a record of every level.

        codes, last: (items, levels) at the end of this epoch and of the one before.
        """
        self.epochs += 1
        moved, stepped = codes != self.start, codes != last
        any_moved = moved.any(1)
        stats = sid_stats(codes, self.size)
        row = {
            "drift": float(any_moved.mean()),
            "drift_head": float(any_moved[self.head].mean()),
            "drift_tail": float(any_moved[~self.head].mean()) if (~self.head).any() else 0.0,
            "drift_epoch": float(stepped.any(1).mean()),
            "collisions": stats.collisions.shared_items,
            "largest_group": stats.collisions.largest,
        }
        levels = level_records(stats, codes, self.size, self.epochs)
        for j, level in enumerate(levels):
            level["drift"] = float(moved[:, j].mean())
            level["drift_head"] = float(moved[self.head, j].mean())
            level["drift_tail"] = float(moved[~self.head, j].mean()) if (~self.head).any() else 0.0
            level["drift_epoch"] = float(stepped[:, j].mean())
        self._warn(levels, row["drift"])
        return row, levels

    def restore(self, records: list[dict[str, Any]]) -> None:
        """Go on after the epochs in `records`."""
        self.epochs = max((record["epoch"] for record in records), default=0)

    def _warn(self, levels: list[dict[str, Any]], drift: float) -> None:
        for level, before in zip(levels, self.begin, strict=True):
            key = f"level {level['level']}"
            if level["perplexity"] < COLLAPSED * before.perplexity and key not in self.warned:
                self.warned.add(key)
                log.warning(
                    "collapse: %s is down to %.1f effective codes from %.1f, after epoch %d",
                    key,
                    level["perplexity"],
                    before.perplexity,
                    self.epochs,
                )
        if drift == 0 and self.epochs == STILL_AFTER:
            log.warning(
                "no item has changed its SID after %d epochs: the tokenizer's learning rate may be "
                "too low for this many updates",
                STILL_AFTER,
            )
