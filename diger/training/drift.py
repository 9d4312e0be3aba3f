"""SID drift, use of codebooks and train-inference agreement, epoch by epoch.

`target_entropy_1` and on: of the code in training events given those before it, in nats; less the
loss at that code it is a lower bound of what a history tells of it.

Drift counts items whose codes differ, suffix left aside: since the start, and since the last epoch;
all items, head and tail apart, and level by level. Head items are the most popular fifth of the
catalogue. A collapse, and drift that stays at zero, are named in the log.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diger.evaluation.beyond_accuracy import head_items
from diger.tokenizer.soft import SoftCodes
from diger.tokenizer.stats import code_entropies, level_records, sid_stats

COLLAPSED = 0.1  # effective codes under this share of those at the start, or under two
STILL_AFTER = 3  # epochs without any drift before it is mentioned

log = logging.getLogger("diger.training")


class SidWatch:
    """Collects one record an epoch; plain numbers, ready for JSON."""

    def __init__(self, codes: np.ndarray, popularity: np.ndarray, codebook_size: int) -> None:
        self.start = codes.copy()
        self.size = codebook_size
        self.popularity = popularity
        self.head = head_items(popularity)
        self.epochs = 0
        self.begin = sid_stats(codes, codebook_size).levels
        self.warned: set[int] = set()

    def batch(self, soft: SoftCodes, assigned: Tensor, hot: Tensor | None) -> dict[str, float]:
        """Numbers of one batch's items, level by level and their means.

        Args:
            soft: their codes in the forward pass, without noise, and as the noise draws them.
            assigned: LongTensor (n, levels), their SIDs, which decide whether a code is hot.
            hot: (levels, codebook size), for decays that know such a thing.

        Returns:
            `agreement`, share of the forward pass's codes that are those without noise now;
            `explored`, share for which the noise draws another code; `hot_share`; `noise_scale`.
        """
        shares = {
            "agreement": soft.codes == soft.plain,
            "explored": soft.drawn != soft.plain,
        }
        if hot is not None:
            columns = [hot[j][assigned[:, j]] for j in range(assigned.shape[1])]
            shares["hot_share"] = torch.stack(columns, 1)
        parts = {"noise_scale": soft.noise_scale.mean().item()}
        for name, values in shares.items():
            each = values.float().mean(0).tolist()
            parts |= {f"{name}_{i + 1}": value for i, value in enumerate(each)}
            parts[name] = sum(each) / len(each)
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
        for j, entropy in enumerate(code_entropies(codes, self.popularity)):
            row[f"target_entropy_{j + 1}"] = entropy
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
        self.warned = {r["level"] for r in records if self._collapsed(r["level"], r["perplexity"])}

    def name_collapse(self, codes: np.ndarray) -> None:
        """Say in the log which levels of codes (items, levels) have collapsed, each once a run."""
        for stats in sid_stats(codes, self.size).levels:
            self._name(stats.level + 1, stats.perplexity)

    def _collapsed(self, level: int, perplexity: float) -> bool:
        before = self.begin[level - 1].perplexity
        # Of a small codebook a tenth can be less than one code; two are few enough then.
        return perplexity < max(COLLAPSED * before, min(2.0, before / 2))

    def _name(self, level: int, perplexity: float) -> None:
        if level in self.warned or not self._collapsed(level, perplexity):
            return
        self.warned.add(level)
        log.warning(
            "collapse: level %d is down to %.1f effective codes from %.1f, after epoch %d",
            level,
            perplexity,
            self.begin[level - 1].perplexity,
            self.epochs,
        )

    def _warn(self, levels: list[dict[str, Any]], drift: float) -> None:
        for level in levels:
            self._name(level["level"], level["perplexity"])
        if drift == 0 and self.epochs == STILL_AFTER:
            log.warning(
                "no item has changed its SID after %d epochs: the tokenizer's learning rate may be "
                "too low for this many updates",
                STILL_AFTER,
            )
