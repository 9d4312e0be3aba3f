"""Runs, groups, guards, pairing and summaries, on toy bundles."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from toy_bundles import write_run, write_study

from diger.bundle import Bundle, list_bundles
from diger.errors import DigerError
from diger.statistics import (
    choose_group,
    claim,
    holm,
    in_words,
    judge,
    pair,
    refusals,
    summarise,
    summary_frame,
)
from diger.statistics.bootstrap import Difference, Interval
from diger.statistics.runs import arm_label, repeated, runs_frame
from diger.statistics.verdict import Claim


def opened(folder):
    return [b for b in list_bundles(folder) if isinstance(b, Bundle)]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return opened(write_study(tmp_path_factory.mktemp("study"), seeds=3, users=250))


def test_a_run_is_a_row_with_its_metrics_and_costs(tmp_path):
    bundle = Bundle.open(write_run(tmp_path, method="static", seed=4, quality=0.3))
    row = runs_frame([bundle]).iloc[0]
    assert (row["dataset"], row["arm"], row["seed"]) == ("toys", "static", 4)
    result = bundle.metrics["results"][1]
    assert row["test_ndcg@10"] == result["metrics"]["ndcg@10"]
    assert row["decoding"] == "constrained beam search, 20 beams"
    assert row["seconds"] == pytest.approx(
        bundle.config["seconds"]["tokenizer"] + bundle.config["seconds"]["training"]
    )
    assert row["hash"] == bundle.hash


def test_labels_say_decay_and_noise_only_where_they_are_not_the_methods_own():
    assert arm_label("static", "none", "none") == "static"
    assert arm_label("differentiable", "sdud+frqud", "gumbel") == "differentiable (sdud+frqud)"
    assert arm_label("differentiable", "none", "gumbel") == "differentiable (no decay)"
    assert arm_label("differentiable", "frqud", "gaussian") == "differentiable (frqud, gaussian)"
    assert arm_label("detached", "frqud", "gumbel") == "detached (frqud)"
    assert arm_label("ste", "none", "none") == "ste"


def test_of_equals_the_recipe_called_like_the_method_keeps_the_plain_label(tmp_path):
    write_run(tmp_path, method="ste", recipe="random-ste", name="a")
    write_run(tmp_path, method="ste", recipe="ste", name="b")
    frame = runs_frame(opened(tmp_path)).set_index("bundle")
    assert frame.loc["b", "arm"] == "ste" and frame.loc["a", "arm"] == "ste [random-ste]"


def test_another_recipe_is_another_arm_and_is_never_pooled(tmp_path):
    for seed in range(2):
        write_run(tmp_path, seed=seed)
    write_run(tmp_path, seed=2, recipe="wide", name="wide-s2")
    runs, summary = summarise(opened(tmp_path))
    assert list(summary["arm"]) == ["static", "static [wide]"]
    assert list(summary["seeds"]) == [2, 1]
    assert runs["group"].nunique() == 2


def test_a_name_or_a_path_does_not_make_another_recipe(tmp_path):
    for seed in range(2):
        recipe = {"name": f"r{seed}", "about": "x", "tokenizer": {"file": {"path": f"/{seed}"}}}
        write_run(tmp_path, seed=seed, whole_recipe=recipe)
    _, summary = summarise(opened(tmp_path))
    assert list(summary["seeds"]) == [2]


def test_a_seed_counts_once(tmp_path):
    write_run(tmp_path, seed=0, name="a")
    write_run(tmp_path, seed=0, name="b", memory=1 << 20)
    runs, summary = summarise(opened(tmp_path))
    assert list(repeated(runs)) == [False, True]
    assert summary["seeds"].iloc[0] == 1
    assert summary["left_out"].iloc[0] == "b"


def test_the_summary_by_hand():
    runs = runs_frame([])
    rows = []
    for seed, value in ((0, 0.1), (1, 0.2), (2, 0.6)):
        rows.append(
            dict.fromkeys(runs.columns, "x")
            | {"dataset": "d", "group": "g", "arm": "static", "seed": seed, "bundle": f"b{seed}"}
            | {"simulated": False, "users": 1.0, "items": 1.0, "threads": 2.0, "device": "cpu"}
            | {"seconds": 10.0 * seed, "memory_bytes": 1.0, "parameters": 1.0}
            | {"test_ndcg@10": value, "test_recall@10": value if seed else float("nan")}
        )
    one = summary_frame(pd.DataFrame(rows)).iloc[0]
    assert one["test_ndcg@10"] == pytest.approx(0.3)
    assert one["test_ndcg@10_std"] == pytest.approx(np.sqrt(0.07))
    assert one["seconds"] == 10.0 and one["seconds_std"] == 10.0
    assert np.isnan(one["test_recall@10"])  # one seed did not measure it: blank, not averaged
    assert one["seed_list"] == "0, 1, 2" and one["hardware"] == "x, 2 threads"


def test_no_runs_give_empty_frames():
    runs, summary = summarise([])
    assert runs.empty and summary.empty and "arm" in summary.columns


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"fingerprint": "0" * 64}, "different data"),
        ({"dataset": "others"}, "different datasets"),
        ({"items": 149}, "different candidates"),
        ({"users": 299}, "different users"),
        ({"decoding": "constrained beam search, 50 beams"}, "different decoding"),
    ],
)
def test_unlike_runs_are_refused_with_the_reason(tmp_path, changes, words):
    write_run(tmp_path, name="a")
    write_run(tmp_path, name="b", method="differentiable", **changes)
    runs = runs_frame(opened(tmp_path))
    why = refusals(runs.iloc[0], runs.iloc[1], "ndcg@10")
    assert any(words in reason for reason in why)


def test_other_splits_and_cut_offs_are_refused(tmp_path):
    write_run(tmp_path, name="a")
    runs = runs_frame(opened(tmp_path))
    other = runs.iloc[0].copy()
    other["split"] = "temporal"
    assert "different splits" in refusals(runs.iloc[0], other, "ndcg@10")[0]
    assert "other cut-offs" in refusals(runs.iloc[0], runs.iloc[0], "ndcg@7")[0]
    assert refusals(runs.iloc[0], runs.iloc[0], "ndcg@10") == []


def test_a_baseline_that_scores_every_item_may_stand_beside_any_decoding(tmp_path):
    write_run(tmp_path, name="a")
    write_run(tmp_path, name="b", method="sasrec")
    runs = runs_frame(opened(tmp_path))
    assert refusals(runs.iloc[0], runs.iloc[1], "ndcg@10") == []


def test_pairs_are_the_same_seeds_users_and_targets(tmp_path):
    a = [Bundle.open(write_run(tmp_path, seed=s)) for s in (0, 1, 2)]
    b = [Bundle.open(write_run(tmp_path, method="differentiable", seed=s)) for s in (1, 2, 3)]
    found = pair(a, b)
    assert found.seeds == (1, 2) and found.alone == (0, 3)
    before, after = found.values("recall@10")
    assert before.shape == after.shape == (2, 300)
    recall = a[1].metrics["results"][1]["metrics"]["recall@10"]
    assert before[0].mean() == pytest.approx(recall)


def test_runs_without_a_common_seed_or_without_ranks_are_refused(tmp_path):
    a = Bundle.open(write_run(tmp_path, seed=0))
    b = Bundle.open(write_run(tmp_path, method="ste", seed=1))
    with pytest.raises(DigerError, match="no seed in common"):
        pair([a], [b])
    assert pair([a], [b], by_seed=False).seeds == (0,)
    c = Bundle.open(write_run(tmp_path, method="ste", seed=0, leave_out=("ranks.parquet",)))
    with pytest.raises(DigerError, match=r"no ranks\.parquet"):
        pair([a], [c])
    with pytest.raises(DigerError, match="both seed 0"):
        pair([a, a], [b])


def claims_of(study, method="differentiable"):
    runs, summary = summarise(study)
    made = []
    for dataset in runs["dataset"].unique():
        a = choose_group(summary, dataset, "static")
        b = choose_group(summary, dataset, method)
        sides = [
            [x for x, g in zip(study, runs["group"], strict=True) if g == r["group"]]
            for r in (a, b)
        ]
        made.append(
            claim(
                *sides,
                dataset=dataset,
                title=dataset,
                simulated=bool(a["simulated"]),
                metric="recall@10",
                names=(a["arm"], b["arm"]),
            )
        )
    return {c.dataset: c for c in judge(made)}


def test_the_verdict_of_a_study(study):
    found = claims_of(study)
    assert found["alpha"].outcome == "better"
    assert found["beta"].outcome == "no difference shown"
    assert found["gamma"].outcome == "worse"
    assert found["demo"].adjusted_p is None and found["demo"].outcome == "better"
    real = [found[name] for name in ("alpha", "beta", "gamma")]
    assert [c.adjusted_p for c in real] == pytest.approx(holm([c.difference.p_value for c in real]))
    assert in_words(list(found.values()), "differentiable", "static") == (
        "Differentiable: better than static on 1 of 3 datasets, no difference shown on 1, "
        "worse on 1"
    )


def test_one_seed_gets_no_verdict(study):
    found = claims_of(study, "ste")
    assert {c.outcome for c in found.values()} == {"too few seeds"}
    assert all(c.difference.interval is None for c in found.values())
    assert in_words(list(found.values()), "ste", "static").startswith(
        "No verdict yet on ste against static: one seed each on 3 datasets"
    )


def test_the_arm_is_chosen_by_seeds_and_validation_never_by_test(study):
    _, summary = summarise(study)
    chosen = choose_group(summary, "alpha", "differentiable")
    assert chosen["arm"] == "differentiable (frqud)"  # three seeds; sdud has one
    rows = summary[(summary["dataset"] == "alpha") & (summary["method"] == "differentiable")].copy()
    rows["seeds"] = 3
    rows["validation_ndcg@10"] = [0.1, 0.2]
    rows["test_ndcg@10"] = [0.9, 0.1]
    assert choose_group(rows, "alpha", "differentiable")["arm"] == rows["arm"].iloc[1]
    assert choose_group(rows, "alpha", "static") is None


def test_frozen_learned_sids_do_not_stand_for_static(tmp_path):
    for seed in range(2):
        write_run(
            tmp_path, seed=seed, name=f"file-{seed}", recipe="frozen", tokenizer={"kind": "file"}
        )
    write_run(tmp_path, seed=0)
    _, summary = summarise(opened(tmp_path))
    assert choose_group(summary, "toys", "static")["tokenizer"] == "residual-kmeans"


def made(p, difference=0.01, seeds=3, simulated=False):
    one = Difference(
        0.1,
        0.1 + difference,
        difference,
        difference / 0.1,
        Interval(0, 1, 0.95),
        None,
        p,
        tuple((s, difference) for s in range(seeds)),
        100,
    )
    return Claim("d", "d", simulated, "ndcg@10", difference=one)


def test_claims_need_holm_three_seeds_and_one_direction():
    assert judge([made(0.04)])[0].outcome == "better"
    assert judge([made(0.04), made(0.5)])[0].outcome == "no difference shown"  # Holm: 0.08
    assert judge([made(0.04), made(0.5, simulated=True)])[0].outcome == "better"
    assert judge([made(0.01, seeds=2)])[0].outcome == "too few seeds"
    assert judge([made(0.01, difference=-0.01)])[0].outcome == "worse"
    waiting = Claim("e", "e", False, "ndcg@10", reason="not run")
    assert judge([made(0.04), waiting])[0].outcome == "no difference shown"  # it is of two
    assert judge([made(0.02), waiting])[0].adjusted_p == pytest.approx(0.04)
    assert judge([made(0.02), waiting])[1].adjusted_p is None
    assert judge([made(0.02), made(None, seeds=1)])[0].adjusted_p == pytest.approx(0.04)
    mixed = made(0.01)
    per_seed = ((0, 0.03), (1, -0.001), (2, 0.03))
    difference = Difference(**{**mixed.difference.__dict__, "per_seed": per_seed})
    assert judge([Claim(**{**mixed.__dict__, "difference": difference})])[0].outcome == (
        "no difference shown"
    )


@pytest.mark.parametrize(
    ("claims", "words"),
    [
        ([], "No real dataset has both"),
        ([made(0.01)], "X is better than Y on the one dataset compared"),
        ([made(0.9), made(0.9)], "X shows no difference from Y on both datasets compared"),
        ([made(0.01), made(None, seeds=1)], "; no verdict on 1 more (fewer than 3 seeds)"),
        ([made(0.01, simulated=True)], "compared on simulated data only"),
        (
            [made(0.9), made(0.001, difference=-0.1)],
            "no difference shown on 1 of 2 datasets, worse",
        ),
    ],
)
def test_findings_in_words(claims, words):
    assert words in in_words(judge(claims), "X", "Y")


def test_bundle_statistics_and_charts_import_without_torch():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import pkgutil, importlib, diger.bundle, diger.statistics, diger.charts\n"
        "for p in (diger.bundle, diger.statistics):\n"
        "    for m in pkgutil.iter_modules(p.__path__, p.__name__ + '.'):\n"
        "        importlib.import_module(m.name)\n"
        "import diger.charts.theme\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_what_was_taken_from_another_arm_is_in_the_name_and_never_pooled(tmp_path):
    static = {"method": "static", "decay": "none", "noise": "none"}
    learned = {"method": "differentiable", "decay": "frqud", "noise": "gumbel"}
    origin = {"arm": learned, "hash": "a"}
    write_run(tmp_path, seed=0)
    write_run(tmp_path, seed=1, name="shared", sids_from={"arm": static, "hash": "b"})
    for seed in range(3):
        write_run(tmp_path, seed=seed, name=f"frozen-{seed}", sids_from=origin)
    write_run(
        tmp_path,
        method="differentiable",
        decay="frqud",
        start_from={"arm": static, "hash": "c"},
        sids_from={"arm": static, "hash": "c"},
    )
    _, summary = summarise(opened(tmp_path))
    assert set(summary["arm"]) == {
        "static",
        "static, SIDs of differentiable (frqud)",
        "differentiable (frqud), from static",
    }
    chosen = choose_group(summary, "toys", "static")  # though the other has more seeds
    assert (chosen["arm"], chosen["seeds"]) == ("static", 2)
    only = choose_group(summary, "toys", "differentiable")
    assert only["arm"] == "differentiable (frqud), from static"
