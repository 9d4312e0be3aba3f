"""What the dashboard shows of the bundles that ship, computed again from their files.

What is expected is made here with pandas, numpy and scipy from the parquet and JSON files alone;
of the dashboard's own code comes only which bundles a figure is about.
"""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

pytest.importorskip("streamlit", reason="the dashboard needs it")
pytest.importorskip("altair", reason="the dashboard needs it")

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from dashboard import sources  # noqa: E402
from dashboard.analysis import claims, comparable  # noqa: E402
from dashboard.kept import VARIABLE  # noqa: E402
from dashboard.library import Library  # noqa: E402
from dashboard.pages import PAGES  # noqa: E402
from dashboard.panel import Lens, build  # noqa: E402
from dashboard.view import View  # noqa: E402

ALL = {builder.__name__: builder for page in PAGES for builder in page.builders}


@pytest.fixture(scope="module")
def lens(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, str(tmp_path_factory.mktemp("cache")))
        library = Library.of(sources.opened([ROOT / "checkpoints"]))
        yield Lens(library, View(dataset="scientific"))


@pytest.fixture(scope="module")
def panels(lens):
    # Two bundles for Compare.
    view = lens.view.but(a="scientific-static-s0", b="scientific-differentiable-s0")
    return {name: build(builder, Lens(lens.library, view)) for name, builder in ALL.items()}


def frame(path, name):
    return pd.read_parquet(Path(path) / f"{name}.parquet")


def config(path):
    return json.loads((Path(path) / "config.json").read_text())


def test_ranks(path, split="test"):
    part = frame(path, "ranks").query("split == @split")
    return part.sort_values("user")["rank"].to_numpy(float)


test_ranks.__test__ = False


def gains(path, metric, split="test"):
    """(users,) of a metric, from ranks; not decoded is no hit."""
    name, k = metric.split("@")
    rank = test_ranks(path, split)
    hit = np.nan_to_num(rank, nan=np.inf) <= int(k)
    each = {"recall": 1.0, "ndcg": 1 / np.log2(rank + 1), "mrr": 1 / rank}[name]
    return np.where(hit, each, 0.0)


def seeds(lens, group):
    """Paths of an arm's runs by seed."""
    rows = lens.library.runs.query("group == @group")
    return {config(path)["seed"]: path for path in rows["path"]}


def paired(lens, groups, metric):
    """(seeds, users) of both arms, over the seeds that both have."""
    one, other = (seeds(lens, group) for group in groups)
    both = sorted(one.keys() & other.keys())
    return tuple(np.stack([gains(arm[s], metric) for s in both]) for arm in (one, other))


def resampled(a, b, count=500):
    """Bootstrap means of both arms, over seeds and users drawn anew, one replicate at a time."""
    rng = np.random.default_rng(7)
    for _ in range(count):
        users = rng.integers(0, a.shape[1], a.shape[1])
        runs = rng.integers(0, len(a), len(a))
        yield a[runs][:, users].mean(), b[runs][:, users].mean()


def holm(raw):
    order = np.argsort(raw)
    steps = np.maximum.accumulate(np.sort(raw) * np.arange(len(raw), 0, -1))
    return dict(zip(order, np.minimum(steps, 1), strict=True))


