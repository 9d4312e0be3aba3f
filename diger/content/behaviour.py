"""Behaviour vectors: where an item stands among those that the same people use.

Items at most `window` steps apart in one user's *training* events count as a pair, with weight
1 / distance. Positive pointwise mutual information of the pair counts, with the context's
distribution to the power .75 (Levy, Goldberg and Dagan 2015),

    PPMI(i, j) = max(0, log(n_ij N_c / (n_i c_j))),   c_j = (sum_i n_ij)^.75,   N_c = sum_j c_j,

is cut to its leading `width` singular directions; a row is U sqrt(S), brought to unit length.
Neither validation nor test events enter: an item that no training event pairs with another has
no row, and gets its share from what else is known of it (`diger.content.fuse`).
"""

from __future__ import annotations

import hashlib

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import svds

from diger.content.vectors import ContentVectors
from diger.data.dataset import Dataset
from diger.errors import DigerError

CONTEXT_POWER = 0.75


def behaviour_vectors(dataset: Dataset, *, window: int = 5, width: int = 64) -> ContentVectors:
    """Vectors float32 (items, width) from training events alone; zeros where there is no pair."""
    counts = pair_counts(dataset, window)
    paired = np.asarray(counts.sum(axis=1)).ravel() > 0
    if paired.sum() <= width:
        raise DigerError(
            f"dataset {dataset.name}: only {int(paired.sum()):,} of {dataset.n_items:,} items "
            f"stand beside another one in the training events, too few for behaviour vectors of "
            f"{width} numbers; leave `behaviour` out of content.sources, or prepare the dataset "
            "with more events a user"
        )
    vectors = np.zeros((dataset.n_items, width), np.float32)
    vectors[paired] = _directions(_ppmi(counts)[paired][:, paired], width)
    made_of = f"{dataset.info.fingerprint} {window} {width} {CONTEXT_POWER}"
    revision = f"sha256:{hashlib.sha256(made_of.encode()).hexdigest()}"
    return ContentVectors(vectors, ~paired, "behaviour", revision, None, "training events")


def pair_counts(dataset: Dataset, window: int) -> sparse.csr_matrix:
    """Symmetric (items, items): summed 1 / distance of pairs in users' training events."""
    mask = dataset.training_mask()
    events = dataset.events[mask].astype(np.int64)
    user = np.repeat(np.arange(dataset.n_users), dataset.train_end - dataset.offsets[:-1])
    n = dataset.n_items
    total = sparse.csr_matrix((n, n))
    for distance in range(1, window + 1):
        left, right = events[:-distance], events[distance:]
        kept = (user[:-distance] == user[distance:]) & (left != right)
        weights = np.full(int(kept.sum()), 1 / distance)
        total = total + sparse.csr_matrix((weights, (left[kept], right[kept])), shape=(n, n))
    return (total + total.T).tocsr()


def _ppmi(counts: sparse.csr_matrix) -> sparse.csr_matrix:
    rows = np.asarray(counts.sum(axis=1)).ravel()
    context = rows**CONTEXT_POWER
    entries = counts.tocoo()
    value = np.log(entries.data * context.sum() / (rows[entries.row] * context[entries.col]))
    kept = value > 0
    at = (entries.row[kept], entries.col[kept])
    return sparse.csr_matrix((value[kept], at), shape=counts.shape)


def _directions(ppmi: sparse.csr_matrix, width: int) -> np.ndarray:
    # A fixed start and fixed signs: the same events give the same SIDs.
    start = np.random.default_rng(0).standard_normal(min(ppmi.shape))
    left, strength, _ = svds(ppmi, k=width, v0=start)
    order = np.argsort(-strength)
    left, strength = left[:, order], strength[order]
    peak = np.abs(left).argmax(axis=0)
    left = left * np.sign(left[peak, np.arange(width)])
    rows = left * np.sqrt(strength)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
