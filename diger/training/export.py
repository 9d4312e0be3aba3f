"""From a finished run to the files of its bundle."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from diger.bundle import schema
from diger.bundle.card import model_card
from diger.bundle.reader import Bundle
from diger.bundle.tables import items_frame, topk_frame
from diger.bundle.writer import BundleWriter
from diger.config import Recipe
from diger.data.dataset import Dataset
from diger.evaluation import beyond_accuracy
from diger.evaluation.metrics import corrected_summary, summary
from diger.evaluation.ranking import SplitRanks
from diger.evaluation.slices import POPULARITY_BINS
from diger.files import file_sha256
from diger.recommender.products import arithmetic
from diger.tokenizer.stats import level_records, sid_stats
from diger.training import distributed
from diger.training.environment import code_version, hardware
from diger.training.loop import FitResult
from diger.training.sids import Content, Sids

SAMPLE_USERS = 8  # of the test split, among a bundle's examples


@dataclass(frozen=True, eq=False)
class RunRecord:
    """Everything a finished run leaves, before it becomes files."""

    name: str
    recipe: Recipe
    dataset: Dataset
    seed: int
    device: torch.device
    content: Content | None
    sids: Sids | None
    start: Sids | None
    model: nn.Module | None
    fitted: FitResult | None
    ranks: list[SplitRanks]
    other_decodings: list[SplitRanks]
    half: bool
    sids_from: Path | None
    start_from: Path | None
    seconds: dict[str, float]
    peak_memory_bytes: int


def write_bundle(record: RunRecord, out: Path, *, force: bool = False) -> None:
    """Write the bundle of a run at `out`, whole or not at all."""
    config = _config(record)
    ranked = (*record.ranks, *record.other_decodings)
    metrics = {"results": [result(ranks, record.dataset) for ranks in ranked]}
    items = _items(record)
    codes = None
    with BundleWriter(out, force=force) as writer:
        writer.json(schema.CONFIG, config)
        writer.json(schema.METRICS, metrics)
        writer.frame(schema.ITEMS, items)
        ranks = pd.concat([r.frame for r in record.ranks], ignore_index=True)
        if record.dataset.info.viewers_are_private:
            writer.frame(schema.RANKS, without_viewers(ranks, record.dataset.n_users))
        else:
            writer.frame(schema.RANKS, ranks)
            writer.frame(schema.TOPK, _topk(record))
        if record.fitted is not None:
            writer.frame(schema.HISTORY, record.fitted.history)
        if record.sids is not None:
            levels = _levels(record)
            writer.frame(schema.CODES, _codes(levels))
            writer.frame(schema.LEVELS, pd.DataFrame([_without_counts(r) for r in levels]))
        examples = _examples(record)
        if examples is not None:
            writer.frame(schema.EXAMPLES, examples)
        writer.tensors(schema.MODEL, _weights(record))
        if record.content is not None:
            writer.tensors(schema.CONTENT, *_content(record.content, record.half))
        writer.text(schema.CARD, model_card(config, metrics, items, codes=codes))


def result(ranks: SplitRanks, dataset: Dataset) -> dict[str, Any]:
    """One entry of metrics.json: item-level metrics of a ranked split."""
    frame = ranks.frame
    return {
        "split": ranks.split,
        "decoding": ranks.decoding,
        "users": len(frame),
        "metrics": summary(frame["rank"]),
        "collision_corrected": corrected_summary(frame["group_first"], frame["group_size"]),
        "beyond_accuracy": beyond_accuracy.summary(ranks.top, dataset.training_popularity()),
    }


def _config(record: RunRecord) -> dict[str, Any]:
    info, recipe = record.dataset.info, record.recipe
    tokenizer: dict[str, Any] = {}
    if record.sids is not None:
        tokenizer = {
            **_without_paths(recipe.model_dump(mode="json"))["tokenizer"],
            **_file_hashes(record),
            "sizes": list(record.sids.sizes),
            **sid_stats(record.sids.codes, recipe.tokenizer.codebook_size).to_dict(),
        }
    content: dict[str, Any] = {}
    if record.content is not None:
        raw = record.content.raw
        content = {
            "encoder": encoder_name(raw.encoder),
            "revision": raw.revision,
            "max_tokens": raw.max_tokens,
            "vectors_sha256": hashlib.sha256(raw.vectors.tobytes()).hexdigest(),
            "sources": _sources(record.content),
        }
    return {
        "format": schema.FORMAT_VERSION,
        "name": record.name,
        "dataset": {
            "name": info.name,
            "title": info.title,
            "fingerprint": info.fingerprint,
            "text_fingerprint": info.text_fingerprint,
            "simulated": info.simulated,
            "text_may_be_published": info.text_may_be_published,
            "viewers_are_private": info.viewers_are_private,
            "licence": info.licence,
            "source": info.source,
            "users": info.n_users,
            "items": info.n_items,
            "events": info.n_events,
            "split": info.split,
        },
        "arm": recipe.arm,
        "backbone": recipe.backbone.kind,
        "recipe": _without_paths(recipe.model_dump(mode="json")),
        "tokenizer": tokenizer,
        "content": content,
        "seed": record.seed,
        "sids_from": _origin(record.sids_from, (schema.ITEMS,)),
        # Ranks follow from the weights, and are still there when these have been dropped.
        "start_from": _origin(record.start_from, (schema.ITEMS, schema.MODEL, schema.RANKS)),
        "code_version": code_version(),
        "hardware": hardware(record.device)
        | {"arithmetic": arithmetic(record.device, recipe.training.precision)}
        | _together(),
        "seconds": {k: round(v, 3) for k, v in record.seconds.items()},
        "peak_memory_bytes": record.peak_memory_bytes,
        "parameters": _count(record.model),
        "precision": "half" if record.half else "single",
        "selected_epoch": record.fitted.best_epoch if record.fitted else 0,
    }


def _sources(content: Content) -> list[dict[str, Any]]:
    """Name, revision, weight and number of items of each source; how much of it is foretold."""
    rows = zip(content.weights, content.revisions, content.known.sum(axis=0), strict=True)
    return [
        {
            "name": encoder_name(name),
            "revision": revision,
            "weight": content.weights[name],
            "items": int(items),
            **({"foretold": content.told[name]} if name in content.told else {}),
        }
        for name, revision, items in rows
    ]


def encoder_name(encoder: str) -> str:
    """A model's name as it is, the path of a .npy cut to the file's name."""
    return Path(encoder).name if encoder.endswith(".npy") else encoder


def _without_paths(recipe: dict[str, Any]) -> dict[str, Any]:
    """File paths cut to their names: where a file lay on this machine is nobody's business."""
    content, file = recipe["content"], recipe["tokenizer"].get("file")
    content["encoder"] = encoder_name(content["encoder"])
    content["sources"] = {encoder_name(name): w for name, w in content["sources"].items()}
    if file:
        file["path"] = Path(file["path"]).name
    if recipe["tokenizer"].get("checkpoint"):
        recipe["tokenizer"]["checkpoint"] = Path(recipe["tokenizer"]["checkpoint"]).name
    return recipe


