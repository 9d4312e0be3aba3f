"""A whole toy bundle: six items with three levels of SIDs, four users."""

import numpy as np
import pandas as pd

from diger.bundle import BundleWriter, model_card
from diger.bundle.tables import items_frame, topk_frame

SIDS = np.array(
    [[1, 0, 3, 0], [1, 0, 3, 1], [1, 2, 0, 0], [0, 2, 1, 0], [0, 1, 1, 0], [2, 2, 2, 0]]
)
TITLES = pd.DataFrame(
    {
        "title": ["=1+1", "Red kite", None, "Blue *kite*", "-5 mat", "Tea\x1b[31m"],
        "categories": [["toys"], [], ["toys", "outdoor"], [], [], []],
    }
)


def config(**changes):
    document = {
        "name": "toys-static-s0",
        "dataset": {
            "name": "toys",
            "title": "Toys & games",
            "fingerprint": "f" * 64,
            "simulated": True,
            "text_may_be_published": True,
            "licence": "CC0",
            "users": 4,
            "items": 6,
            "events": 20,
            "split": "leave-one-out",
        },
        "arm": {"method": "static", "decay": "none", "noise": "none"},
        "recipe": {"name": "demo", "training": {"epochs": 3}},
        "seed": 0,
        "code_version": "0.1.0",
        "hardware": {"device": "cpu", "threads": 2, "torch": "2.13.0"},
        "seconds": {"tokenizer": 0.5, "training": 12.25},
        "peak_memory_bytes": 3 * 2**20,
        "parameters": 1234,
        "selected_epoch": 2,
        "tokenizer": {"levels": 3},
        "backbone": "causal",
    }
    dataset = changes.pop("dataset", {})
    return document | changes | {"dataset": document["dataset"] | dataset}


def metrics():
    values = {"recall@10": 0.5, "ndcg@10": 0.25}
    return {
        "results": [
            {"split": "validation", "decoding": "exact", "users": 4, "metrics": values},
            {"split": "test", "decoding": "beam, 20", "users": 4, "metrics": values},
            {"split": "test", "decoding": "exact", "users": 4, "metrics": {"recall@10": 0.75}},
        ]
    }


def items(text=True):
    start = SIDS.copy()
    start[3, 0] = 2
    return items_frame(
        [f"toy-{i}" for i in range(6)],
        np.array([5, 1, 0, 9, 2, 3]),
        sids=SIDS,
        start_sids=start,
        text=TITLES if text else None,
    )


def ranks():
    return pd.DataFrame(
        {
            "split": ["validation"] * 2 + ["test"] * 4,
            "user": [0, 1, 0, 1, 2, 3],
            "target": [0, 5, 1, 2, 3, 4],
            "rank": pd.array([1, None, 2, None, 11, 1], dtype="Int32"),
            "history_length": [2, 3, 3, 4, 12, 40],
            "target_popularity": [5, 3, 1, 0, 9, 2],
            "cold": [False, False, False, True, False, False],
        }
    )


def write_bundle(path, *, complete=True, force=False, text=True, **changes):
    """Write every file a bundle may have; `changes` go to the configuration."""
    document = config(**changes)
    with BundleWriter(path, force=force) as writer:
        writer.json("config.json", document)
        writer.json("metrics.json", metrics())
        writer.frame("items.parquet", items(text))
        writer.frame("ranks.parquet", ranks())
        rows = np.array([[3, 0, -1], [3, 5, 4], [0, 1, 2], [4, -1, -1]])
        writer.frame("topk.parquet", topk_frame(np.arange(4), rows))
        writer.frame("history.parquet", pd.DataFrame({"epoch": [0, 1, 2], "loss": [3.0, 2.5, 2]}))
        codes = pd.DataFrame(
            {
                "epoch": 2,
                "level": np.repeat([1, 2, 3], 4),
                "code": np.tile(np.arange(4), 3),
                "items": [2, 3, 1, 0, 2, 1, 3, 0, 1, 2, 1, 2],
            }
        )
        writer.frame("codes.parquet", codes)
        writer.frame("levels.parquet", pd.DataFrame({"epoch": [2], "level": [1], "drift": [0.1]}))
        if text:
            examples = {"name": ["a"], "history": [[0, 3, 1]], "target": pd.array([4], "Int32")}
            writer.frame("examples.parquet", pd.DataFrame(examples))
        if complete:
            weights = {"b": np.arange(6, dtype=np.float32), "a": np.ones((2, 3), np.float16)}
            writer.tensors("model.safetensors", weights, {"made by": "a test", "also": "é"})
            writer.tensors("content.safetensors", {"vectors": np.eye(6, dtype=np.float32)})
        writer.text(
            "README.md", model_card(document, metrics(), items=items(text), complete=complete)
        )
    return path
