"""The figures of README and docs/experiment.md are those of the bundles that come along."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from diger.bundle.documents import headline
from diger.bundle.find import list_bundles
from diger.bundle.reader import Bundle

ROOT = Path(__file__).parents[1]
ROWS = {
    "popularity": "popularity",
    "SASRec": "sasrec",
    "static SIDs": "static",
    "detached SIDs": "detached",
    "differentiable SIDs": "differentiable",
}
COLUMNS = {"Beauty": "beauty", "Scientific": "scientific", "Yelp": "yelp", "Films": "demo"}


def cells() -> list[tuple[str, str, str]]:
    """(arm, dataset, cell) of the results table."""
    lines = (ROOT / "README.md").read_text().splitlines()
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


@pytest.mark.parametrize(("arm", "dataset", "cell"), cells())
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
