"""The figures of the README and of docs/ are those of the bundles that come along."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from diger.bundle.documents import headline
from diger.bundle.reader import Bundle, list_bundles
from diger.evaluation.slices import slice_metrics
from diger.statistics.verdict import Claim
from diger.study.config import load_study
from diger.study.table import collect

ROOT = Path(__file__).parents[1]
RESULTS = "docs/results.md"
ROWS = {
    "popularity": "popularity",
    "SASRec": "sasrec",
    "static SIDs of text and behaviour": "fused",
    "static SIDs of text alone": "fused-text",
    "static SIDs of behaviour alone": "fused-behaviour",
    "detached SIDs of both": "fused-detached",
    "differentiable SIDs of both": "fused-differentiable",
    "static SIDs": "static",
    "detached SIDs": "detached",
    "differentiable SIDs": "differentiable",
}
COLUMNS = {"Beauty": "beauty", "Scientific": "scientific", "Yelp": "yelp", "Films": "films"}


def numbers(text: str) -> list[float]:
    """Every number in a text."""
    return [float(found) for found in re.findall(r"[+-]?\d*\.\d+", text)]


def cells(page: str = RESULTS) -> list[tuple[str, str, str]]:
    """(arm, dataset, cell) of a page's table of results."""
    lines = (ROOT / page).read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if re.match(r"\|\s*\| Beauty \|", line))
    heads = [cell.strip() for cell in lines[start].split("|")[2:-1]]
    found = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        label, *values = (cell.strip() for cell in line.split("|")[1:-1])
        arm = next((arm for name, arm in ROWS.items() if label.startswith(name)), None)
        for head, value in zip(heads, values, strict=True):
            dataset = next(name for word, name in COLUMNS.items() if head.startswith(word))
            if arm is not None:
                found.append((arm, dataset, value))
    return found


@pytest.fixture(scope="module")
def figures() -> dict[tuple[str, str], list[tuple[float, float]]]:
    """Test recall@10 and ndcg@10 of every bundle, by arm and dataset."""
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for bundle in list_bundles(ROOT / "checkpoints", verify=False):
        assert isinstance(bundle, Bundle)
        dataset = bundle.config["dataset"]["name"]
        arm = bundle.name.removeprefix(f"{dataset}-").rpartition("-s")[0]
        result = headline(bundle.metrics, "test")
        metrics = result["metrics"]
        found.setdefault((arm, dataset), []).append((metrics["recall@10"], metrics["ndcg@10"]))
    return found


def test_the_table_holds_every_arm():
    assert {arm for arm, _, _ in cells()} >= {"popularity", "sasrec", "static", "differentiable"}


@pytest.mark.parametrize(
    ("arm", "dataset", "cell"), cells() + cells("README.md") + cells("docs/content.md")
)
def test_a_cell_is_the_mean_over_the_bundles_seeds(figures, arm, dataset, cell):
    runs = figures.get((arm, dataset), [])
    if not cell:
        assert not runs, "there are bundles for this blank cell"
        return
    shown = [float(number) for number in re.findall(r"\.\d{4}", cell)]
    means = [sum(column) / len(column) for column in zip(*runs, strict=True)]
    assert shown == pytest.approx(means, abs=5.1e-5)
    seeds = re.search(r"\((\d+)\)", cell)
    assert (int(seeds[1]) if seeds else 1) == len(runs)


@pytest.mark.parametrize(
    ("page", "said", "bundles"),
    [
        ("content", r"behaviour alone come to (\S+) / (\S+) ", ["instruments-behaviour-s0"]),
        (
            "experiment",
            r"second seed: `moving` (\S+), `mapped` (\S+), `shuffled` (\S+), `fused-text` (\S+)\. ",
            [f"scientific-{arm}-s1" for arm in ("moving", "mapped", "shuffled", "fused-text")],
        ),
    ],
)
def test_figures_in_a_sentence_are_the_bundles(page, said, bundles):
    text = " ".join((ROOT / "docs" / f"{page}.md").read_text().split())
    shown = re.search(said, text)
    found = [
        headline(Bundle.open(ROOT / "checkpoints" / b, verify=False).metrics, "test")
        for b in bundles
    ]
    values = [
        one["metrics"][m]
        for one in found
        for m in (["recall@10"] if page == "content" else []) + ["ndcg@10"]
    ]
    assert shown and [float(one) for one in shown.groups()] == pytest.approx(values, abs=5.1e-5)


def test_yelp_is_compared_over_the_seeds_of_both(monkeypatch):
    text = " ".join((ROOT / "docs" / "experiment.md").read_text().split())
    monkeypatch.chdir(ROOT)
    (one,) = (
        c for c in collect(load_study(Path("studies/content.toml"))).claims if c.dataset == "yelp"
    )
    said = re.search(r"Yelp (\S+) against (\S+) over the two seeds of both", text)
    found = one.difference
    assert said and found and found.seeds == 2
    assert numbers(f"{said[1]} {said[2]}") == pytest.approx([found.arm, found.baseline], abs=5.1e-5)


def rare() -> list[list[str]]:
    """Rows of the table of rare targets in docs/content.md."""
    lines = (ROOT / "docs" / "content.md").read_text().splitlines()
    rows = [[c.strip() for c in line.split("|")[1:-1]] for line in lines]
    return [row for row in rows if len(row) == 8 and row[0].startswith("`")]


