"""Who leads where, and at what price: every arm on every dataset."""

from __future__ import annotations

from dashboard.analysis import comparable
from dashboard.panel import Figure, Lens, Page, Panel
from dashboard.view import METRICS
from diger.charts.tables import leaderboard
from diger.errors import DigerError
from diger.statistics.verdict import MIN_SEEDS

EXTRA = ("recall@1", "ndcg@1", "mrr@1", "mrr@5", "mrr@20")
REACH = ("coverage@10", "head_share@10", "mean_popularity@10")
FORMATS = {"seconds": "%.1f", "memory (MiB)": "%.0f", "parameters": "%.0f", "seeds": "%d"}


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
    second = "recall@10" if metric != "recall@10" else "ndcg@10"
    paper = ("dataset", "arm", "seeds", metric, f"± {metric}", second, f"± {second}")
    return Panel(
        key="leaderboard",
        finding=_finding(lens, column, metric),
        figures=(
            Figure(
                table=frame,
                formats=FORMATS | _decimals(list(frame.columns)),
                paper=(*paper, "seconds", "memory (MiB)", "parameters"),
            ),
        ),
        notes=(
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
    if column not in lens.summary.columns:
        return f"No run here has a test {metric}"
    leaders = []
    for dataset in lens.datasets:
        rows = comparable(lens, dataset, metric)[0].dropna(subset=[column])
        if len(rows):
            best = rows.loc[rows[column].idxmax()]
            where = f"on {lens.title(dataset)} ({best[column]:.4f}, "
            if best["seeds"] >= MIN_SEEDS:
                leaders.append(f"{best['arm']} leads {where}{best['seeds']} seeds)")
            else:  # the highest figure of so few is no lead
                few = "one seed" if best["seeds"] == 1 else f"{best['seeds']} seeds"
                leaders.append(f"nobody leads {where}{few}, {best['arm']})")
    return f"By {metric}: {'; '.join(leaders)}" if leaders else f"No run here has a test {metric}"


def _decimals(columns: list[str]) -> dict[str, str]:
    return {c: "%.4f" for c in columns if "@" in c}


PAGE = Page(
    key="leaderboard",
    icon="leaderboard",
    name="Leaderboard",
    question="Who leads where, and at what price?",
    builders=(table,),
)
