"""Runs, groups, guards, pairing and summaries, on toy bundles."""

import pkgutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from toy_bundles import write_run, write_study

from diger import statistics
from diger.bundle import Bundle, list_bundles
from diger.errors import DigerError
from diger.statistics import (
    choose_group,
    claim,
    dataset_claim,
    holm,
    in_words,
    judge,
    pair,
    refusals,
    summarise,
    summary_frame,
)
from diger.statistics.bootstrap import Difference, Interval
from diger.statistics.decision import POWER, decide, seeds_for, smallest_lift
from diger.statistics.runs import arm_label, repeated, runs_frame
from diger.statistics.verdict import Claim, rows_claim


def opened(folder):
    return [b for b in list_bundles(folder) if isinstance(b, Bundle)]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return opened(write_study(tmp_path_factory.mktemp("study"), seeds=3, users=250))


def test_a_run_is_a_row_with_its_metrics_and_costs(tmp_path):
    bundle = Bundle.open(write_run(tmp_path, method="static", seed=4, quality=0.3))
    row = runs_frame([bundle]).iloc[0]
    said = ("toys", "static", 4, "constrained beam search, 20 beams", bundle.hash)
    assert tuple(row[["dataset", "arm", "seed", "decoding", "hash"]]) == said
    assert row["test_ndcg@10"] == bundle.metrics["results"][1]["metrics"]["ndcg@10"]
    seconds = bundle.config["seconds"]
    assert row["seconds"] == pytest.approx(seconds["tokenizer"] + seconds["training"])


def test_labels_say_decay_and_noise_only_where_they_are_not_the_methods_own():
    assert arm_label("static", "none", "none") == "static"
    assert arm_label("differentiable", "sdud+frqud", "gumbel") == "differentiable (sdud+frqud)"
    assert arm_label("differentiable", "none", "gumbel") == "differentiable (no decay)"
    assert arm_label("differentiable", "frqud", "gaussian") == "differentiable (frqud, gaussian)"


def test_of_equals_the_recipe_called_like_the_method_keeps_the_plain_label(tmp_path):
    write_run(tmp_path, method="ste", recipe="random-ste", name="a")
    write_run(tmp_path, method="ste", recipe="ste", name="b")
    arms = runs_frame(opened(tmp_path)).set_index("bundle")["arm"]
    assert arms.to_dict() == {"a": "ste [random-ste]", "b": "ste"}


def test_another_recipe_is_another_arm_and_another_name_or_path_is_not(tmp_path):
    for seed in range(2):
        recipe = {"name": f"r{seed}", "about": "x", "tokenizer": {"file": {"path": f"/{seed}"}}}
        write_run(tmp_path, seed=seed, whole_recipe=recipe)
    write_run(tmp_path, seed=2, recipe="wide", name="wide-s2")
    runs, summary = summarise(opened(tmp_path))
    assert list(summary["arm"]) == ["static", "static [wide]"]
    assert list(summary["seeds"]) == [2, 1]
    assert runs["group"].nunique() == 2


def test_no_runs_give_empty_frames():
    runs, summary = summarise([])
    assert runs.empty and summary.empty and "arm" in summary.columns


def test_a_seed_counts_once(tmp_path):
    write_run(tmp_path, name="a")
    write_run(tmp_path, name="b", memory=1 << 20)
    runs, summary = summarise(opened(tmp_path))
    assert list(repeated(runs)) == [False, True]
    assert summary[["seeds", "left_out"]].iloc[0].tolist() == [1, "b"]


def test_the_summary_by_hand():
    same = dict.fromkeys(runs_frame([]).columns, "x")
    same |= {"simulated": False, "device": "cpu", "threads": 2.0}
    same |= dict.fromkeys(("users", "items", "memory_bytes", "parameters"), 1.0)
    rows = [
        same
        | {"seed": seed, "seconds": 10.0 * seed, "test_ndcg@10": value}
        | {"test_recall@10": value if seed else float("nan")}
        for seed, value in ((0, 0.1), (1, 0.2), (2, 0.6))
    ]
    one = summary_frame(pd.DataFrame(rows)).iloc[0]
    assert one["test_ndcg@10"] == pytest.approx(0.3)
    assert one["test_ndcg@10_std"] == pytest.approx(np.sqrt(0.07))
    assert one["seconds"] == 10.0 and one["seconds_std"] == 10.0
    assert np.isnan(one["test_recall@10"])  # one seed did not measure it: blank, not averaged
    assert one["seed_list"] == "0, 1, 2" and one["hardware"] == "x, 2 threads"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"fingerprint": "0" * 64}, "different data"),
        ({"dataset": "others"}, "different datasets"),
        ({"items": 149}, "different candidates"),
        ({"users": 299}, "different users"),
        ({"decoding": "constrained beam search, 50 beams"}, "different decoding"),
        ({}, None),
        ({"method": "sasrec"}, None),  # it scores every item: it may stand beside any decoding
    ],
)
def test_unlike_runs_are_refused_with_the_reason(tmp_path, changes, words):
    write_run(tmp_path, name="a")
    write_run(tmp_path, name="b", **{"method": "differentiable", **changes})
    runs = runs_frame(opened(tmp_path))
    why = refusals(runs.iloc[0], runs.iloc[1], "ndcg@10")
    assert any(words in reason for reason in why) if words else why == []