@pytest.mark.parametrize("row", rare(), ids=lambda row: row[0])
def test_a_row_of_the_rare_targets_is_its_bundles(row):
    runs = sorted((ROOT / "checkpoints").glob(f"{row[0].split('`')[1]}-s?"))
    said = re.search(r"\((\d+)\)", row[0])
    assert (int(said[1]) if said else 1) == len(runs)
    slices = [slice_metrics(Bundle.open(run, verify=False).ranks) for run in runs]
    every = pd.concat(slices).query("split == 'test' and slice == 'target popularity'")
    means = every.groupby("label", sort=False)["recall@10"].mean()
    assert [float(shown) for shown in row[1:]] == pytest.approx(means.tolist(), abs=5.1e-5)


def test_how_far_under_the_published_figures():
    text = " ".join((ROOT / RESULTS).read_text().split())
    published = re.search(r"\*published, two-stage[^|]*\|([^|]*)\|[^|]*\|([^|]*)\|", text)
    said = re.search(r"on Beauty (\d+) % / (\d+) %, on Yelp (\d+) % / (\d+) % under", text)
    assert published and said
    ours = {dataset: cell for arm, dataset, cell in cells() if arm == "static"}
    theirs = numbers(published[1] + published[2])
    found = numbers(ours["beauty"])[:2] + numbers(ours["yelp"])[:2]
    under = [100 * (1 - own / other) for own, other in zip(found, theirs, strict=True)]
    assert [float(one) for one in said.groups()] == pytest.approx(under, abs=0.6)


def ablations() -> list[list[str]]:
    """Rows of the table of single arms in docs/experiment.md."""
    lines = (ROOT / "docs" / "experiment.md").read_text().splitlines()
    return [[c.strip() for c in line.split("|")[1:-1]] for line in lines if line.startswith("| `")]


@pytest.mark.parametrize("row", ablations(), ids=lambda row: row[0])
def test_a_row_of_the_ablations_is_its_bundles(row):
    arm, _, validation, test, drift, codes = row
    bundle = Bundle.open(ROOT / "checkpoints" / f"scientific-{arm.strip('`')}-s0", verify=False)
    for split, shown in (("validation", validation), ("test", test)):
        result = headline(bundle.metrics, split)
        assert float(shown) == pytest.approx(result["metrics"]["ndcg@10"], abs=5.1e-5)
    epoch, history, levels = bundle.config["selected_epoch"], bundle.history, bundle.levels
    moved = history.loc[history["epoch"] == epoch, "drift"].item() if "drift" in history else 0.0
    assert float(drift.removesuffix(" %")) == pytest.approx(100 * moved, abs=0.51)
    last = levels[levels["epoch"] == min(epoch, levels["epoch"].max())].sort_values("level")
    effective = [float(number) for number in codes.split("/")]
    assert effective == pytest.approx(list(last["perplexity"]), abs=0.51)


@pytest.fixture(scope="module")
def claims() -> dict[str, Claim]:
    """What the studies claim of their bundles, by dataset."""
    monkey = pytest.MonkeyPatch()
    with monkey.context() as patch:
        patch.chdir(ROOT)  # studies name their folders from here
        studies = [load_study(Path("studies") / name) for name in ("main.toml", "films.toml")]
        return {one.dataset: one for study in studies for one in collect(study).claims}


def comparisons() -> list[list[str]]:
    """Rows of the table of differences in docs/experiment.md."""
    lines = (ROOT / "docs" / "experiment.md").read_text().splitlines()
    rows = [[c.strip() for c in line.split("|")[1:-1]] for line in lines]
    return [row for row in rows if row and re.search(r", \d seeds?$", row[0])]


def test_every_claim_with_a_difference_is_in_the_table(claims):
    shown = {row[0].partition(",")[0].split()[0].lower() for row in comparisons()}
    assert shown == {name for name, one in claims.items() if one.difference is not None}


@pytest.mark.parametrize("row", comparisons(), ids=lambda row: row[0])
def test_a_row_of_differences_is_what_the_study_finds(claims, row):
    where, baseline, arm, change, seeds, p = row
    name = where.partition(",")[0].split()[0].lower()
    one = claims[name]
    found = one.difference
    assert found is not None and found.lift is not None
    assert where.endswith(f", {found.seeds} seed{'s' if found.seeds > 1 else ''}")
    assert numbers(baseline + " " + arm) == pytest.approx([found.baseline, found.arm], abs=5.1e-5)
    interval = found.lift_interval
    lifts = [found.lift] + ([interval.low, interval.high] if interval else [])
    assert numbers(change) == pytest.approx([100 * value for value in lifts], abs=0.051)
    assert numbers(seeds) == pytest.approx([value for _, value in found.per_seed], abs=5.1e-5)
    adjusted = found.p_value if one.adjusted_p is None else one.adjusted_p
    assert numbers(p) == pytest.approx([] if adjusted is None else [adjusted], abs=0.0051)


@pytest.mark.parametrize("dataset", ["Scientific", "Beauty"])
def test_the_claim_about_both_sources_is_what_its_study_finds(monkeypatch, dataset):
    text = " ".join((ROOT / "docs" / "experiment.md").read_text().split())
    monkeypatch.chdir(ROOT)
    claims = collect(load_study(Path("studies/content.toml"))).claims
    one = next(one for one in claims if one.dataset == dataset.lower())
    said = re.search(
        rf"{dataset} (\S+) against (\S+) over (\w+)(?: seeds)?, (\S+) % \((.+?)\), p", text
    )
    found = one.difference
    assert said and found and found.lift is not None and found.lift_interval
    assert numbers(f"{said[1]} {said[2]}") == pytest.approx([found.arm, found.baseline], abs=5.1e-5)
    assert said[3] == "three" and found.seeds == 3
    lifts = [found.lift, found.lift_interval.low, found.lift_interval.high]
    assert numbers(f"{said[4]} {said[5]}") == pytest.approx([100 * x for x in lifts], abs=0.051)
