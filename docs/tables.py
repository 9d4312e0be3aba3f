"""Write the tables of results in README.md and docs/ anew from the bundles in checkpoints/.

    python docs/tables.py        write them
    python docs/tables.py check  only say which are not what the bundles hold

A page holds a table between `<!-- table NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd

from diger.bundle.documents import headline
from diger.bundle.reader import Bundle
from diger.evaluation.slices import slice_metrics
from diger.statistics.sids import drifted, told
from diger.statistics.verdict import Claim
from diger.study.config import load_study
from diger.study.table import collect

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT)]  # the windows are no packages of the environment

import single_arms  # noqa: E402  a command beside the pages, as this one

from dashboard.kept import FILE, Kept  # noqa: E402
from dashboard.library import Library  # noqa: E402
from dashboard.panel import Lens, build  # noqa: E402
from dashboard.panels import matrix, slices, verdict  # noqa: E402
from dashboard.published import published  # noqa: E402
from dashboard.sources import opened  # noqa: E402
from dashboard.view import METRICS, View  # noqa: E402

PAGES = (
    "README.md",
    *(
        f"docs/{name}.md"
        for name in ("results", "content", "experiment", "epochs", "ablations", "films")
    ),
)
TITLES = {
    "beauty": "Beauty",
    "scientific": "Scientific",
    "yelp": "Yelp",
    "films": "Films",
    "instruments": "Instruments",
}
# Arms by the row that they stand in; the films and Instruments have names of their own for some.
TEXT, BEHAVIOUR, BOTH = (f"static SIDs of {x}" for x in ("text", "behaviour", "text and behaviour"))
OWN = {
    ("films", TEXT): "text",
    ("films", BEHAVIOUR): "behaviour",
    ("films", BOTH): "static",
    ("films", "differentiable SIDs of both"): "differentiable",
    ("films", "detached SIDs of both"): "detached",
    ("instruments", BEHAVIOUR): "behaviour",
}
ARMS = {
    "popularity": "popularity",
    "SASRec": "sasrec",
    "static SIDs of text, with a suffix": "static",
    TEXT: "fused-text",
    BEHAVIOUR: "fused-behaviour",
    BOTH: "fused",
    "detached SIDs of text, with a suffix": "detached",
    "detached SIDs of both": "fused-detached",
    "differentiable SIDs of text, with a suffix": "differentiable",
    "differentiable SIDs of both": "fused-differentiable",
    "published static SIDs (LETTER's), read from a file": "letter",
}
PUBLISHED = {  # rows of figures reported by others, by their names in dashboard/published.toml
    "*published, two-stage static SIDs, another decoding*": "two-stage (TIGER)",
    "*published, DIGER (FrqUD), another decoding*": "DIGER FrqUD",
}
LADDER = {
    "fused-text": "static, text",
    "fused-behaviour": "static, behaviour",
    "fused": "static, both",
    "fused-detached": "both; the tokenizer trains on by its own losses",
    "fused-differentiable": "both; and by the recommendation loss",
    "mapped": "text; a linear map of it is learned, labels' gradient and balance",
    "moving": "text; every item may leave its place, labels' gradient and balance",
    "moving-fused": "both; every item may leave its place",
    "reassigned": "text; items take the nearest codes that the recommender expects, no gradient",
    "shuffled": "text; as many codes as in `moving` change hands, by chance",
    "frozen": "static, the SIDs that `moving` ended with; a fresh recommender",
    "random": "static, codes drawn at random",
}
CLAIMS = {
    "main": "text, with a suffix",
    "content": "text and behaviour",
    "films": "text and behaviour",
    "ladder": "text, items may move",
}
_NAMES = {arm: name for name, arm in ARMS.items()}
_SOURCES = {
    arm: _NAMES[arm] for arm in ("static", "fused-text", "fused-behaviour", "fused", "sasrec")
}
RARE = {
    **dict.fromkeys(("beauty", "scientific", "yelp"), _SOURCES),
    "films": {"text": TEXT, "behaviour": BEHAVIOUR, "static": BOTH, "sasrec": _NAMES["sasrec"]},
    "instruments": {"behaviour": BEHAVIOUR, "sasrec": _NAMES["sasrec"]},
}
SEEN = ("0 (cold)", "1-4", "5-9", "10-19", "20-49", "50-199", "200-999", "1,000+")


def number(value: float) -> str:
    """A share of 1 as a page writes it: .0123, -.0045."""
    return f"{value:.4f}".replace("0.", ".", 1)


@cache
def bundles(dataset: str, arm: str) -> tuple[Bundle, ...]:
    """Bundles of an arm, one a seed."""
    found = sorted((ROOT / "checkpoints").glob(f"{dataset}-{arm}-s[0-9]"))
    return tuple(Bundle.open(path, verify=False) for path in found)


def metric(bundle: Bundle, name: str, split: str = "test") -> float:
    """A headline metric."""
    return float(headline(bundle.metrics, split)["metrics"][name])


def mean(dataset: str, arm: str) -> str:
    """`recall / ndcg (seeds)`, blank where nothing was run."""
    return _means([headline(b.metrics, "test")["metrics"] for b in bundles(dataset, arm)])


def reported(dataset: str, name: str) -> str:
    """As `mean`, of what others published; blank where they did not."""
    rows = published()
    values = rows[(rows["dataset"] == dataset) & (rows["name"] == name)].set_index("metric")[
        "value"
    ]
    return " / ".join(number(values[m]) for m in ("recall@10", "ndcg@10") if m in values)


def _means(found: list[dict[str, float]]) -> str:
    if not found:
        return ""
    both = (number(np.mean([one[m] for one in found])) for m in ("recall@10", "ndcg@10"))
    return " / ".join(both) + (f" ({len(found)})" if len(found) > 1 else "")


def table(head: list[str], rows: list[list[str]]) -> str:
    """Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def results(datasets: list[str], arms: list[str], published: bool = False) -> str:
    """Arms by datasets."""
    rows = [[arm, *(mean(d, of(d, arm)) for d in datasets)] for arm in ARMS if arm in arms]
    if published:
        rows += [[row, *(reported(d, name) for d in datasets)] for row, name in PUBLISHED.items()]
    return table(["", *(TITLES[d] for d in datasets)], rows)