def test_the_verdict(lens, panels):
    listed = claims(lens, "ndcg@10", simulated=False)
    chart = panels["main_metric"].figures[0].table.set_index("title")
    table = panels["details"].figures[0].table.query("metric == 'ndcg@10'").set_index("dataset")
    raw = []
    for one in listed:
        a, b = paired(lens, one.groups, "ndcg@10") if one.groups else (np.zeros((0, 1)),) * 2
        if len(a) < 2:
            raw.append(1.0)
            continue
        each = (b - a).mean(axis=1)
        t = stats.ttest_1samp(each, 0)
        draws = np.array(list(resampled(a, b)))
        tail = [(draws[:, 1] <= draws[:, 0]).mean(), (draws[:, 1] >= draws[:, 0]).mean()]
        raw.append(float(table.loc[one.title, "p"]))
        noise = 2 * np.sqrt(min(tail) * (1 - min(tail)) / len(draws))  # few draws here
        expected = max(t.pvalue, 2 * min(tail))
        assert raw[-1] == pytest.approx(expected, abs=0.01 + 3 * noise)
        row = table.loc[one.title]
        assert float(row["baseline value"]) == pytest.approx(a.mean(), abs=5.1e-5)
        assert float(row["arm value"]) == pytest.approx(b.mean(), abs=5.1e-5)
        told = re.findall(r"[+-]\d\.\d+", row["difference of each seed"])
        assert np.array(told, float) == pytest.approx(each, abs=5.1e-5)
        shown = chart.loc[one.title]
        assert shown["lift"] == pytest.approx(b.mean() / a.mean() - 1)
        if len(a) < 3:
            assert np.isnan(shown["low"]) and row["verdict"] == "too few seeds"
            continue
        ratios = np.quantile(draws[:, 1] / draws[:, 0] - 1, [0.025, 0.975])
        student = np.array(t.confidence_interval()) / a.mean()
        wanted = min(ratios[0], student[0]), max(ratios[1], student[1])
        assert (shown["low"], shown["high"]) == pytest.approx(wanted, abs=0.006)
    for place, adjusted in holm(raw).items():
        told = table.loc[listed[place].title, "p, Holm"] if listed[place].groups else ""
        assert not told or float(told) == pytest.approx(adjusted, abs=2e-4 * len(raw))
    decided = {c.title: c for c in listed}
    assert "better" not in {c.outcome for c in decided.values()} or "Use" in str(panels["decision"])


def test_the_leaderboard(lens, panels):
    table = panels["table"].figures[0].table
    arms = lens.summary.set_index(["title", "arm"])["group"]
    assert len(table) == len(arms)
    for row in table.to_dict("records"):
        paths = list(seeds(lens, arms[row["dataset"], row["arm"]]).values())
        about = [config(path) for path in paths]
        assert row["seeds"] == len(paths)
        for metric in ("ndcg@10", "recall@5", "mrr@10") if len(paths) < 9 else ():
            if not all((Path(path) / "ranks.parquet").exists() for path in paths):
                continue
            each = [gains(path, metric).mean() for path in paths]
            assert row[metric] == pytest.approx(np.mean(each))
            if len(each) > 1:
                assert row[f"± {metric}"] == pytest.approx(np.std(each, ddof=1))
        spent = [
            sum(
                s
                for what, s in one["seconds"].items()
                if what not in ("evaluation", "this sitting")
            )
            for one in about
        ]
        assert row["seconds"] == pytest.approx(np.mean(spent))
        memory = np.mean([one["peak_memory_bytes"] for one in about])
        assert row["memory (MiB)"] == pytest.approx(memory / 2**20)
        assert row["parameters"] == np.mean([one["parameters"] for one in about])
    for _, rows in table.groupby("dataset"):
        assert list(rows["rank"]) == list(rows["ndcg@10"].rank(ascending=False, method="min"))


