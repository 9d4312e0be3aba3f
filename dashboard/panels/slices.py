"""Where does it win? Slices of users and targets, users won and lost, and the lists themselves."""

from __future__ import annotations

import pandas as pd

from dashboard.analysis import BASELINE, chosen, first_codes, hashes_of, lined_up
from dashboard.panel import Figure, Lens, Page, Panel, sentence
from dashboard.panels.curves import in_words
from diger.charts import lift as charts
from diger.errors import DigerError
from diger.statistics.slices import KINDS, MIN_USERS, overlaps, slice_differences, won_and_lost
from diger.text import and_list

K = 10
_NOTE = (
    f"Differences are paired by user and seed. Slices under {MIN_USERS} users, and all slices "
    "with one seed or two, get no verdict; the intervals are not corrected for the many slices."
)


def by_popularity(lens: Lens) -> Panel:
    """By how often the target occurs in training."""
    return _slices(
        lens,
        KINDS[0],
        "slices-popularity",
        "By target popularity",
        "targets seen {} times in training",
    )


def by_length(lens: Lens) -> Panel:
    """By how long the history is."""
    return _slices(lens, KINDS[1], "slices-length", "By length of history", "histories of {} items")


def cold(lens: Lens) -> Panel:
    """By whether the target was ever seen in training."""
    return _slices(lens, KINDS[2], "slices-cold", "By cold targets", "targets that are {}")


def by_first_code(lens: Lens) -> Panel:
    """By the target's first static code."""
    return _slices(lens, KINDS[3], "slices-code", "By first code", "targets under the code {}")


def users(lens: Lens) -> Panel:
    """Users that only one of the two arms serves."""
    paired, baseline, arm = lined_up(lens, lens.dataset)
    frame = won_and_lost(paired, K)
    mean = frame.groupby("outcome")["share"].mean()
    finding = (
        f"On {lens.title(lens.dataset)}, {arm['arm']} alone serves {mean['won']:.1%} of users, "
        f"{baseline['arm']} alone {mean['lost']:.1%}, both {mean['both']:.1%} (target among the "
        f"first {K})"
    )
    return Panel(
        key="slices-users",
        finding=finding,
        figures=(
            Figure(chart=charts.won_and_lost(frame, str(arm["method"]), BASELINE), table=frame),
        ),
        notes=(
            f"{len(paired.users):,} users a seed. Both kinds of user exist for any two runs, "
            "two seeds of one arm included: what matters is the balance.",
        ),
        terms=("won and lost",),
        hashes=hashes_of(lens, baseline, arm),
    )


def overlap(lens: Lens) -> Panel:
    """How alike the lists are, with seeds as the yardstick."""
    _, baseline, arm = lined_up(lens, lens.dataset)
    a, b = lens.library.of_group(baseline["group"]), lens.library.of_group(arm["group"])
    frame = overlaps(a, b, K)
    if frame.empty:
        raise DigerError("no two runs with top lists to compare")
    by_kind = frame.set_index("between")["overlap"]
    between = by_kind.get("arm and baseline")
    yardstick = by_kind.drop("arm and baseline", errors="ignore")
    finding = "The lists cannot be compared between the arms"
    if between is not None:
        finding = (
            f"{sentence(arm['arm'])} and {BASELINE} share {between:.0%} of the first {K} items"
        )
        if len(yardstick):
            finding += f"; seeds of one arm share {yardstick.mean():.0%}"
    return Panel(
        key="slices-overlap",
        finding=finding,
        figures=(Figure(chart=charts.overlap(frame, K), table=frame),),
        notes=(
            "Means over users and pairs of runs. Lists that differ between arms as much as "
            "between seeds say nothing about the arms.",
        ),
        terms=("overlap",),
        hashes=hashes_of(lens, baseline, arm),
    )