def of(dataset: str, row: str) -> str:
    """The arm of a row on a dataset; "" where there is none."""
    shared = dataset not in ("films", "instruments") or ARMS[row] in ("popularity", "sasrec")
    return OWN.get((dataset, row), ARMS[row] if shared or ARMS[row] == "letter" else "")


def content() -> str:
    """What each source is worth, and how much of behaviour the text foretells."""
    datasets = ["beauty", "scientific", "yelp", "films"]
    lines = results(datasets, [*SHORT, list(ARMS)[2], BEHAVIOUR, "detached SIDs of both"])
    shares = [
        source.foretold
        for d in datasets
        for source in bundles(d, of(d, BOTH))[0].about.content.sources
        if source.foretold is not None
    ]
    told = " | ".join(f"*{100 * share:.1f} %*" for share in shares)
    return f"{lines}\n| *text foretells of behaviour* | {told} |"


def hybrid(dataset: str, arm: str) -> str:
    """As `mean`, of the seeds whose bundles hold hybrid decoding of the test split too."""
    return _means(
        [
            result["metrics"]
            for bundle in bundles(dataset, arm)
            for result in bundle.metrics["results"]
            if result["split"] == "test" and result["decoding"].startswith("hybrid")
        ]
    )


def level() -> str:
    """Each dataset's best static SIDs beside the published ones and SASRec.

    The best by validation, of those with most seeds.
    """
    rows = []
    for dataset, title in TITLES.items():
        arms = [own for row in (TEXT, BEHAVIOUR, BOTH) if bundles(dataset, own := of(dataset, row))]
        best = max(
            arms,
            key=lambda arm: (  # one seed says too little to choose by
                len(bundles(dataset, arm)),
                np.mean([metric(b, "ndcg@10", "validation") for b in bundles(dataset, arm)]),
            ),
        )
        alone, both = mean(dataset, best), hybrid(dataset, best)
        theirs = reported(dataset, "DIGER FrqUD")
        rows.append([title, f"`{best}`", alone, both, mean(dataset, "sasrec"), theirs])
    head = ["", "static SIDs", "SIDs alone", "hybrid", "our SASRec", "published DIGER (FrqUD)"]
    return table(head, rows)


