"""The figures of the README and of docs/ are those of the bundles that come along."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from diger.bundle.documents import headline
from diger.bundle.reader import Bundle

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs"))

import tables  # noqa: E402  a command beside the pages, not a package


def numbers(text: str) -> list[float]:
    """Every number in a text."""
    return [float(found) for found in re.findall(r"[+-]?\d*\.\d+", text)]


@pytest.mark.parametrize("page", tables.PAGES)
def test_tables_are_what_their_command_writes(page, monkeypatch):
    monkeypatch.chdir(ROOT)  # studies name their folders from there
    text = (ROOT / page).read_text()
    assert "<!-- table " in text
    assert tables.filled(page) == text, "run python docs/tables.py"


def test_what_bootstraps_found_ships_with_the_bundles(monkeypatch, tmp_path):
    monkeypatch.setenv("DIGER_CACHE", str(tmp_path))
    shipped = (ROOT / "checkpoints" / "kept.json").read_text()
    assert tables.kept() == shipped, "run python docs/tables.py"
    assert not any(tmp_path.rglob("*.json")), "nothing was left to make"


def test_how_far_under_the_published_figures():
    text = " ".join((ROOT / "docs" / "results.md").read_text().split())
    said = re.search(r"on Beauty (\d+) % / (\d+) %, on Yelp (\d+) % / (\d+) % under", text)
    theirs = numbers(" ".join(tables.reported(d, "two-stage (TIGER)") for d in ("beauty", "yelp")))
    found = [number for d in ("beauty", "yelp") for number in numbers(tables.mean(d, "static"))[:2]]
    under = [100 * (1 - own / other) for own, other in zip(found, theirs, strict=True)]
    assert said and [float(one) for one in said.groups()] == pytest.approx(under, abs=0.6)


def ablations() -> list[list[str]]:
    """Rows of the table of single arms in docs/ablations.md."""
    lines = (ROOT / "docs" / "ablations.md").read_text().splitlines()
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


def test_what_behaviour_adds_is_said_in_words():
    def lift(dataset: str, arm: str, before: str) -> float:
        one, base = (numbers(tables.mean(dataset, name))[1] for name in (arm, before))
        return one / base - 1

    assert lift("yelp", "fused", "fused-text") == pytest.approx(3 / 5, abs=0.03)  # three fifths
    assert lift("yelp", "fused-behaviour", "fused-text") == pytest.approx(7 / 10, abs=0.03)
    assert lift("films", "static", "text") == pytest.approx(1 / 9, abs=0.01)
    assert lift("films", "behaviour", "text") == pytest.approx(1 / 9, abs=0.01)
    for page in ("README.md", "docs/content.md", "docs/experiment.md"):
        said = (ROOT / page).read_text()
        assert "three fifths" in said and "a ninth" in " ".join(said.split()), page


def test_how_far_from_sasrec():
    text = (ROOT / "docs" / "content.md").read_text()
    rows = [line.split("|") for line in text.splitlines() if line.count("|") == 7]
    own = {
        row[1].strip(): (numbers(row[3])[1], numbers(row[5])[1]) for row in rows if numbers(row[5])
    }
    text = " ".join(text.split())
    behind = re.search(
        r"on Scientific by (\d+) % of ndcg@10, on Yelp by (\d+) % .*?, on the films by (\d+) %, on "
        r"Beauty by (\d+) %",
        text,
    )
    above = re.search(r"Above SASRec on Instruments\*\*, by (\d+) % of ndcg@10", text)
    assert behind and above
    said = dict(zip(("Scientific", "Yelp", "Films", "Beauty"), behind.groups(), strict=True))
    for dataset, percent in (said | {"Instruments": f"-{above[1]}"}).items():
        ours, theirs = own[dataset]
        assert 100 * (1 - ours / theirs) == pytest.approx(float(percent), abs=0.6), dataset