def test_ingredients(lens, panels):
    listed = [f for name in ("content", "training", "controls") for f in panels[name].figures]
    everything = Lens(lens.library, lens.view.but(variants=True)).summary
    groups = everything.set_index(["title", "arm"])["group"]
    compared = 0
    for figure in listed:
        for row in figure.table.to_dict("records"):
            title = row["title"].partition(",")[0]
            pair = [groups[title, row[side]] for side in ("baseline", "arm")]
            a, b = paired(lens, pair, "ndcg@10")
            assert row["lift"] == pytest.approx(b.mean() / a.mean() - 1)
            if (
                len(a) > 2
            ):  # the interval spans Student's, and goes little beyond where that is wide
                student = stats.ttest_1samp((b - a).mean(axis=1), 0).confidence_interval()
                assert row["low"] <= student.low / a.mean() + 1e-9
                assert row["high"] >= student.high / a.mean() - 1e-9
            else:
                assert np.isnan(row["low"])
            compared += 1
    assert compared >= 20
    told = {}
    for path in (ROOT / "checkpoints").glob("*/config.json"):
        about = config(path.parent)
        for source in (about.get("content") or {}).get("sources", ()):
            if "foretold" in source:
                told[about["dataset"]["name"].title()] = source["foretold"]
    chart = panels["foretold"].figures[0].table
    assert chart["share"].tolist() == [told[title] for title in chart["title"]]
    rows = [row for f in listed for row in f.table.itertuples()]
    known = {(row.title.partition(",")[0], round(row.lift, 12)) for row in rows}
    assert {(row.title, round(row.lift, 12)) for row in chart.itertuples()} <= known
    chart = panels["moved"].figures[0].table
    assert {(row.title, round(row.lift, 12)) for row in chart.itertuples()} <= known
    moved = []
    for path in (ROOT / "checkpoints").glob("scientific-moving-s?"):
        items = frame(path, "items")
        changed = [items[f"code_{j}"] != items[f"start_code_{j}"] for j in (1, 2, 3)]
        moved.append(np.any(changed, axis=0).mean())
    row = chart.query(
        "title == 'Scientific' and what == 'items that may move against static on text'"
    )
    assert row["share"].item() == pytest.approx(np.mean(moved)) and len(moved) == 5
    for figure in panels["cells"].figures:
        for row in figure.table.dropna(subset=["value"]).to_dict("records"):
            rows = everything.query("title == @figure.title and method == @row['method']")
            means = [
                np.mean([gains(path, "ndcg@10").mean() for path in seeds(lens, group).values()])
                for group in rows["group"]
            ]
            assert np.isclose(means, row["value"]).any(), row["name"]


def test_where_it_wins(lens, panels):
    (one,) = [c for c in claims(lens, "ndcg@10", simulated=False) if c.dataset == "scientific"]
    before, after = (seeds(lens, group) for group in one.groups)
    for seed, rows in panels["users"].figures[0].table.groupby("seed"):
        was, now = (test_ranks(arm[seed]) <= 10 for arm in (before, after))
        told = rows.set_index("outcome")["users"].to_dict()
        assert told["won"] == (now & ~was).sum() and told["lost"] == (was & ~now).sum()
    a, b = paired(lens, one.groups, "ndcg@10")
    facts = frame(before[0], "ranks").query("split == 'test'").sort_values("user")
    popularity = frame(before[0], "items")["training_popularity"].to_numpy()
    seen = popularity[facts["target"]]
    table = panels["by_popularity"].figures[0].table.set_index("label")
    cold = panels["cold"].figures[0].table.set_index("label")
    for label, row in table.iterrows():
        ends = [int(end) for end in re.findall(r"\d+", label.replace(",", ""))]
        low, high = ends[0], 10**9 if len(ends) == 1 and ends[0] else ends[-1]
        mask = (seen >= low) & (seen <= high)
        assert row["users"] == mask.sum()
        assert row["difference"] == pytest.approx((b - a)[:, mask].mean())
    assert cold.loc["cold", "users"] == (seen == 0).sum()
    long = panels["by_length"].figures[0].table
    assert long["users"].sum() == len(facts)
    weighted = (long["difference"] * long["users"]).sum() / len(facts)
    assert weighted == pytest.approx((b - a).mean())
    lists = [
        {
            s: frame(p, "topk").sort_values("user").iloc[:, 1:11].to_numpy()
            for s, p in arm.items()
            if Path(p, "topk.parquet").exists()
        }
        for arm in (before, after)
    ]
    shared = np.mean(
        [
            [
                len(set(x) & set(y) - {-1}) / 10
                for x, y in zip(lists[0][s], lists[1][s], strict=True)
            ]
            for s in sorted(lists[0].keys() & lists[1].keys())
        ]
    )
    told = panels["overlap"].figures[0].table.set_index("between").loc["arm and baseline"]
    assert told["overlap"] == pytest.approx(shared)
    reach = panels["reach"].figures[0].table.set_index(["arm", "seed"])["value"]
    for seed, top in lists[0].items():
        covered = len(set(top.ravel()) - {-1}) / len(popularity)
        assert reach[one.baseline, seed] == pytest.approx(covered)