def _file_hashes(record: RunRecord) -> dict[str, str]:
    """SHA-256 of the files that SIDs or an RQ-VAE were read from, unless a bundle gave the SIDs."""
    found = {}
    for key, path in record.recipe.tokenizer.files.items():
        if record.sids_from is None and Path(path).is_file():
            found[f"{key}_sha256"] = file_sha256(Path(path))
    return found


def _together() -> dict[str, int]:
    """How many processes trained, where there were several."""
    count = distributed.processes()
    return {"processes": count} if count > 1 else {}


def _origin(path: Path | None, files: tuple[str, ...]) -> dict[str, Any] | None:
    """Which bundle something was taken from, with the SHA-256 of those of `files` it has."""
    if path is None:
        return None
    bundle = Bundle.open(path, verify=False)
    told = {"arm": bundle.config["arm"], "seed": bundle.config["seed"]}
    there = bundle.manifest.files
    hashes = {name: there[name].sha256 for name in files if name in there}
    return {"name": bundle.name, **told, "hash": bundle.hash, "files": hashes}


def _count(model: nn.Module | None) -> int:
    return sum(p.numel() for p in model.parameters()) if model is not None else 0


def _items(record: RunRecord) -> pd.DataFrame:
    dataset, start = record.dataset, record.start
    return items_frame(
        dataset.items["item_id"],
        dataset.training_popularity(),
        sids=_matrix(record.sids) if record.sids else None,
        start_sids=_matrix(start) if record.recipe.joint is not None and start else None,
        text=dataset.items if dataset.info.text_may_be_published else None,
    )


