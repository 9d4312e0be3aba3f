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
    name = name or "-".join(
        [dataset, method, *([decay.replace("+", "-")] if decay != "none" else []), f"s{seed}"]
    )
    world = np.random.default_rng(sum(map(ord, dataset)))
    popularity = np.sort(world.zipf(1.6, items).clip(max=400))[::-1].copy()
    popularity[-5:] = 0
    target = world.choice(items, users, p=(popularity + 1) / (popularity + 1).sum())
    length = world.integers(2, 40, users)
    easy = world.random(users)  # users are alike in all runs, so comparisons are paired
    rng = np.random.default_rng([seed, sum(map(ord, method + decay))])

    history, levels, codes, sids, start = _training(method, seed, items, rng, epochs, joint)
    ranks, tops = [], []
    for split in ("validation", "test"):
        share = quality * (1.15 if split == "validation" else 1) * rng.normal(1, 0.02)
        luck = 0.75 * easy + 0.25 * rng.random(users)
        hit = luck < np.quantile(luck, min(max(share, 0), 1))
        rank = np.where(hit, rng.geometric(0.12, users).clip(max=20), np.nan)
        group = np.ones(users, np.int64)
        if sids is not None:
            _, inverse, sizes = np.unique(
                sids[:, :-1], axis=0, return_inverse=True, return_counts=True
            )
            group = sizes[inverse][target]
        ranks.append(
            pd.DataFrame(
                {
                    "split": split,
                    "user": np.arange(users, dtype=np.int32),
                    "target": target.astype(np.int32),
                    "rank": pd.array([None if np.isnan(r) else int(r) for r in rank], "Int32"),
                    "history_length": length.astype(np.int32),
                    "target_popularity": popularity[target],
                    "cold": popularity[target] == 0,
                    "group_first": pd.array(
                        [None if np.isnan(r) else int(r) for r in rank], "Int32"
                    ),
                    "group_size": group,
                }
            )
        )
        tops.append(_top_lists(rank, target, items, popularity, method, rng))
    beams = "constrained beam search, 20 beams" if method in SIDS else "exact, every item scored"
    decoding = decoding or beams
    metrics = {
        "results": [
            {
                "split": frame["split"].iloc[0],
                "decoding": decoding,
                "users": users,
                "metrics": summary(frame["rank"], (1, 5, 10, 20)),
                "collision_corrected": corrected_summary(
                    frame["group_first"], frame["group_size"], (1, 5, 10, 20)
                ),
                "beyond_accuracy": beyond_accuracy.summary(top, popularity),
            }
            for frame, top in zip(ranks, tops, strict=True)
        ]
    }
    if method in SIDS:
        free = {k: v * 0.97 for k, v in metrics["results"][1]["metrics"].items()}
        metrics["results"].append(
            {
                "split": "test",
                "decoding": "unconstrained beam search, 20 beams",
                "users": users,
                "metrics": free,
            }
        )
    cost = {"popularity": 0.1, "sasrec": 60, "static": 90}.get(method, 140)
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
        "tokenizer": {"kind": "residual-kmeans", "levels": LEVELS} if method in SIDS else {},
        "seed": seed,
        "code_version": "0.1.0",
        "hardware": {
            "device": "cpu",
            "cpu": "Toy CPU @ 2 GHz",
            "threads": 2,
            "torch": "2.13.0",
            "python": "3.11",
        },
        "seconds": {
            "tokenizer": 1.5 if method in SIDS else 0.0,
            "training": seconds if seconds is not None else cost * float(rng.normal(1, 0.03)),
            "evaluation": 4.2,
            "this sitting": 300.0,
        },
        "peak_memory_bytes": memory
        or int({"popularity": 200, "sasrec": 420}.get(method, 520)) * 2**20,
        "parameters": {"popularity": 0, "sasrec": 2_300_000, "static": 1_000_000}.get(
            method, 1_050_000
        ),
        "selected_epoch": max(1, epochs - 2) if method != "popularity" else 0,
    } | config_changes
    path = Path(folder) / name
    titles = pd.DataFrame({"title": [f"Thing {i}" for i in range(items)]}) if text else None
    tables = {
        "items.parquet": items_frame(
            [f"{dataset}-{i}" for i in range(items)],
            popularity,
            sids=sids,
            start_sids=start,
            text=titles,
        ),
        "ranks.parquet": pd.concat(ranks, ignore_index=True),
        "topk.parquet": topk_frame(np.arange(users), tops[1]),
        "history.parquet": history,
        "levels.parquet": levels,
        "codes.parquet": codes,
    }
    with BundleWriter(path) as writer:
        writer.json("config.json", config)
        writer.json("metrics.json", metrics)
        for file, frame in tables.items():
            if frame is not None and file not in leave_out:
                writer.frame(file, frame)
        writer.text("README.md", f"# {name}\n")
    return path