@cache
def claims(study: str) -> tuple[Claim, ...]:
    """What a study claims of its bundles."""
    return tuple(collect(load_study(Path("studies") / f"{study}.toml")).claims)


def declared() -> str:
    """Every declared comparison that has a difference."""
    rows = []
    for study, what in CLAIMS.items():
        for one in claims(study):
            found = one.difference
            if found is None or found.lift is None:
                continue
            span = one.band
            ends = f" ({100 * span.low:+.1f} to {100 * span.high:+.1f})" if span else ""
            own, p = found.p_value, one.adjusted_p
            rows.append(
                [
                    f"{TITLES[one.dataset]}, {what}",
                    str(found.seeds),
                    number(found.baseline),
                    number(found.arm),
                    f"{100 * found.lift:+.1f} %{ends}",
                    " ".join(f"{value:+.4f}".replace("0.", ".", 1) for _, value in found.per_seed),
                    "" if own is None else f"{own:.2f}".removeprefix("0"),
                    "" if p is None else f"{p:.2f}".removeprefix("0"),
                ]
            )
    head = ["", "seeds", "static", "joint", "change, %, 95 %", "each seed", "p", "p, Holm"]
    return table(head, rows)


def ladder() -> str:
    """The rungs on Scientific, means over seeds."""
    rows = []
    for arm, what in LADDER.items():
        found = bundles("scientific", arm)
        if not found:
            continue
        last = [b.levels[b.levels["epoch"] == _kept(b)].sort_values("level") for b in found]
        codes = np.mean([level["perplexity"].to_numpy() for level in last], axis=0)
        tests = [metric(b, "ndcg@10") for b in found]
        rows.append(
            [
                f"`{arm}`",
                what,
                number(np.mean([metric(b, "ndcg@10", "validation") for b in found])),
                f"{number(np.mean(tests))} ({len(found)})",
                " ".join(map(number, tests)),
                f"{100 * (drifted(found) or 0):.0f} %",
                " / ".join(f"{x:.0f}" for x in codes),
                f"{np.mean([told(b)[b.about.selected_epoch] for b in found]):.2f}",
            ]
        )
    head = ["rung", "what", "validation", "test", "each seed", "changed SIDs"]
    return table([*head, "effective codes", "nats told of the first code"], rows)


def everywhere() -> str:
    """Every rung on every dataset: test ndcg@10, and the share of items whose SID changed."""
    rows, named = [], {arm: row for row, arm in ARMS.items()}
    for arm in (*LADDER, "sasrec", "popularity"):
        cells = []
        for dataset in TITLES:
            found = bundles(dataset, of(dataset, named[arm]) if arm in named else arm)
            seeds = f" ({len(found)})" if len(found) > 1 else ""
            moved = drifted(found)
            words = f", {100 * moved:.0f} %" if moved else ""
            value = np.mean([metric(b, "ndcg@10") for b in found]) if found else 0.0
            cells.append(f"{number(value)}{seeds}{words}" if found else "")
        rows.append([f"`{arm}`", *cells])
    return table(["rung", *TITLES.values()], rows)


def _kept(bundle: Bundle) -> int:
    """The epoch of `levels` that the bundle's SIDs are of."""
    return min(bundle.about.selected_epoch or 0, int(bundle.levels["epoch"].max()))


