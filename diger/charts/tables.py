"""Tables as data frames for people: claims, the leaderboard, and LaTeX of a leaderboard."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from diger.statistics.verdict import Claim

_LATEX = {
    "\\": r"\textbackslash{}",
    **{c: f"\\{c}" for c in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


def claims_table(claims: Sequence[Claim]) -> pd.DataFrame:
    """One row a claim; what was not compared is blank, with the reason in the last column."""
    records = []
    for one in claims:
        found = one.difference
        band = found.interval if found and one.band else None
        few = "too few seeds" if found else ""
        base, arm, lift, gap, p = (
            (found.baseline, found.arm, found.lift, found.difference, found.p_value)
            if found
            else (None,) * 5
        )
        records.append(
            {
                "dataset": one.title,
                "metric": one.metric,
                "baseline": one.baseline or "static",
                "arm": one.arm,
                "baseline value": _rounded(base, "{:.4f}"),
                "arm value": _rounded(arm, "{:.4f}"),
                "lift": _rounded(lift, "{:+.1%}"),
                "difference": _rounded(gap, "{:+.4f}"),
                "95 % interval": f"{band.low:+.4f} to {band.high:+.4f}" if band else few,
                "seeds": found.seeds if found else 0,
                "difference of each seed": _seeds(one),
                "p": _rounded(p, "{:.4f}"),
                "p, Holm": _rounded(one.adjusted_p, "{:.4f}"),
                "p of the randomisation test": _rounded(one.randomisation_p, "{:.4f}"),
                "verdict": one.outcome if found else "",
                "why blank": one.reason,
            }
        )
    return pd.DataFrame(records)


def leaderboard(summary: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """One row a dataset and arm: metrics with their spread over seeds, then costs.

    Args:
        summary: `diger.statistics.runs.summary_frame`.
        metrics: of the test split, such as `ndcg@10`; those nobody measured are left out.

    Returns:
        `rank` by the first metric within a dataset, `dataset, arm, seeds`, for each metric its
        mean and `± metric` (standard deviation),
        `validation ndcg@10`, `seconds, memory (MiB), parameters, decoding, recipe, hardware`.
        Blank (missing) is what was not measured by every seed.
    """
    # Two versions of a dataset's data must not look like one.
    versions = summary.groupby("dataset")["fingerprint"].transform("nunique")
    titles = [
        title
        + (" (simulated)" if simulated and "simulated" not in title.lower() else "")
        + (f" [data {fingerprint[:8]}]" if several > 1 else "")
        for title, simulated, fingerprint, several in zip(
            summary["title"], summary["simulated"], summary["fingerprint"], versions, strict=True
        )
    ]
    ranked = f"test_{metrics[0]}"
    places = pd.Series(float("nan"), summary.index)
    if ranked in summary.columns:
        places = summary.groupby(["dataset", "fingerprint"])[ranked].rank(
            method="min", ascending=False
        )
    wanted = {"rank": "rank", "named": "dataset", "arm": "arm", "seeds": "seeds"}
    for metric in metrics:
        name = f"test_{metric}"
        if name in summary.columns and summary[name].notna().any():
            wanted |= {name: metric, f"{name}_std": f"± {metric}"}
    wanted |= {"validation_ndcg@10": "validation ndcg@10", "seconds": "seconds"}
    wanted |= {"mebibytes": "memory (MiB)", "parameters": "parameters", "decoding": "decoding"}
    wanted |= {"recipe": "recipe", "hardware": "hardware"}
    frame = summary.assign(rank=places, named=titles, mebibytes=summary["memory_bytes"] / 2**20)
    shown = frame[[name for name in wanted if name in frame]].reset_index(drop=True)
    return shown.rename(columns=wanted)


def to_latex(table: pd.DataFrame, metrics: Sequence[str], caption: str) -> str:
    """A booktabs table of a leaderboard: mean ± standard deviation, the best of a dataset bold.

    With one seed there is no ±; a blank cell stays blank. Needs `\\usepackage{booktabs}`.

    Args:
        table: from `leaderboard`.
        metrics: columns to show, in order.
        caption: plain text.
    """
    shown = [m for m in metrics if m in table.columns]
    best = {m: table.groupby("dataset")[m].transform("max") for m in shown}
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{latex(caption)}}}",
        rf"\begin{{tabular}}{{ll{'r' * (1 + len(shown))}}}",
        r"\toprule",
        " & ".join(["dataset", "arm", "seeds", *map(latex, shown)]) + r" \\",
        r"\midrule",
    ]
    before = None
    for i, row in table.iterrows():
        if before not in (None, row["dataset"]):
            lines.append(r"\midrule")
        dataset = latex(str(row["dataset"])) if row["dataset"] != before else ""
        before = row["dataset"]
        cells = [_cell(row[m], row.get(f"± {m}"), bool(row[m] == best[m][i])) for m in shown]
        lines.append(
            " & ".join([dataset, latex(str(row["arm"])), f"{row['seeds']}", *cells]) + r" \\"
        )
    lines += [r"\bottomrule", r"\end{tabular}", r"\end{table}"]
    return "\n".join(lines) + "\n"


def latex(text: str) -> str:
    r"""`text` with LaTeX's special characters escaped.

    >>> latex("a_b & 5%")
    'a\\_b \\& 5\\%'
    """
    return "".join(_LATEX.get(c, c) for c in " ".join(text.split()))


def _cell(mean: float, spread: object, best: bool) -> str:
    if pd.isna(mean):
        return ""
    known = isinstance(spread, float) and not pd.isna(spread)
    number = rf"\mathbf{{{mean:.4f}}}" if best else f"{mean:.4f}"
    return rf"${number} \pm {spread:.4f}$" if known else f"${number}$"


def _rounded(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)


def _seeds(one: Claim) -> str:
    if one.difference is None:
        return ""
    return ", ".join(f"{seed}: {value:+.4f}" for seed, value in one.difference.per_seed)
