"""Keep what the single arms of studies/ablations.toml found, as one table instead of their bundles.

    python -m diger study studies/ablations.toml    makes the bundles, which do not come along
    python docs/single_arms.py                      puts their figures into single_arms.parquet

Arms without a bundle keep the rows they have. docs/tables.py makes the tables from it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from diger.bundle.documents import headline
from diger.bundle.reader import Bundle
from diger.statistics.sids import told

FOLDER = Path(__file__).parent
TABLE = FOLDER / "single_arms.parquet"
# Arms in SHIPPED have bundles in checkpoints/, all others are in TABLE.
VARIANTS = ("ste", "sdud", "no-decay", "no-noise", "gaussian", "tau-anneal", "cosine")
SHIPPED = ("static", "detached", "differentiable", *VARIANTS)
ARMS = {  # by what they ask
    "": {
        "static": "no SIDs move",
        "detached": "the tokenizer's own losses only",
        "differentiable": "the recipe: own losses, history, decoder, alignment; Gumbel, FrqUD",
    },
    "How far: the tokenizer's rate": {"lr-1e-4": "3 times the rate", "lr-3e-4": "10 times"},
    "Which loss moves them": {
        "light": "own losses at 5e-3, as published",
        "light-1e-4": "the same at 3 times the rate",
        "only-history": "of the recommendation gradients, one",
        "only-decoder": "one",
        "only-labels": "one",
        "only-alignment": "one",
        "light-history": "one, own losses at 5e-3",
        "light-decoder": "one",
        "light-labels": "one",
        "light-alignment": "one",
    },
    "Noise and its decay": {
        "sdud": "sigma learned",
        "sdud-frqud": "both",
        "no-decay": "Gumbel noise to the end",
        "no-noise": "soft backward, no noise",
        "gaussian": "Gaussian noise",
        "tau-anneal": "temperature down to a tenth",
        "cosine": "noise on a cosine",
    },
    "Way of training": {
        "frozen-learned": "a fresh recommender on the SIDs of `differentiable`",
        "settled": "SIDs still for the last half",
        "continued": "joint training from the trained static recommender",
        "continued-static": "the same recommender trained on, SIDs as they are",
        "sampled": "forward on sampled codes",
        "often": "SIDs assigned every 50 updates",
        "ste": "straight through, no noise",
    },
    "From random codebooks": {
        "random-static": "static",
        "random-ste": "ste",
        "random-differentiable": "differentiable",
    },
    "A plainer recommender: no prefix tables, no alignment": {
        "plain-static": "static",
        "plain-differentiable-1e-4": "1e-4",
    },
}


def epochs(arm: str, bundle: Bundle) -> pd.DataFrame:
    """A row an epoch.

    Returns: `arm`, `epoch`, `kept` (the selected model is of it), `validation` and `test` (ndcg@10
    over all users, where kept), `drift` (share of items with another SID than at the start),
    `collisions` (items that share all their codes with another), `codes_1`, `codes_2`, `codes_3`
    (effective codes a level) and `nats` told of the first code; missing where not recorded.
    """
    history = bundle.history.set_index("epoch")
    kept = history.index == bundle.about.selected_epoch
    rows = pd.DataFrame({"kept": kept}, index=history.index)
    for split in ("validation", "test"):
        value = headline(bundle.metrics, split)["metrics"]["ndcg@10"]
        rows[split] = pd.Series(float(value), history.index).where(kept)
    for name in ("drift", "collisions"):
        rows[name] = history[name].astype("float64") if name in history else float("nan")
    codes = bundle.levels.pivot(index="epoch", columns="level", values="perplexity")
    if "drift" not in history:  # SIDs that are fixed are described once
        codes = codes.reindex(history.index, method="ffill")
    rows[[f"codes_{level}" for level in (1, 2, 3)]] = codes[[1, 2, 3]].reindex(history.index)
    rows["nats"] = told(bundle)
    rows = rows.reset_index()
    rows.insert(0, "arm", arm)
    return rows


def found(folder: Path, arms: Sequence[str]) -> pd.DataFrame:
    """`epochs` of every arm that has a bundle in `folder`."""
    paths = {arm: folder / f"scientific-{arm}-s0" for arm in arms}
    frames = [
        epochs(arm, Bundle.open(path, verify=False)) for arm, path in paths.items() if path.exists()
    ]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=["arm"])


def main() -> int:
    """Replace the rows of the arms whose bundles are there."""
    arms = [arm for group in ARMS.values() for arm in group if arm not in SHIPPED]
    new = found(FOLDER.parent / "checkpoints", arms)
    old = pd.read_parquet(TABLE)
    rows = pd.concat([old[~old["arm"].isin(new["arm"])], new])
    rows = rows.sort_values("arm", key=lambda a: a.map(arms.index), kind="stable")
    rows.to_parquet(TABLE, index=False)
    print(f"{TABLE.name}: {rows['arm'].nunique()} of {len(arms)} arms, {new['arm'].nunique()} anew")
    return 0


if __name__ == "__main__":
    sys.exit(main())
