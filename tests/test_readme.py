"""The figures of the README and of docs/ are those of the bundles that come along."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import pandas as pd
import pytest

from diger.bundle.documents import headline
from diger.bundle.reader import Bundle

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs"))

import single_arms  # noqa: E402  commands beside the pages, not packages
import tables  # noqa: E402


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


def test_the_single_arms_are_kept_as_their_bundles_had_them():
    arm = "ste"  # has a bundle
    rows = single_arms.found(ROOT / "checkpoints", [arm, "no such arm"])
    bundle = Bundle.open(ROOT / "checkpoints" / f"scientific-{arm}-s0", verify=False)
    assert list(rows["epoch"]) == list(bundle.history["epoch"])
    assert list(rows["drift"]) == list(bundle.history["drift"])
    kept = rows[rows["kept"]]
    assert list(kept["epoch"]) == [bundle.about.selected_epoch]
    for split in ("validation", "test"):
        assert kept[split].item() == headline(bundle.metrics, split)["metrics"]["ndcg@10"]
    last = bundle.levels[bundle.levels["epoch"] == bundle.about.selected_epoch]
    codes = list(last.sort_values("level")["perplexity"])
    assert list(kept[["codes_1", "codes_2", "codes_3"]].iloc[0]) == codes


def test_single_arms_run_again_replace_their_rows(monkeypatch, tmp_path):
    before = pd.read_parquet(single_arms.TABLE)
    assert set(before["arm"]) | set(single_arms.SHIPPED) == {
        arm for arms in single_arms.ARMS.values() for arm in arms
    }
    again = tmp_path / "checkpoints" / "scientific-light-s0"
    shutil.copytree(ROOT / "checkpoints" / "scientific-ste-s0", again)
    (tmp_path / "docs").mkdir()
    table = shutil.copy(single_arms.TABLE, tmp_path / "docs")
    monkeypatch.setattr(single_arms, "FOLDER", tmp_path / "docs")
    monkeypatch.setattr(single_arms, "TABLE", Path(table))
    assert single_arms.main() == 0
    after = pd.read_parquet(table)
    assert list(after["arm"].unique()) == list(before["arm"].unique())
    of = after[after["arm"] == "light"].drop(columns="arm").reset_index(drop=True)
    ste = single_arms.found(ROOT / "checkpoints", ["ste"]).drop(columns="arm")
    pd.testing.assert_frame_equal(of, ste, check_dtype=False)
    others = [rows[rows["arm"] != "light"].reset_index(drop=True) for rows in (before, after)]
    pd.testing.assert_frame_equal(*others)


def test_what_is_said_of_single_arms_is_in_their_table():
    prose, _, rows = (ROOT / "docs" / "ablations.md").read_text().partition("<!-- table")
    test = dict(re.findall(r"\| `([\w-]+)` \|[^|]*\|[^|]*\| (\.\d{4})", rows))
    said = re.findall(r"`([\w-]+)`[,:]\s(\.\d{4})", prose)
    assert len(said) >= 4
    assert said == [(arm, test[arm]) for arm, _ in said]
    kept = pd.read_parquet(single_arms.TABLE).query("kept").set_index("arm")
    told = " ".join(prose.split())
    moved = told[told.index("One gradient at a time") : told.index("So the labels")]
    arms = ("history", "decoder", "alignment", "labels")
    order = [f"only-{arm}" for arm in arms] + ["light"]
    order += [f"light-{arm}" for arm in ("history", "alignment", "decoder", "labels")]
    drift = [f"{100 * kept.loc[arm, 'drift']:.0f}" for arm in order]
    assert re.findall(r"(\d+) %", moved) == drift
    for arm in ("only-labels", "light-labels"):
        assert "{:.0f} and {:.0f}".format(*kept.loc[arm, ["codes_2", "codes_3"]]) in told
    first = json.loads(tables.FIRST.read_text())
    for arm in ("continued", "plain-differentiable-1e-4"):
        assert tables.number(first[f"scientific-{arm}-s0"]) in told


def test_how_far_a_run_made_twice_differs():
    said = re.search(
        r"up to (\d+) % on Scientific and (\d+) % on Beauty",
        " ".join((ROOT / "docs" / "experiment.md").read_text().split()),
    )
    rows = re.findall(r"`(scientific|beauty)-.* ([+-][\d.]+) %", tables.again())
    for dataset, percent in zip(("scientific", "beauty"), said.groups(), strict=True):
        most = max(abs(float(change)) for name, change in rows if name == dataset)
        assert float(percent) == pytest.approx(most, abs=0.51)


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
