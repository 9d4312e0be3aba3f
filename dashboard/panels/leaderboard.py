"""Every arm on every dataset, and at what price."""

from __future__ import annotations

import pandas as pd

from dashboard.analysis import BASELINE, claims
from dashboard.panel import Figure, Lens, Page, Panel
from dashboard.view import METRICS
from diger.charts.tables import leaderboard
from diger.errors import DigerError
from diger.statistics.verdict import in_words

EXTRA = ("recall@1", "ndcg@1", "mrr@1", "mrr@5", "mrr@20")
REACH = ("coverage@10", "head_share@10", "mean_popularity@10")
PRICE = ("seconds", "memory (MiB)", "parameters")
FORMATS = {
    "rank": "%d",
    "seconds": "%.1f",
    "memory (MiB)": "%.0f",
    "parameters": "%.0f",
    "seeds": "%d",
}


def table(lens: Lens) -> Panel:
    """The leaderboard, best first within a dataset, on the metric of the view."""
    metric = lens.view.metric
    summary = lens.summary
    if summary.empty:
        raise DigerError("no runs: the filters leave none, or there are no bundles yet")
    column = f"test_{metric}"
    if column in summary.columns:
        order = {dataset: i for i, dataset in enumerate(lens.datasets)}
        summary = summary.assign(place=summary["dataset"].map(order)).sort_values(
            ["place", column], ascending=[True, False], kind="stable"
        )
    frame = leaderboard(summary, [metric, *(m for m in (*METRICS, *EXTRA, *REACH) if m != metric)])
    # The price stands beside the metric: further metrics are what one scrolls for.
    first = ["rank", "dataset", "arm", "seeds", metric, f"± {metric}", *PRICE]
    frame = frame[[c for c in first if c in frame] + [c for c in frame if c not in first]]
    second = "recall@10" if metric != "recall@10" else "ndcg@10"
    paper = ("rank", "dataset", "arm", "seeds", metric, f"± {metric}", second, f"± {second}")
    return Panel(
        key="leaderboard",
        finding=_finding(lens, column, metric),
        figures=(
            Figure(
                table=frame,
                formats=FORMATS | _decimals(list(frame.columns)),
                best=_best(frame),
                paper=(*paper, *PRICE),
            ),
        ),
        notes=(
            "Bold is the highest of a dataset, for the eye; what a lead is worth, Verdict says.",
            "Means over the seeds of an arm; ± is the standard deviation over seeds, blank with "
            "one seed. A cell that one seed did not measure is blank, never averaged. Rows of "
            "different datasets, and figures with different decoding, are not comparable.",
        ),
        terms=(
            *("arm", f"{metric.split('@')[0]}@k", "decoding", "coverage@k", "head share@k"),
            *("seconds", "memory", "parameters"),
        ),
        hashes=tuple(lens.runs["hash"]),
        blank=tuple(
            f"{row.dataset}, {row.arm}: left out {row.left_out} (repeats a seed)"
            for row in summary.itertuples()
            if row.left_out
        ),
    )


def _finding(lens: Lens, column: str, metric: str) -> str:
    """The order of a table is no claim; what may be said of it is the verdict."""
    if column not in lens.summary.columns:
        return f"No run here has a test {metric}"
    found = claims(lens, metric, simulated=False)
    said = in_words(found, lens.view.challenger, BASELINE)
    return f"Every arm by {metric}. {said}"


def _best(frame: pd.DataFrame) -> pd.DataFrame:
    """The highest of every metric within a dataset; bold, for the eye, and no claim."""
    best = pd.DataFrame(False, frame.index, frame.columns)
    for metric in (c for c in frame.columns if f"± {c}" in frame.columns):
        best[metric] = frame[metric] == frame.groupby("dataset")[metric].transform("max")
    return best


def _decimals(columns: list[str]) -> dict[str, str]:
    return {c: "%.4f" for c in columns if "@" in c}


PAGE = Page(
    key="leaderboard",
    icon="leaderboard",
    name="Leaderboard",
    question="Where does every arm stand, and at what price?",
    builders=(table,),
)
