"""Suffixes, SIDs as text, code statistics and SIDs from a file."""

from __future__ import annotations

import gzip
import json
import math
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from diger.bundle.tables import sid_csv
from diger.errors import DigerError
from diger.tokenizer.build import TokenizerConfig, build_tokenizer
from diger.tokenizer.from_file import FileTokenizer, read_sids
from diger.tokenizer.stats import collision_stats, perplexity, sid_stats
from diger.tokenizer.suffix import assign_suffix, format_sid, parse_sid


def test_suffix_counts_within_equal_codes_by_row():
    codes = np.array([[1, 2], [3, 4], [1, 2], [1, 2], [3, 4], [0, 0]])
    assert assign_suffix(codes, size=3).tolist() == [0, 0, 1, 2, 1, 0]
    assert assign_suffix(np.zeros((0, 2), int), size=1).tolist() == []


def test_suffix_stays_where_codes_stay_and_gaps_are_filled():
    before, suffix = np.array([[1], [1], [1], [2], [2]]), np.array([0, 1, 2, 0, 1])
    for after, expected in (
        # Row 1 leaves code 1 for code 2, where 0 and 1 are taken; row 3 takes the place it left.
        ([1, 2, 1, 1, 2], [0, 0, 2, 1, 1]),
        ([1, 7, 1, 7, 2], [0, 0, 2, 1, 1]),  # to an empty place: numbered from 0
        ([1, 1, 1, 2, 2, 1, 6], [0, 1, 2, 0, 1, 3, 0]),  # items added to the catalogue
    ):
        moved = assign_suffix(np.array(after)[:, None], suffix, before, size=4)
        assert moved.tolist() == expected


def test_suffix_is_always_unique_and_stable_under_random_moves():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 3, (60, 2))
    suffix = assign_suffix(codes, size=60)
    for _ in range(20):
        moved = codes.copy()
        rows = rng.choice(60, 10, replace=False)
        moved[rows] = rng.integers(0, 3, (10, 2))
        following = assign_suffix(moved, suffix, codes, size=60)
        stayed = (moved == codes).all(1)
        assert (following[stayed] == suffix[stayed]).all()
        assert len(np.unique(np.c_[moved, following], axis=0)) == 60
        assert following.max() < np.unique(moved, axis=0, return_counts=True)[1].max() + 20
        codes, suffix = moved, following


def test_suffixes_that_overflow_or_clash_are_refused():
    codes = np.array([[12, 200, 7]] * 3 + [[0, 0, 0]])
    with pytest.raises(DigerError, match=r"3 items share .*12-200-7 .*room for 2"):
        assign_suffix(codes, size=2)
    for previous, message in (([0, 0], "not all different"), ([0, 9], "not all under 4")):
        with pytest.raises(DigerError, match=message):
            assign_suffix(codes[:2], np.array(previous), codes[:2], size=4)
    with pytest.raises(ValueError, match="previous_codes"):
        assign_suffix(codes[:2], np.array([0, 1]), size=4)


def test_sid_text_round_trip():
    assert format_sid(np.array([12, 200, 7, 0])) == "12-200-7-0"
    assert parse_sid(" 12-200-7-0 ") == (12, 200, 7, 0)
    for wrong in ("", "12-", "-1-2", "1_2", "1-2 3"):
        with pytest.raises(DigerError, match="is not a SID"):
            parse_sid(wrong)


def test_statistics_by_hand():
    # Level 1: codes 0, 0, 1, 1 of 4: two effective codes. Level 2: one code.
    stats = sid_stats(np.array([[0, 3], [0, 3], [1, 3], [1, 3]]), 4)
    first, second = stats.levels
    assert (first.used, first.dead) == (2, 2)
    assert (first.entropy, first.perplexity) == pytest.approx((math.log(2), 2))
    assert first.balance == pytest.approx(0.5)
    assert (second.used, second.dead, second.entropy, second.perplexity) == (1, 3, 0, 1)
    assert json.loads(json.dumps(stats.to_dict()))["collisions"]["items"] == 4
    shared = collision_stats(np.array([[0, 1], [0, 1], [0, 1], [2, 2], [3, 3], [3, 3]]))
    assert (shared.distinct, shared.shared_items, shared.largest) == (3, 5, 3)
    assert shared.unique_share == pytest.approx(1 / 6)
    assert collision_stats(np.zeros((0, 3), int)).unique_share == 1
    assert perplexity(np.zeros(4)) == 0


IDS = ["10", "11", "12"]
INDEX = {"10": ["<a_3>", "<b_0>"], "12": ["<a_1>", "<b_2>"], "11": ["<a_3>", "<b_1>"]}


def write(path: Path, content: object) -> Path:
    text = (content if isinstance(content, str) else json.dumps(content)).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


SHIFTED = {"9": [1, 2], "10": [0, 0], "11": [3, 3]}