def _top_lists(rank, target, items, popularity, method, rng):
    """(users, 20) distinct item rows with the target where its rank says."""
    users = len(rank)
    pull = np.log1p(popularity) * (3.0 if method == "popularity" else 0.8)
    noise = 0 if method == "popularity" else rng.gumbel(size=(users, items))
    top = np.argsort(-(np.zeros((users, items)) + pull + noise), axis=1)[:, :21]
    lists = np.empty((users, 20), np.int32)
    for user in range(users):
        others = top[user][top[user] != target[user]]
        place = int(rank[user]) - 1 if rank[user] <= 20 else None
        chosen = list(others[:20])
        if place is not None:
            chosen = [*others[:place], target[user], *others[place:19]]
        lists[user] = chosen[:20]
    return lists


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
    for position in range(1, LEVELS + 2):
        history[f"loss_{position}"] = 4.5 - position * 0.6 - 1.2 * progress
    history["loss_codes"] = history[[f"loss_{p}" for p in range(1, LEVELS + 2)]].mean(axis=1)
    start_codes = np.random.default_rng(seed).integers(0, K, (items, LEVELS))
    moves = method in JOINT
    final = {"static": 0.0, "detached": 0.12, "differentiable": 0.38, "ste": 0.95}[method]
    order = rng.permutation(items)
    shift = rng.integers(1, K, (items, LEVELS))
    level_rows, code_rows, codes = [], [], start_codes
    before = start_codes
    for e in [0, *epoch] if moves else [0]:
        moved = np.zeros(items, bool)
        moved[order[: round(final * (1 - np.exp(-e / 3)) * items)]] = True
        codes = start_codes.copy()
        codes[moved] = (codes[moved] + shift[moved]) % K
        if method == "ste":
            codes = codes % max(2, round(K * np.exp(-3 * e / epochs)))
        for stats in sid_stats(codes, K).levels:
            row = {"epoch": e, "level": stats.level + 1} | {
                k: getattr(stats, k) for k in ("used", "dead", "entropy", "perplexity", "balance")
            }
            if moves and joint:
                changed = codes[:, stats.level] != start_codes[:, stats.level]
                half = np.arange(items) < items // 10
                row |= {
                    "drift": changed.mean(),
                    "drift_head": changed[half].mean(),
                    "drift_tail": changed[~half].mean(),
                    "drift_epoch": (codes[:, stats.level] != before[:, stats.level]).mean(),
                    "agreement": min(1.0, 0.8 + 0.02 * e),
                    "hot_share": 0.4 - 0.02 * e,
                    "logit_scale": 2.0,
                }
            level_rows.append(row)
            counts = np.bincount(codes[:, stats.level], minlength=K)
            code_rows.append(
                pd.DataFrame(
                    {
                        "epoch": e,
                        "level": stats.level + 1,
                        "code": np.arange(K),
                        "items": counts,
                    }
                )
            )
        if moves and joint and e:
            changed = (codes != start_codes).any(axis=1)
            collisions = collision_stats(codes)
            half = np.arange(items) < items // 10
            values = {
                "tokenizer_gradient_norm": 0.0 if method == "detached" else 0.05 / e,
                "tokenizer_learning_rate": 1e-4 * np.cos(e / epochs * 1.5),
                "noise_scale": 0.0 if method == "ste" else max(0.0, 1.5 - 0.2 * e),
                "sigma": max(0.0, 1.6 - 0.2 * e),
                "temperature": 1.0,
                "hot_share": 0.4 - 0.02 * e,
                "agreement": min(1.0, 0.8 + 0.02 * e),
                "drift": changed.mean(),
                "drift_head": changed[half].mean(),
                "drift_tail": changed[~half].mean(),
                "drift_epoch": (codes != before).any(axis=1).mean(),
                "collisions": collisions.shared_items,
                "largest_group": collisions.largest,
            }
            for key, value in values.items():
                history.loc[history["epoch"] == e, key] = value
        before = codes
    suffix = pd.DataFrame(codes).groupby(list(range(LEVELS))).cumcount().to_numpy()
    start_suffix = pd.DataFrame(start_codes).groupby(list(range(LEVELS))).cumcount().to_numpy()
    sids = np.column_stack([codes, suffix])
    start = np.column_stack([start_codes, start_suffix]) if moves else None
    return history, pd.DataFrame(level_rows), pd.concat(code_rows), sids, start


def write_study(folder, *, seeds=3, users=300, epochs=EPOCHS):
    """Three real datasets and a simulated one: better, no difference, worse, and the demo."""
    folder = Path(folder)
    for dataset, lift, simulated in (
        ("alpha", 1.6, False),
        ("beta", 1.0, False),
        ("gamma", 0.5, False),
        ("demo", 1.5, True),
    ):
        common = {"dataset": dataset, "users": users, "simulated": simulated, "epochs": epochs}
        for seed in range(seeds):
            write_run(folder, method="static", seed=seed, quality=0.3, **common)
            write_run(
                folder,
                method="differentiable",
                decay="frqud",
                seed=seed,
                quality=0.3 * lift,
                **common,
            )
            write_run(folder, method="sasrec", seed=seed, quality=0.35, **common)
        write_run(folder, method="popularity", seed=0, quality=0.08, **common)
        write_run(folder, method="detached", seed=0, quality=0.3, **common)
        write_run(folder, method="ste", seed=0, quality=0.12, **common)
        write_run(
            folder, method="differentiable", decay="sdud", seed=0, quality=0.3 * lift, **common
        )
    return folder


def write_broken(folder):
    """Folders that look like bundles and are not: empty manifest, newer format, changed file."""
    folder = Path(folder)
    (folder / "no-manifest").mkdir(parents=True)
    (folder / "no-manifest" / "config.json").write_text("{}")
    newer = folder / "newer"
    newer.mkdir()
    (newer / "manifest.json").write_text('{"format": 99, "kind": "results-only", "files": {}}')
    changed = write_run(folder, name="changed", dataset="alpha")
    text = (changed / "metrics.json").read_bytes()
    (changed / "metrics.json").write_bytes(text[:-2] + b" }")
    foreign = folder / "foreign"
    foreign.mkdir()
    (foreign / "manifest.json").write_text("<html>not json</html>")
    (folder / "unrelated").mkdir()
    return folder