# Test ndcg@10 of the first of two runs, whose bundle is in the history alone (git log --
# checkpoints/NAME).
FIRST = ROOT / "docs" / "first_runs.json"
MOVED = (
    "detached",
    "detached-unscaled",
    "differentiable",
    "differentiable-unscaled",
    *single_arms.VARIANTS,
    "fused-detached",
    "fused-differentiable",
    "mapped",
    "moving",
    "moving-fused",
    "reassigned",
    "shuffled",
)


def over_epochs(dataset: str) -> str:
    """What became of the SIDs epoch by epoch, in the seeds that recorded all of it."""
    rows, epochs = [], (1, 2, 3, 4, 6) if dataset == "films" else (1, 5, 10, 15, 20)
    fixed = [of(dataset, row) for row in ("static SIDs of text, with a suffix", TEXT, BOTH)]
    for arm in (*fixed, *MOVED):
        moves = arm in MOVED
        found = [b for b in bundles(dataset, arm) if not moves or "target_entropy_1" in b.history]
        if found:
            every = pd.concat([single_arms.epochs(arm, bundle) for bundle in found])
            rows.append([f"`{arm}` ({len(found)})", *_cells(every, epochs, moves)])
    return table(["arm", *(f"epoch {epoch}" for epoch in epochs)], rows)


def _cells(rows: pd.DataFrame, epochs: Sequence[int], moves: bool = True) -> list[str]:
    """Means of `single_arms.epochs`: the nats alone where SIDs are fixed; blank after the end."""
    means = rows.groupby("epoch")[["drift", "codes_1", "nats", "collisions"]].mean()
    cells = []
    for drift, codes, nats, shared in means.reindex(epochs).itertuples(index=False):
        words = f"{100 * drift:.0f} % / {codes:.0f} / {nats:.2f} / {shared:,.0f}"
        cells.append("" if np.isnan(nats) else words if moves else f"{nats:.2f}")
    return cells


def singles() -> str:
    """Every single arm at the epoch that was kept, from its bundle or from the table."""
    shipped = single_arms.found(ROOT / "checkpoints", single_arms.SHIPPED)
    rows = pd.concat([shipped, pd.read_parquet(single_arms.TABLE)])
    lines, kept = [], rows.query("kept").set_index("arm")
    for asks, arms in single_arms.ARMS.items():
        lines += [[f"*{asks}*", *[""] * 6]] if asks else []
        for arm, what in arms.items():
            row = kept.loc[arm]
            codes = " / ".join(f"{row[f'codes_{level}']:.0f}" for level in (1, 2, 3))
            drift = f"{100 * row['drift']:.0f} %" if row["drift"] > 0 else "0 %"
            figures = (number(row["validation"]), number(row["test"]), drift, codes)
            lines.append([f"`{arm}`", what, *figures, f"{row['nats']:.2f}"])
    head = ["arm", "what", "validation", "test", "changed SIDs", "effective codes", "nats told"]
    return table(head, lines)


def singles_over_epochs() -> str:
    """The single arms without a bundle, whose SIDs may move, as `over_epochs`."""
    rows, epochs = [], (1, 5, 10, 15, 20)
    for arm, of in pd.read_parquet(single_arms.TABLE).groupby("arm", sort=False):
        if of["drift"].isna().all():
            continue
        rows.append([f"`{arm}`", *_cells(of, epochs)])
    return table(["arm", *(f"epoch {epoch}" for epoch in epochs)], rows)


def again() -> str:
    """Runs that were made twice: what the same seed came to."""
    singles = pd.read_parquet(single_arms.TABLE).query("kept").set_index("arm")["test"]
    now = {f"scientific-{arm}-s0": test for arm, test in singles.items()}
    rows = []
    for name, first in json.loads(FIRST.read_text()).items():
        if name not in now:
            bundle = Bundle.open(ROOT / "checkpoints" / name, verify=False)
            now[name] = metric(bundle, "ndcg@10")
        change = f"{100 * (now[name] / first - 1):+.1f} %"
        rows.append([f"`{name}`", number(first), number(now[name]), change])
    return table(["run", "first", "again", "change"], rows)


