"""The parts of a model card that are figures: metrics, the sibling's beside them, code usage.

Everything that came from data or a configuration is escaped. A value that was not measured is
blank, and figures decoded in different ways never stand in one column.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from diger.bundle import documents, schema
from diger.bundle.documents import Result, entry, is_number
from diger.bundle.picture import codes_at
from diger.text import markdown
from diger.tokenizer.stats import perplexity

SHOWN = ("recall@5", "recall@10", "recall@20", "ndcg@5", "ndcg@10", "ndcg@20", "mrr@10")


@dataclass(frozen=True)
class Sibling:
    """The bundle to compare with: the same data and backbone, another method.

    config, metrics: its two documents. repository: where it is on the Hub, `owner/name`.
    """

    config: Mapping[str, Any]
    metrics: Mapping[str, Any]
    repository: str | None = None

    @property
    def method(self) -> str:
        """`static`, `differentiable`, ..."""
        return str(entry(self.config, "arm", "method") or "sibling")


def results_section(
    config: Mapping[str, Any], metrics: Mapping[str, Any], sibling: Sibling | None = None
) -> str:
    """Metrics of every split and decoding, after those beside the sibling's where one is given."""
    results = list(documents.results(metrics))
    names = [n for n in SHOWN if any(is_number(r["metrics"].get(n)) for r in results)]
    if not names:
        return ""
    rows = []
    for result in sorted(results, key=lambda r: r["split"] != "test"):
        values = (result["metrics"].get(n) for n in names)
        rows.append(
            [
                result["split"],
                markdown(result.get("decoding", "")),
                count(result.get("users")),
                *(f"{v:.4f}" if is_number(v) else "" for v in values),
            ]
        )
    parts = [
        "## Results",
        "Item-level, every item of the catalogue a candidate, no sampled negatives.",
        "" if sibling is None else _beside(config, metrics, sibling),
        table(["split", "decoding", "users", *names], rows),
    ]
    return "\n\n".join(part for part in parts if part)


def usage_section(codes: pd.DataFrame | None, config: Mapping[str, Any]) -> str:
    """The picture of code usage and its figures; empty where there are no codes."""
    if codes is None or codes.empty:
        return ""
    epoch, now = codes_at(codes, config.get("selected_epoch"))
    rows, said = [], []
    for level, part in now.groupby("level"):
        items = part["items"].to_numpy()
        used, effective = int((items > 0).sum()), perplexity(items)
        largest = items.max() / max(items.sum(), 1)
        rows.append([f"{level}", f"{used:,} of {len(items):,}", f"{effective:,.1f}"])
        rows[-1].append(f"{largest:.1%}")
        said.append(f"level {level}: {used} of {len(items)} used")
    picture = f"![Items per code, most used first; {'; '.join(said)}]({schema.PICTURE})"
    facts = table(["level", "codes used", "effective codes", "items on the largest code"], rows)
    return f"{picture}\n\n{facts}\n\nEffective codes: exp of the entropy, at epoch {epoch}."


def _beside(config: Mapping[str, Any], metrics: Mapping[str, Any], sibling: Sibling) -> str:
    """The table of this bundle's headline figures beside the sibling's, and what it can show."""
    ours, theirs = _comparable(metrics, sibling.metrics)
    if ours is None or theirs is None:
        return ""
    rows = []
    for name in SHOWN:
        mine, other = ours["metrics"].get(name), theirs["metrics"].get(name)
        if not is_number(mine) or not is_number(other):
            continue
        relative = f" ({(mine - other) / other:+.1%})" if other else ""
        rows.append([name, f"{mine:.4f}", f"{other:.4f}", f"{mine - other:+.4f}{relative}"])
    if not rows:
        return ""
    method = str(entry(config, "arm", "method") or "this bundle")
    name = markdown(sibling.config.get("name") or "a sibling")
    if sibling.repository is not None:
        name = f"[{name}](https://huggingface.co/{sibling.repository})"
    seeds = [document.get("seed") for document in (config, sibling.config)]
    drawn = f"seed {seeds[0]}" if seeds[0] == seeds[1] else f"seeds {seeds[0]} and {seeds[1]}"
    return (
        f"### Beside its {markdown(sibling.method)} sibling\n\n"
        + table([ours["split"], f"**{markdown(method)}**", markdown(sibling.method), ""], rows)
        + f"\n\nThe sibling is {name}: same data, split, backbone and decoding "
        f"({markdown(ours.get('decoding', ''))}). One run each ({markdown(drawn)}), so a small "
        "difference may be chance."
    )


def _comparable(
    ours: Mapping[str, Any], theirs: Mapping[str, Any]
) -> tuple[Result | None, Result | None]:
    """The first test result of ours that the other bundle has with the same decoding."""
    for mine in documents.results(ours, "test"):
        for other in documents.results(theirs, "test"):
            if mine.get("decoding") == other.get("decoding"):
                return mine, other
    return None, None


def facts(rows: Iterable[list[Any]]) -> str:
    """A two-column table of what is known, without a header."""
    known = [[label, markdown(value)] for label, value in rows if value not in (None, "")]
    return table(["", ""], known)


def table(header: list[str], rows: Iterable[list[str]]) -> str:
    """A Markdown table; cells are escaped already."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def count(value: object) -> str:
    """A whole number with its thousands apart; empty where it is not known."""
    return f"{value:,}" if is_number(value) else ""