@pytest.mark.parametrize(
    ("name", "content", "options", "codes", "suffix"),
    [
        ("index.json", INDEX, {}, [[3, 0], [3, 1], [1, 2]], None),
        ("index.json.gz", SHIFTED, {"key_offset": 1}, [[1, 2], [0, 0], [3, 3]], None),
        (
            "sids.csv",
            "item_id,sid\n12,1-2-0\n10,3-0-0\n11,3-0-1\n",
            {"levels": 2, "suffix": True},
            [[3, 0], [3, 0], [1, 2]],
            [0, 1, 0],
        ),
    ],
)
def test_files_are_read_in_item_order(tmp_path: Path, name, content, options, codes, suffix):
    sids = read_sids(write(tmp_path / name, content), IDS, codebook_size=4, **options)
    assert sids.codes.tolist() == codes
    assert (None if sids.suffix is None else sids.suffix.tolist()) == suffix


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({**INDEX, "99": ["<a_0>", "<b_0>"]}, r"does not have: 99 \(1 in all\)"),
        ({"10": ["<a_3>", "<b_0>"]}, r"no SID for: 11, 12 \(2 in all\)"),
        (SHIFTED, "check key_offset, which is 0"),
        ({**INDEX, "11": ["<a_3>"]}, "item 11 has 1 numbers, expected 2"),
        ({**INDEX, "11": ["<a_3>", "<b_4>"]}, r"item 11 has code 4 at level 2, outside 0\.\.3"),
        ({**INDEX, "11": ["<a_3>", "x"]}, "'x' is not a code"),
        ({**INDEX, "11": [3, 10**30]}, "is not a code"),
        ({**INDEX, "11": []}, "expected a list of codes"),
        ({**INDEX, "11": {"a": 1}}, "expected a list of codes"),
        ([[1, 2]], "must be one JSON object"),
        ("[" * 100_000, "is not JSON"),
        ("{", "is not JSON: .* line 1"),
        ('{"10": [1, 2], "10": [1, 2]}', "item 10 appears twice"),
    ],
)
def test_json_that_does_not_fit_is_refused(content: object, message: str, tmp_path: Path):
    with pytest.raises(DigerError, match=message):
        read_sids(write(tmp_path / "index.json", content), IDS, codebook_size=4)


def test_file_that_is_missing_or_damaged(tmp_path: Path):
    damaged = tmp_path / "index.json.gz"
    damaged.write_bytes(gzip.compress(b"{}")[:-4])
    for path, message in (
        (tmp_path / "no.json", "not found"),
        (damaged, "cannot be read"),
        (write(tmp_path / "a.csv", "item,sid\n"), "no column item_id"),
        (write(tmp_path / "b.csv", "item_id,sid\n10,1-2\n11,oops\n"), "line 3: 'oops' is not"),
    ):
        with pytest.raises(DigerError, match=message):
            read_sids(path, IDS, codebook_size=4)
    with pytest.raises(DigerError, match="key_offset = 1 cannot be added"):
        read_sids(write(tmp_path / "x.json", {"x": [1, 2]}), IDS, codebook_size=4, key_offset=1)


def test_file_tokenizer_has_codes_but_no_vectors(tmp_path: Path):
    path = write(tmp_path / "index.json", INDEX)
    config = TokenizerConfig(kind="file", levels=2, codebook_size=4, file={"path": str(path)})
    tokenizer, codes = build_tokenizer(config, None, seed=0, item_ids=IDS)
    assert isinstance(tokenizer, FileTokenizer)
    assert codes.tolist() == tokenizer.codes.tolist() == [[3, 0], [3, 1], [1, 2]]
    assert (tokenizer.levels, tokenizer.codebook_size, tokenizer.width) == (2, 4, 0)
    assert list(tokenizer.state_dict()) == ["codebooks"]
    for call in (tokenizer.assign, tokenizer.latent, tokenizer.losses, tokenizer.quantize):
        with pytest.raises(DigerError, match="no vectors"):
            call(torch.zeros(1, 3))
    wrong = config.model_copy(update={"levels": 3})
    with pytest.raises(DigerError, match="has 2 numbers, expected 3"):
        build_tokenizer(wrong, None, seed=0, item_ids=IDS)


@pytest.mark.skipif("DIGER_DATA" not in os.environ, reason="set DIGER_DATA to the data folder")
@pytest.mark.parametrize(
    ("name", "offset", "distinct"),
    [("beauty", 1, 12088), ("yelp", 1, 19201), ("instruments", 0, 9897)],
)
def test_published_letter_indices(name: str, offset: int, distinct: int):
    folder = Path(os.environ["DIGER_DATA"]) / name
    with gzip.open(folder / "items.jsonl.gz", "rt") as file:
        ids = [str(json.loads(line)["item_id"]) for line in file]
    path = folder / "letter_sids.json.gz"
    sids = read_sids(path, ids, codebook_size=256, levels=4, key_offset=offset)
    assert collision_stats(sids.codes).distinct == distinct
    full = np.c_[sids.codes, assign_suffix(sids.codes, size=256)]
    assert len(np.unique(full, axis=0)) == len(ids)


def test_ids_go_out_and_come_back_byte_for_byte(tmp_path):
    ids = ["-0a1QF", "=x", "@y", "+z", " blank ", 'a"b,c']
    items = pd.DataFrame({"item_id": ids, "code_1": range(6), "code_2": 0, "suffix": 0})
    path = tmp_path / "sids.csv"
    path.write_text(sid_csv(items), encoding="utf-8", newline="")
    read = read_sids(path, ids, codebook_size=8, suffix=True)
    assert read.codes[:, 0].tolist() == list(range(6))
