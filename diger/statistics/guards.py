"""What makes two runs comparable, and in plain words why two are not.

A comparison needs the same data, split, candidates, users and cut-offs; arms that decode SIDs must
also share the decoding. A baseline that scores every item (SASRec, popularity) has no beam to
share, so it may stand beside any decoding of the same candidates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from diger.names import SID_METHODS


def refusals(a: Mapping[str, Any], b: Mapping[str, Any], metric: str) -> list[str]:
    """Why two runs cannot be compared on a test metric; empty where they can.

    Args:
        a, b: rows of `diger.statistics.runs.runs_frame` (mappings or series).
        metric: such as `ndcg@10`.
    """
    reasons = []
    if a["dataset"] != b["dataset"]:
        reasons.append(f"different datasets ({a['dataset']} against {b['dataset']})")
    elif a["fingerprint"] != b["fingerprint"] or not a["fingerprint"]:
        reasons.append(
            f"different data (fingerprint {_short(a['fingerprint'])} against "
            f"{_short(b['fingerprint'])})"
        )
    if a["split"] != b["split"]:
        reasons.append(f"different splits ({a['split'] or '?'} against {b['split'] or '?'})")
    if not _equal(a["items"], b["items"]):
        reasons.append(
            f"different candidates ({_count(a['items'])} against {_count(b['items'])} items)"
        )
    if not _equal(a["test_users"], b["test_users"]):
        reasons.append(
            f"different users ({_count(a['test_users'])} against {_count(b['test_users'])})"
        )
    for run in (a, b):
        if not _has(run, f"test_{metric}"):
            reasons.append(f"{run['arm']} has no test {metric} (other cut-offs)")
    both_decode = a["method"] in SID_METHODS and b["method"] in SID_METHODS
    if both_decode and a["decoding"] != b["decoding"]:
        reasons.append(
            f"different decoding ({a['decoding'] or '?'} against {b['decoding'] or '?'})"
        )
    return reasons


def _has(run: Mapping[str, Any], column: str) -> bool:
    value = run.get(column)
    return value is not None and not math.isnan(value)


def _equal(a: float, b: float) -> bool:
    """Equal, or not known on either side (an older bundle does not say)."""
    return a == b or math.isnan(a) or math.isnan(b)


def _count(value: float) -> str:
    return "?" if math.isnan(value) else f"{value:,.0f}"


def _short(fingerprint: str) -> str:
    return fingerprint[:8] or "none"
