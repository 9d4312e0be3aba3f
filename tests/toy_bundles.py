"""Fake but consistent bundles, written by `BundleWriter`: datasets, arms, seeds, and broken ones.

The numbers are drawn, not trained; ranks, top lists, metrics, codes and diagnostics agree with each
other. `write_study` makes a folder like the one a finished study leaves.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from diger.bundle import BundleWriter
from diger.bundle.tables import items_frame, topk_frame
from diger.evaluation import beyond_accuracy
from diger.evaluation.metrics import corrected_summary, summary
from diger.tokenizer.stats import collision_stats, sid_stats

LEVELS, K, EPOCHS = 3, 32, 8
SIDS = ("static", "detached", "differentiable", "ste")
JOINT = ("detached", "differentiable", "ste")
CUTOFFS = (1, 5, 10, 20)
COSTS = {  # seconds, megabytes, parameters
    "popularity": (0.1, 200, 0),
    "sasrec": (60, 420, 2_300_000),
    "static": (90, 520, 1_000_000),
}
HARDWARE = {"device": "cpu", "cpu": "Toy @ 2 GHz", "threads": 2, "torch": "2.13.0", "python": "3"}


def write_run(
    folder,
    *,
    dataset="toys",
    method="static",
    decay="none",
    noise=None,
    seed=0,
    quality=0.2,
    users=300,
    items=150,
    recipe=None,
    name=None,
    simulated=False,
    title=None,
    decoding=None,
    fingerprint=None,
    text_fingerprint=None,
    epochs=EPOCHS,
    joint=True,
    leave_out=(),
    seconds=None,
    memory=None,
    text=False,
    whole_recipe=None,
    **config_changes,
):
    """One bundle in `folder`; `quality` is about the share of users with a hit in the top 20.

    `leave_out` names files not to write; without `joint` a joint arm lacks its diagnostics.
    """
    if noise is None:
        noise = "gumbel" if method == "differentiable" else "none"
    parts = (dataset, method, decay.replace("+", "-"), f"s{seed}")
    name = name or "-".join(part for part in parts if part != "none")
    world = np.random.default_rng(sum(map(ord, dataset)))
    popularity = np.sort(world.zipf(1.6, items).clip(max=400))[::-1].copy()
    popularity[-5:] = 0
    target = world.choice(items, users, p=(popularity + 1) / (popularity + 1).sum())
    length = world.integers(2, 40, users)
    easy = world.random(users)  # users are alike in all runs, so comparisons are paired
    rng = np.random.default_rng([seed, sum(map(ord, method + decay))])

    history, levels, codes, sids, start = _training(method, seed, items, rng, epochs, joint)
    group = np.ones(users, np.int64)
    if sids is not None:
        group = pd.DataFrame(sids[:, :-1]).value_counts()[list(map(tuple, sids[target, :-1]))]
    writes_sids = method in SIDS
    beams = "constrained beam search, 20 beams" if writes_sids else "exact, every item scored"
    ranks, results = [], []
    for split, easier in (("validation", 1.15), ("test", 1)):
        share = quality * easier * rng.normal(1, 0.02)
        luck = 0.75 * easy + 0.25 * rng.random(users)
        hit = luck < np.quantile(luck, min(max(share, 0), 1))
        rank = np.where(hit, rng.geometric(0.12, users).clip(max=20), np.nan)
        frame = pd.DataFrame(
            {
                "split": split,
                "user": np.arange(users, dtype=np.int32),
                "target": target.astype(np.int32),
                "rank": pd.array(rank, "Int32"),
                "history_length": length.astype(np.int32),
                "target_popularity": popularity[target],
                "cold": popularity[target] == 0,
                "group_first": pd.array(rank, "Int32"),
                "group_size": np.asarray(group),
            }
        )
        top = _top_lists(rank, target, items, popularity, method, rng)
        corrected = corrected_summary(frame["group_first"], frame["group_size"], CUTOFFS)
        common = {"split": split, "users": users}
        quality_of = {
            "metrics": summary(frame["rank"], CUTOFFS),
            "collision_corrected": corrected,
            "beyond_accuracy": beyond_accuracy.summary(top, popularity),
        }
        ranks.append(frame)
        results.append(common | {"decoding": decoding or beams} | quality_of)
    if writes_sids:
        worse = {k: v * 0.97 for k, v in quality_of["metrics"].items()}
        free = "unconstrained beam search, 20 beams"
        results.append(common | {"decoding": free, "metrics": worse})
    cost, megabytes, parameters = COSTS.get(method, (140, 520, 1_050_000))
    config = {
        "name": name,
        "dataset": {
            "name": dataset,
            "title": title or dataset.title(),
            "fingerprint": fingerprint or (f"{sum(map(ord, dataset)):08x}" * 8),
            **({"text_fingerprint": text_fingerprint} if text_fingerprint else {}),
            "simulated": simulated,
            "text_may_be_published": text,
            "licence": "CC0",
            "source": "drawn at random",
            "users": users,
            "items": items,
            "events": int(length.sum()),
            "split": "leave-one-out",
        },
        "arm": {"method": method, "decay": decay, "noise": noise},
        "backbone": method if method in ("sasrec", "popularity") else "causal",
        "recipe": whole_recipe
        or {"name": recipe or "toy", "training": {"epochs": epochs, "learning_rate": 2e-3}}
        | ({"variant": recipe} if recipe else {}),
        "tokenizer": {"kind": "residual-kmeans", "levels": LEVELS} if writes_sids else {},
        "seed": seed,
        "code_version": "0.1.0",
        "hardware": HARDWARE,
        "seconds": {
            "tokenizer": 1.5 if writes_sids else 0.0,
            "training": seconds if seconds is not None else cost * float(rng.normal(1, 0.03)),
            "evaluation": 4.2,
            "this sitting": 300.0,
        },
        "peak_memory_bytes": memory or megabytes * 2**20,
        "parameters": parameters,
        "selected_epoch": max(1, epochs - 2) if method != "popularity" else 0,
    } | config_changes
    ids = [f"{dataset}-{i}" for i in range(items)]
    titles = pd.DataFrame({"title": [f"Thing {i}" for i in range(items)]}) if text else None
    tables = {
        "items.parquet": items_frame(ids, popularity, sids=sids, start_sids=start, text=titles),
        "ranks.parquet": pd.concat(ranks, ignore_index=True),
        "topk.parquet": topk_frame(np.arange(users), top),
        "history.parquet": history,
        "levels.parquet": levels,
        "codes.parquet": codes,
    }
    path = Path(folder) / name
    with BundleWriter(path) as writer:
        writer.json("config.json", config)
        writer.json("metrics.json", {"results": results})
        for file, frame in tables.items():
            if frame is not None and file not in leave_out:
                writer.frame(file, frame)
        writer.text("README.md", f"# {name}\n")
    return path


def write_runs(folder, *methods, seeds=2, **common):
    """A run of each method with each seed; the path of the last."""
    for method in methods:
        for seed in range(seeds):
            path = write_run(folder, method=method, seed=seed, **common)
    return path


def _top_lists(rank, target, items, popularity, method, rng):
    """(users, 20) distinct item rows with the target where its rank says."""
    users = len(rank)
    pull = np.log1p(popularity) * (3.0 if method == "popularity" else 0.8)
    noise = np.zeros((users, items)) if method == "popularity" else rng.gumbel(size=(users, items))
    lists = np.argsort(-(pull + noise), axis=1)[:, :21].tolist()
    for user, top in enumerate(lists):
        if target[user] in top:
            top.remove(target[user])
        if rank[user] <= 20:
            top.insert(int(rank[user]) - 1, target[user])
    return np.array([top[:20] for top in lists], np.int32)


def _training(method, seed, items, rng, epochs, joint):
    """History, levels, codes, SIDs and the SIDs at the start; None where the method has none."""
    if method == "popularity":
        return None, None, None, None, None
    epoch = np.arange(1, epochs + 1)
    progress = 1 - np.exp(-epoch / 3)
    history = pd.DataFrame(
        {
            "epoch": epoch,
            "updates": epoch * 80,
            "loss": 9 - 4 * progress + rng.normal(0, 0.03, epochs),
            "gradient_norm": rng.uniform(0.8, 1.2, epochs),
            "learning_rate": 2e-3 * np.cos(epoch / epochs * 1.5),
            "seconds": rng.uniform(9, 11, epochs),
            "validation_recall@10": 0.12 * progress + rng.normal(0, 0.002, epochs),
            "validation_ndcg@10": 0.06 * progress + rng.normal(0, 0.001, epochs),
        }
    )
    if method == "sasrec":
        return history, None, None, None, None
    losses = [f"loss_{position}" for position in range(1, LEVELS + 2)]
    for position, column in enumerate(losses, 1):
        history[column] = 3.5 - position * 0.5 - 1.2 * progress
    history["loss_codes"] = history[losses].mean(axis=1)
    codes = before = first = np.random.default_rng(seed).integers(0, K, (items, LEVELS))
    moves = method in JOINT
    final = {"static": 0.0, "detached": 0.12, "differentiable": 0.38, "ste": 0.95}[method]
    order = rng.permutation(items)
    shift = rng.integers(1, K, (items, LEVELS))
    level_rows, code_rows = [], []
    for e in [0, *epoch] if moves else [0]:
        moved = order[: round(final * (1 - np.exp(-e / 3)) * items)]
        codes = first.copy()
        codes[moved] = (codes[moved] + shift[moved]) % K
        if method == "ste":
            codes = codes % max(2, round(K * np.exp(-3 * e / epochs)))
        shared = {"agreement": min(1.0, 0.8 + 0.02 * e), "hot_share": 0.4 - 0.02 * e}
        for stats in sid_stats(codes, K).levels:
            at = slice(stats.level, stats.level + 1)
            row = {"epoch": e, "level": stats.level + 1} | {
                k: getattr(stats, k) for k in ("used", "dead", "entropy", "perplexity", "balance")
            }
            if moves and joint:
                row |= _drift(codes[:, at], first[:, at], before[:, at])
                row |= shared | {"logit_scale": 2.0}
            level_rows.append(row)
            counts = np.bincount(codes[:, stats.level], minlength=K)
            used = {"epoch": e, "level": stats.level + 1, "code": np.arange(K), "items": counts}
            code_rows.append(pd.DataFrame(used))
        if moves and joint and e:
            collisions = collision_stats(codes)
            values = {
                "tokenizer_gradient_norm": 0.0 if method == "detached" else 0.05 / e,
                "tokenizer_learning_rate": 1e-4 * np.cos(e / epochs * 1.5),
                "noise_scale": 0.0 if method == "ste" else max(0.0, 1.5 - 0.2 * e),
                "sigma": max(0.0, 1.6 - 0.2 * e),
                "temperature": 1.0,
                "hot_share": shared["hot_share"],
                "agreement": shared["agreement"],
                **_drift(codes, first, before),
                "collisions": collisions.shared_items,
                "largest_group": collisions.largest,
            }
            history.loc[history["epoch"] == e, list(values)] = list(values.values())
        before = codes
    sids, start = (
        np.column_stack([c, pd.DataFrame(c).groupby(list(range(LEVELS))).cumcount()])
        for c in (codes, first)
    )
    levels = pd.DataFrame(level_rows)
    return history, levels, pd.concat(code_rows), sids, start if moves else None


def _drift(codes, first, before):
    """The shares of all, popular and rare items that moved, and of those that did this epoch."""
    changed = (codes != first).any(axis=1)
    head = len(codes) // 10
    return {
        "drift": changed.mean(),
        "drift_head": changed[:head].mean(),
        "drift_tail": changed[head:].mean(),
        "drift_epoch": (codes != before).any(axis=1).mean(),
    }


def write_study(folder, *, seeds=3, users=300, epochs=EPOCHS):
    """Three real datasets and a simulated one: better, no difference, worse, and the demo."""
    folder = Path(folder)
    for dataset, lift in (("alpha", 1.6), ("beta", 1.0), ("gamma", 0.5), ("demo", 1.5)):
        common = {"dataset": dataset, "users": users, "epochs": epochs}
        common["simulated"] = dataset == "demo"
        learned = {"method": "differentiable", "quality": 0.3 * lift, **common}
        write_runs(folder, "static", seeds=seeds, quality=0.3, **common)
        for seed in range(seeds):
            write_run(folder, decay="frqud", seed=seed, **learned)
        write_runs(folder, "sasrec", seeds=seeds, quality=0.35, **common)
        write_run(folder, method="popularity", quality=0.08, **common)
        write_run(folder, method="detached", quality=0.3, **common)
        write_run(folder, method="ste", quality=0.12, **common)
        write_run(folder, decay="sdud", **learned)
    return folder


def damage(path, file="history.parquet"):
    """Turn one bit of a file over, which its size does not tell."""
    data = bytearray((path / file).read_bytes())
    data[50] ^= 1
    (path / file).write_bytes(bytes(data))


def write_broken(folder):
    """Folders that look like bundles and are not: no manifest, newer, not JSON, changed file."""
    folder = Path(folder)
    for name, file, text in (
        ("no-manifest", "config.json", "{}"),
        ("newer", "manifest.json", '{"format": 99, "kind": "results-only", "files": {}}'),
        ("foreign", "manifest.json", "<html>not json</html>"),
        ("unrelated", "notes.txt", ""),
    ):
        (folder / name).mkdir(parents=True)
        (folder / name / file).write_text(text)
    metrics = write_run(folder, name="changed", dataset="alpha") / "metrics.json"
    metrics.write_bytes(metrics.read_bytes()[:-2] + b" }")
    return folder