def test_other_splits_and_cut_offs_are_refused(tmp_path):
    write_run(tmp_path)
    one = runs_frame(opened(tmp_path)).iloc[0]
    other = pd.concat([one.drop("split"), pd.Series({"split": "temporal"})])
    assert "different splits" in refusals(one, other, "ndcg@10")[0]
    assert "other cut-offs" in refusals(one, one, "ndcg@7")[0]


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
        arms = [choose_group(summary, dataset, one) for one in ("static", method)]
        sides = [[study[i] for i in np.flatnonzero(runs["group"] == arm["group"])] for arm in arms]
        about = {"dataset": dataset, "title": dataset, "simulated": bool(arms[0]["simulated"])}
        names = tuple(arm["arm"] for arm in arms)
        made.append(claim(*sides, metric="recall@10", names=names, **about))
    return {c.dataset: c for c in judge(made)}


def test_the_verdict_of_a_study(study):
    found = claims_of(study)
    assert {name: c.outcome for name, c in found.items()} == {
        "alpha": "better",
        "beta": "no difference shown",
        "gamma": "worse",
        "demo": "better",
    }
    real = [found[name] for name in ("alpha", "beta", "gamma")]
    assert [c.adjusted_p for c in real] == pytest.approx(holm([c.difference.p_value for c in real]))
    assert found["demo"].adjusted_p is None, "simulated data is of no family"
    assert in_words(list(found.values()), "differentiable", "static") == (
        "Differentiable: better than static on 1 of 3 datasets, no difference shown on 1, "
        "worse on 1"
    )


def test_one_seed_gets_no_verdict(study):
    found = claims_of(study, "ste")
    assert {c.outcome for c in found.values()} == {"too few seeds"}
    assert all(c.difference.interval is None for c in found.values())
    said = in_words(list(found.values()), "ste", "static")
    assert said.startswith("No verdict yet on ste against static: one seed each on 3 datasets")


def test_the_arm_is_chosen_by_seeds_and_validation_never_by_test(study):
    _, summary = summarise(study)
    chosen = choose_group(summary, "alpha", "differentiable")
    assert chosen["arm"] == "differentiable (frqud)"  # three seeds; sdud has one
    rows = summary[(summary["dataset"] == "alpha") & (summary["method"] == "differentiable")].copy()
    rows[["seeds", "validation_ndcg@10", "test_ndcg@10"]] = [[3, 0.1, 0.9], [3, 0.2, 0.1]]
    assert choose_group(rows, "alpha", "differentiable")["arm"] == rows["arm"].iloc[1]
    assert choose_group(rows, "alpha", "static") is None
    # An arm on histories that no other has does not stand for its method, however good it is.
    runs = runs_frame(study)
    others = runs["histories"].where(runs["arm"] != chosen["arm"], "0.5 5")
    whole = summary_frame(runs.assign(histories=others))
    assert choose_group(whole, "alpha", "differentiable")["arm"] == "differentiable (sdud)"


def made(p, difference=0.01, seeds=3, simulated=False):
    per_seed = tuple((seed, difference) for seed in range(seeds))
    means = (0.1, 0.1 + difference, difference, difference / 0.1)
    one = Difference(*means, Interval(0, 1, 0.95), None, p, per_seed, 100)
    return Claim("d", "d", simulated, "ndcg@10", difference=one)


WAITING = Claim("e", "e", False, "ndcg@10", reason="not run")


@pytest.mark.parametrize(
    ("claims", "outcome", "adjusted"),
    [
        ([made(0.04)], "better", 0.04),
        ([made(0.04), made(0.5)], "no difference shown", 0.08),
        ([made(0.04), made(0.5, simulated=True)], "better", 0.04),
        ([made(0.01, seeds=2)], "too few seeds", 0.01),
        ([made(0.01, difference=-0.01)], "worse", 0.01),
        ([made(0.04), WAITING], "no difference shown", 0.08),  # it is of two
        ([made(0.02), made(None, seeds=1)], "better", 0.04),
    ],
)
def test_claims_need_holm_and_three_seeds(claims, outcome, adjusted):
    first, *others = judge(claims)
    assert first.outcome == outcome and first.adjusted_p == pytest.approx(adjusted)
    assert all(c.adjusted_p is None for c in others if c.difference is None)