def reach(lens: Lens) -> Panel:
    """Coverage of the catalogue and share of head items, every arm."""
    runs = lens.runs_of(lens.dataset)
    figures, words = [], []
    for column, title in (
        (f"test_coverage@{K}", f"items of the catalogue in some list of {K}"),
        (f"test_head_share@{K}", f"places of the lists of {K} held by head items"),
    ):
        if column not in runs.columns:
            continue
        frame = runs.loc[runs[column].notna(), ["arm", "method", "seed", column]].rename(
            columns={column: "value"}
        )
        if frame.empty:
            continue
        figures.append(
            Figure(title=title, chart=charts.reach(frame, "share"), table=frame, wide=False)
        )
        words.append((column, frame.groupby("arm")["value"].mean()))
    if not figures:
        raise DigerError("no run here has coverage or head share")
    return Panel(
        key="slices-reach",
        finding=_reach_words(lens, words),
        figures=tuple(figures),
        notes=("Bars are means over seeds, circles the seeds.",),
        terms=("coverage@k", "head share@k"),
        hashes=tuple(runs["hash"]),
    )


def _slices(lens: Lens, kind: str, key: str, by: str, words: str) -> Panel:
    paired, baseline, arm = lined_up(lens, lens.dataset)
    a = lens.library.of_group(baseline["group"])
    hashes = hashes_of(lens, baseline, arm)
    metric = lens.view.metric
    made = ("slices", hashes, metric)
    everything = lens.remember(
        made,
        lambda: lens.library.kept.frame(
            made, lambda: slice_differences(paired, metric, first_codes=first_codes(a[0]))
        ),
    )
    frame = everything[everything["slice"] == kind].reset_index(drop=True)
    if frame.empty:
        untold = "target" not in paired.users
        no_code = "their viewers are private, so these bundles tell no targets" if untold else ""
        no_code = no_code or "these runs have no semantic IDs"
        raise DigerError(no_code if kind == KINDS[3] else "no users")
    return Panel(
        key=key,
        finding=_slice_words(frame, str(arm["arm"]), by, words, metric),
        figures=(
            Figure(chart=charts.slice_forest(frame, metric, str(arm["method"])), table=frame),
        ),
        notes=(
            f"{arm['arm']} against {baseline['arm']} on {lens.title(lens.dataset)}, "
            f"{len(paired.seeds)} {'seed' if len(paired.seeds) == 1 else 'seeds'}.",
            _NOTE,
            *(
                (
                    f"Codes are those of {BASELINE}, seed {paired.seeds[0]}; the 20 with the most "
                    "users are shown.",
                )
                if kind == KINDS[3]
                else ()
            ),
        ),
        terms=("interval", "cold", "SID") if kind == KINDS[3] else ("interval", "cold"),
        hashes=hashes,
    )


def _slice_words(frame: pd.DataFrame, arm: str, by: str, words: str, metric: str) -> str:
    judged = frame[~frame["verdict"].str.startswith("under")]
    if judged.empty:
        return f"{by}: no slice has {MIN_USERS} users, so no verdict"
    if (judged["verdict"] == "too few seeds").all():
        return f"{by}: too few seeds, so differences in {metric} without a verdict"
    # Many slices are looked at, uncorrected: where they differ is a hint, and no claim.
    apart = list(judged.loc[judged["verdict"].isin(["better", "worse"]), "label"])
    if not apart:
        where = f"in any of {len(judged)} slices" if len(judged) > 1 else "in the one slice"
        return f"{by}: no interval apart from 0 {where} with enough users ({metric})"
    shown = apart[:4] + ([f"{len(apart) - 4} more"] if len(apart) > 4 else [])
    return (
        f"{by}: uncorrected intervals apart from 0 for {words.format(and_list(shown))}, of "
        f"{len(judged)} slices ({arm}, {metric})"
    )


def _reach_words(lens: Lens, words: list[tuple[str, pd.Series]]) -> str:
    try:
        baseline, arm = (row["arm"] for row in chosen(lens, lens.dataset))
    except DigerError:
        baseline, arm = "", ""
    parts = []
    for column, means in words:
        of = "of the catalogue" if "coverage" in column else "of the places to head items"
        if baseline in means.index and arm in means.index:
            parts.append(f"{arm} {means[arm]:.0%} and {baseline} {means[baseline]:.0%} {of}")
        else:
            parts.append(f"{in_words(means, '{:.0%}'.format)} {of}")
    return f"Lists of {K} show: {'; '.join(parts)}"


PAGE = Page(
    key="where",
    icon="target",
    name="Where it wins",
    question="Where does it win, and who pays?",
    builders=(by_popularity, by_length, cold, by_first_code, users, overlap, reach),
    controls=("dataset", "challenger"),
)