def test_training_codebooks_and_drift(lens, panels):
    runs = lens.runs_of("scientific")
    best, moved, effective, dead, shared = {}, {}, {}, {}, {}
    for row in runs.to_dict("records"):
        path, key = Path(row["path"]), (row["arm"], row["seed"])
        if (path / "history.parquet").exists():
            best[key] = frame(path, "history")["validation_ndcg@10"].max()
        if row["content"] == "" or not (path / "items.parquet").exists():
            continue
        codes = frame(path, "items").filter(regex=r"^code_").to_numpy()
        start = frame(path, "items").filter(regex=r"^start_code_").to_numpy()
        share = np.bincount(codes[:, 0]) / len(codes)
        effective[key] = np.exp(stats.entropy(share[share > 0]))
        dead[key] = sum(256 - len(set(level)) for level in codes.T)
        if start.size:
            moved[key] = (codes != start).any(axis=1).mean()
            shared[key] = pd.DataFrame(codes).duplicated(keep=False).sum()
    curve = panels["validation"].figures[0].table
    told = curve.groupby(["arm", "seed"])["validation_ndcg@10"].max().to_dict()
    assert told == pytest.approx({k: v for k, v in best.items() if k in told})
    assert set(best) == set(told)
    # The bundle's codes are those of the selected epoch.
    chosen = runs.set_index(["arm", "seed"])["selected_epoch"]

    def at_selected(name, column, level=None):
        table = panels[name].figures[0].table
        table = table if level is None else table[table["level"] == level]
        found = table.drop_duplicates(["arm", "seed", "epoch"]).set_index(["arm", "seed", "epoch"])
        return lambda key: found[column][(*key, 0 if key not in moved else int(chosen[key]))]

    drift, codes = at_selected("over_epochs", "drift"), at_selected("effective", "perplexity", 1)
    collide = at_selected("collisions", "collisions")
    for key in moved:
        assert drift(key) == pytest.approx(moved[key])
        assert collide(key) == shared[key]
    for key, value in effective.items():
        assert codes(key) == pytest.approx(value)
    levels = panels["by_level"].figures[0].table.query("level == 0").set_index("arm")["share"]
    means = pd.Series(moved).groupby(level=0).mean()
    for arm, value in means.items():
        assert levels[arm] == pytest.approx(value)
    fixed = {k: v for k, v in dead.items() if k not in moved}
    every = pd.concat([f.table.assign(at=i) for i, f in enumerate(panels["dead"].figures)])
    ends = every.sort_values("epoch").groupby(["arm", "seed", "at"])["dead"].last()
    for key, value in fixed.items():
        assert ends[key].sum() == value


def test_cost_and_two_bundles(lens, panels):
    rows = comparable(lens, "scientific", "ndcg@10")[0].set_index("arm")
    seconds = panels["seconds"].figures[0].table.set_index("arm")["cost"]
    cost = {}
    for arm, group in rows["group"].items():
        paths = seeds(lens, group).values()
        about = [config(path) for path in paths]
        fastest = [
            0.0 if arm == "popularity" else frame(path, "history")["seconds"].min()
            for path in paths
        ]
        names = ("peak_memory_bytes", "parameters")
        cost[arm] = [np.mean(fastest), *(np.mean([one[n] for one in about]) for n in names)]
        assert seconds[arm] == pytest.approx(cost[arm][0])
    whole = pd.DataFrame(cost, index=["time", "memory", "size"]).T
    scaled = (whole - whole.min()) / (whole.max() - whole.min())
    tpme = 0.45 * scaled["time"] + 0.10 * scaled["size"] + 0.45 * scaled["memory"]
    table = panels["composite"].figures[0].table.set_index("arm")["TPME (lower is cheaper)"]
    assert table.to_dict() == pytest.approx(tpme.to_dict())
    pair = [ROOT / "checkpoints" / f"scientific-{arm}-s0" for arm in ("static", "differentiable")]
    for row in panels["metrics"].figures[0].table.to_dict("records"):
        for side, path in zip(("a", "b"), pair, strict=True):
            assert row[side] == pytest.approx(gains(path, row["metric"]).mean())
    one, other = (frame(path, "items").filter(regex=r"^code_").to_numpy() for path in pair)
    assert f"{(one != other).any(axis=1).sum():,} of {len(one):,} items" in panels["items"].finding