def test_claims_need_one_direction():
    claim = made(0.01)
    mixed = replace(claim.difference, per_seed=((0, 0.03), (1, -0.001), (2, 0.03)))
    assert judge([replace(claim, difference=mixed)])[0].outcome == "no difference shown"


@pytest.mark.parametrize(
    ("claims", "words"),
    [
        ([], "No real dataset has both"),
        ([made(0.01)], "X is better than Y on the one dataset compared"),
        ([made(0.9), made(0.9)], "X shows no difference from Y on both datasets compared"),
        ([made(0.01), made(None, seeds=1)], "; no verdict on 1 more (fewer than 3 seeds)"),
        ([made(0.01, simulated=True)], "compared on simulated data only"),
    ],
)
def test_findings_in_words(claims, words):
    assert words in in_words(judge(claims), "X", "Y")


def test_statistics_import_without_torch():
    names = [m.name for m in pkgutil.iter_modules(statistics.__path__, "diger.statistics.")]
    code = f"import sys; sys.modules['torch'] = None; import {', '.join(names)}"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_what_was_taken_from_another_arm_is_in_the_name_and_never_pooled(tmp_path):
    static = {"arm": {"method": "static", "decay": "none", "noise": "none"}, "hash": "b"}
    learned = {"method": "differentiable", "decay": "frqud", "noise": "gumbel"}
    write_run(tmp_path)
    write_run(tmp_path, seed=1, name="shared", sids_from=static)
    for seed in range(3):
        origin = {"arm": learned, "hash": "a"}
        write_run(tmp_path, seed=seed, name=f"frozen-{seed}", sids_from=origin)
    write_run(tmp_path, **learned, start_from=static, sids_from=static)
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


def test_frozen_sids_of_a_file_do_not_stand_for_static(tmp_path):
    for seed in range(2):
        frozen = {"recipe": "frozen", "tokenizer": {"kind": "file"}}
        write_run(tmp_path, seed=seed, name=f"file-{seed}", **frozen)
    write_run(tmp_path)
    _, summary = summarise(opened(tmp_path))
    assert choose_group(summary, "toys", "static")["tokenizer"] == "residual-kmeans"


def test_arms_are_paired_on_the_same_content_and_named_by_it(tmp_path):
    fused = {"name": "fused", "content": {"sources": {"text": 1.0, "behaviour": 1.0}}}
    for seed in range(3):  # more seeds, and the best validation, on text
        write_run(tmp_path, seed=seed, quality=0.5)
    for seed in range(2):
        for method in ("static", "differentiable"):
            name = f"fused-{method}-{seed}"
            write_run(tmp_path, method=method, seed=seed, whole_recipe=fused, name=name)
    bundles = opened(tmp_path)
    one = dataset_claim(bundles, dataset="toys", title="Toys")
    assert (one.baseline, one.difference.seeds) == ("static on both", 2)
    assert one.arm == "differentiable (no decay) on both"
    text = [b for b in bundles if not (b.name.startswith("fused-static"))]
    assert "same content" in dataset_claim(text, dataset="toys", title="Toys").reason


def test_the_decision_of_a_study(study):
    runs, summary = summarise(study)
    found = list(claims_of(study).values())
    named = [replace(c, groups=_groups(summary, c.dataset)) for c in found]

    def of_group(group):
        return [study[i] for i in np.flatnonzero(runs["group"] == group)]

    def compare(before, after):
        return rows_claim(before, after, of_group, title="", metric="ndcg@10")

    decided = decide(named, summary, of_group, compare, "differentiable", "static")
    short = {heading: line for heading, line, _ in decided}
    lines = {heading: parts for heading, _, parts in decided}
    assert list(lines) == ["Answer", "How sure", "Why", "What would change it"]
    assert "better than static on alpha; worse than static on gamma" in short["Answer"]
    assert all(name in short["How sure"] for name in ("alpha", "beta", "gamma"))
    (beta,) = [line for line in lines["How sure"] if line.startswith("beta")]
    assert found[1].numbers() in beta and "ruled out" in beta
    assert all("SASRec" in line and "changed their SID" in line for line in lines["Why"])
    assert not any(line.startswith(("alpha", "demo")) for line in lines["What would change it"])


def _groups(summary, dataset):
    arms = [choose_group(summary, dataset, one) for one in ("static", "differentiable")]
    return tuple(arm["group"] for arm in arms)


def test_what_the_seeds_could_show_has_the_power_said(study):
    one = claims_of(study)["beta"]
    seeds, band = one.difference.seeds, one.difference.lift_interval
    edge = stats.t.ppf(0.975, seeds - 1)
    error = (band.high - band.low) / 2 / edge
    power = 1 - stats.nct.cdf(edge, seeds - 1, smallest_lift(one) / error)
    assert power == pytest.approx(POWER, abs=1e-3)
    assert seeds_for(one, smallest_lift(one, 10) * 1.0001) == 10
    assert seeds_for(one, 1e-9) is None