def rare() -> str:
    """Recall@10 by how often the target was seen in training."""
    rows = []
    for dataset, arms in RARE.items():
        rows.append([f"*{TITLES[dataset]}*", *[""] * len(SEEN)])
        for arm, what in arms.items():
            found = bundles(dataset, arm)
            slices = pd.concat([slice_metrics(b.ranks) for b in found])
            targets = slices.query("split == 'test' and slice == 'target popularity'")
            # Of fewer targets the figure would say nothing.
            means = targets[targets["users"] >= 30].groupby("label")["recall@10"].mean()
            seeds = f" ({len(found)})" if len(found) > 1 else ""
            rows.append([what + seeds, *(number(means[x]) if x in means else "" for x in SEEN)])
    return table(["", "none", *SEEN[1:-1], "1,000 or more"], rows)


FILMS = {
    "static": "static SIDs of text and behaviour, `films`",
    "text": "static SIDs of text",
    "behaviour": "static SIDs of behaviour",
    "detached": "detached SIDs of both",
    "differentiable": "differentiable SIDs of both",
    "sasrec": "SASRec on the same histories",
    "in-order": "static SIDs, histories as they are",
    "sasrec-in-order": "SASRec, histories as they are",
    "popularity": "popularity",
}


def films() -> str:
    """Every arm on the films."""
    rows = []
    for arm, what in FILMS.items():
        found = bundles("films", arm)
        if found:
            both = mean("films", arm).partition(" (")[0].split(" / ")
            rows.append([f"{what} (`{arm}`)", *both, str(len(found))])
    return table(["arm", "recall@10", "ndcg@10", "seeds"], rows)


SHORT = [TEXT, BOTH, "differentiable SIDs of both", "SASRec"]
TABLES: dict[str, Callable[[], str]] = {
    "short": lambda: results(["beauty", "scientific", "yelp", "films"], SHORT),
    "results": lambda: results(list(TITLES), list(ARMS), published=True),
    "content": content,
    "level": level,
    "claims": declared,
    "ladder": ladder,
    "everywhere": everywhere,
    **{f"epochs-{dataset}": partial(over_epochs, dataset) for dataset in TITLES},
    "singles": singles,
    "epochs-singles": singles_over_epochs,
    "again": again,
    "rare": rare,
    "films": films,
}
_PLACE = re.compile(r"(<!-- table (\S+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def filled(page: str) -> str:
    """A page's text with its tables from the bundles."""
    text = (ROOT / page).read_text()
    return _PLACE.sub(lambda m: f"{m[1]}{TABLES[m[2]]()}\n{m[4]}", text)


def kept() -> str:
    """What bootstraps found for the dashboard's first views, made anew where it is not known."""
    folder = ROOT / "checkpoints"
    library = Library.of(opened([folder]), kept=Kept.beside([folder]))
    for metric in METRICS:
        for builder in (verdict.decision, verdict.details, matrix.content):
            build(builder, Lens(library, View(metric=metric)))
        for dataset in library.runs["dataset"].unique():
            build(slices.PAGE.builders[0], Lens(library, View(metric=metric, dataset=dataset)))
    used = dict(sorted(library.kept.used.items()))
    return "{\n" + ",\n".join(f'"{k}": {json.dumps(v)}' for k, v in used.items()) + "\n}\n"


def main() -> int:
    """Write or check every page and what is kept; the number of those that were out of date."""
    os.chdir(ROOT)  # studies name their folders from there
    stale = 0
    path = ROOT / "checkpoints" / FILE
    found = kept()
    if not path.exists() or path.read_text() != found:
        stale += 1
        print(path.relative_to(ROOT))
        if sys.argv[1:] != ["check"]:
            path.write_text(found)
    for page in PAGES:
        text = filled(page)
        if text != (ROOT / page).read_text():
            stale += 1
            print(page)
            if sys.argv[1:] != ["check"]:
                (ROOT / page).write_text(text)
    return stale if sys.argv[1:] == ["check"] else 0


if __name__ == "__main__":
    sys.exit(main())