def _matrix(sids: Sids) -> np.ndarray:
    """(items, levels + 1) codes and suffix."""
    return np.column_stack([sids.codes, sids.suffix])


def without_viewers(ranks: pd.DataFrame, n_users: int) -> pd.DataFrame:
    """`ranks` without anything that tells what a viewer watched.

    No target, nor its exact popularity, which would name it: the lowest of its slice stands in its
    place. Users are numbered anew, the same way for all runs, so that they still pair.
    """
    lows = np.array([low for low, _ in POPULARITY_BINS])
    slice_of = np.searchsorted(lows, ranks["target_popularity"], side="right") - 1
    number = np.random.default_rng(0).permutation(n_users)
    return (
        ranks.drop(columns=["target", "group_first", "group_size"])
        .assign(target_popularity=lows[slice_of], user=number[ranks["user"]])
        .sort_values(["split", "user"], ascending=[False, True], ignore_index=True)
    )


def _topk(record: RunRecord) -> pd.DataFrame:
    test = next(r for r in record.ranks if r.split == "test")
    return topk_frame(test.frame["user"].to_numpy(), test.top)


def _levels(record: RunRecord) -> list[dict[str, Any]]:
    """One record an epoch and level, with the count of items on each code; epoch 0 is the start."""
    assert record.start is not None
    codes, size = record.start.codes, record.recipe.tokenizer.codebook_size
    start = level_records(sid_stats(codes, size), codes, size, epoch=0)
    return start + (record.fitted.records if record.fitted else [])


def _codes(levels: list[dict[str, Any]]) -> pd.DataFrame:
    return pd.concat(
        pd.DataFrame(
            {
                "epoch": record["epoch"],
                "level": record["level"],
                "code": np.arange(len(record["counts"])),
                "items": np.asarray(record["counts"], np.int64),
            }
        )
        for record in levels
    )


def _without_counts(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key != "counts"}


def _examples(record: RunRecord) -> pd.DataFrame | None:
    """Histories to start from, where they may be published.

    Those that came with the dataset, then those of a few users with their true next item.
    """
    dataset = record.dataset
    if not dataset.info.text_may_be_published:
        return None
    rows = {item: row for row, item in enumerate(dataset.items["item_id"])}
    listed: list[dict[str, Any]] = [
        {
            "name": example.title,
            "story": example.story,
            "history": [rows[item] for item in example.items],
            "target": None,
        }
        for example in dataset.info.examples
    ]
    test = next(r for r in record.ranks if r.split == "test").frame
    if dataset.info.viewers_are_private:
        test = test.iloc[:0]
    typical = test[test["history_length"].between(5, 15)]
    for user in typical["user"].iloc[:: max(1, len(typical) // SAMPLE_USERS)][:SAMPLE_USERS]:
        at = int(dataset.test_at[user])
        listed.append(
            {
                "name": f"test user {dataset.user_ids[user]}",
                "story": "a history of the test split, with the item that came next",
                "history": dataset.events[dataset.offsets[user] : at].tolist(),
                "target": int(dataset.events[at]),
            }
        )
    if not listed:
        return None
    frame = pd.DataFrame(listed)
    frame["target"] = frame["target"].astype("Int32")
    return frame


def _weights(record: RunRecord) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    if record.model is not None:
        tensors |= {f"recommender.{k}": v for k, v in record.model.state_dict().items()}
    if record.sids is not None and record.sids.tokenizer is not None:
        state = record.sids.tokenizer.state_dict()
        # The tokenizer stays in single precision: rounding it could change a code.
        tensors |= {f"tokenizer.{k}": v for k, v in state.items()}
    if not tensors:
        counts = record.dataset.training_popularity()
        tensors["popularity"] = torch.from_numpy(counts)
    keep = torch.float16 if record.half else torch.float32
    return {
        k: v.detach().cpu().to(keep).contiguous() if k.startswith("recommender.") else v.cpu()
        for k, v in tensors.items()
    }


def _content(content: Content, half: bool) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    vectors = content.vectors.astype(np.float16 if half else np.float32)
    tensors = {"vectors": vectors, "missing": content.raw.missing, **content.newcomer.to_tensors()}
    if len(content.weights) > 1:
        tensors["known"] = content.known
    metadata = {
        "encoder": encoder_name(content.raw.encoder),
        "revision": content.raw.revision,
        "max_tokens": str(content.raw.max_tokens or ""),
    }
    return tensors, metadata
