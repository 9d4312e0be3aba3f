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
from diger.tokenizer.from_file import FileSids, FileTokenizer, read_sids
from diger.tokenizer.stats import collision_stats, perplexity, sid_stats
from diger.tokenizer.suffix import assign_suffix, format_sid, parse_sid

# --- suffix ---------------------------------------------------------------------------------------


def test_suffix_counts_within_equal_codes_by_row():
    codes = np.array([[1, 2], [3, 4], [1, 2], [1, 2], [3, 4], [0, 0]])
    assert assign_suffix(codes, size=3).tolist() == [0, 0, 1, 2, 1, 0]
    assert assign_suffix(np.zeros((0, 2), int), size=1).tolist() == []


def test_suffix_stays_where_codes_stay_and_gaps_are_filled():
    before = np.array([[1], [1], [1], [2], [2]])
    suffix = assign_suffix(before, size=4)
    assert suffix.tolist() == [0, 1, 2, 0, 1]
    # Row 1 leaves code 1 for code 2, where 0 and 1 are taken; row 3 takes the place it left.
    after = np.array([[1], [2], [1], [1], [2]])
    moved = assign_suffix(after, suffix, before, size=4)
    assert moved.tolist() == [0, 0, 2, 1, 1]
    # To an empty place: numbered from 0.
    alone = np.array([[1], [7], [1], [7], [2]])
    assert assign_suffix(alone, suffix, before, size=4).tolist() == [0, 0, 2, 1, 1]


def test_suffix_of_items_added_to_the_catalogue():
    before = np.array([[5], [5]])
    after = np.array([[5], [5], [5], [6]])
    assert assign_suffix(after, np.array([1, 0]), before, size=3).tolist() == [1, 0, 2, 0]


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
        full = np.c_[moved, following]
        assert len(np.unique(full, axis=0)) == 60
        assert following.max() < np.unique(moved, axis=0, return_counts=True)[1].max() + 20
        codes, suffix = moved, following


def test_suffix_overflow_names_the_crowded_codes():
    codes = np.array([[12, 200, 7]] * 3 + [[0, 0, 0]])
    message = "3 items share the codes 12-200-7 but the suffix has room for 2"
    with pytest.raises(DigerError, match=message):
        assign_suffix(codes, size=2)


def test_suffixes_that_clash_are_refused():
    codes = np.array([[1], [1]])
    with pytest.raises(DigerError, match="not all different"):
        assign_suffix(codes, np.array([0, 0]), codes, size=4)
    with pytest.raises(DigerError, match="not all under 4"):
        assign_suffix(codes, np.array([0, 9]), codes, size=4)
    with pytest.raises(ValueError, match="previous_codes"):
        assign_suffix(codes, np.array([0, 1]), size=4)


def test_sid_text_round_trip():
    assert format_sid(np.array([12, 200, 7, 0])) == "12-200-7-0"
    assert parse_sid(" 12-200-7-0 ") == (12, 200, 7, 0)
    for wrong in ("", "12-", "-1-2", "1_2", "a-b", "1-2 3"):
        with pytest.raises(DigerError, match="is not a SID"):
            parse_sid(wrong)


# --- statistics -----------------------------------------------------------------------------------


def test_level_statistics_by_hand():
    # Level 1: codes 0, 0, 1, 1 of 4: two effective codes. Level 2: one code.
    stats = sid_stats(np.array([[0, 3], [0, 3], [1, 3], [1, 3]]), 4)
    first, second = stats.levels
    assert (first.used, first.dead) == (2, 2)
    assert first.entropy == pytest.approx(math.log(2))
    assert first.perplexity == pytest.approx(2)
    assert first.balance == pytest.approx(0.5)
    assert (second.used, second.dead, second.entropy) == (1, 3, 0)
    assert second.perplexity == 1
    assert json.loads(json.dumps(stats.to_dict()))["collisions"]["items"] == 4


def test_collisions_by_hand():
    stats = collision_stats(np.array([[0, 1], [0, 1], [0, 1], [2, 2], [3, 3], [3, 3]]))
    assert (stats.distinct, stats.shared_items, stats.largest) == (3, 5, 3)
    assert stats.unique_share == pytest.approx(1 / 6)
    assert collision_stats(np.zeros((0, 3), int)).unique_share == 1


def test_perplexity_of_nothing_is_zero():
    assert perplexity(np.zeros(4)) == 0


# --- SIDs from a file -----------------------------------------------------------------------------

IDS = ["10", "11", "12"]
INDEX = {"10": ["<a_3>", "<b_0>"], "12": ["<a_1>", "<b_2>"], "11": ["<a_3>", "<b_1>"]}


def write(path: Path, content: object) -> Path:
    text = content if isinstance(content, str) else json.dumps(content)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


@pytest.mark.parametrize("name", ["index.json", "index.json.gz"])
def test_json_index_is_read_in_item_order(name: str, tmp_path: Path):
    sids = read_sids(write(tmp_path / name, INDEX), IDS, codebook_size=4)
    assert sids.codes.tolist() == [[3, 0], [3, 1], [1, 2]]
    assert sids.suffix is None


def test_key_offset_and_plain_integers(tmp_path: Path):
    path = write(tmp_path / "index.json", {"9": [1, 2], "10": [0, 0], "11": [3, 3]})
    sids = read_sids(path, IDS, codebook_size=4, key_offset=1)
    assert sids.codes.tolist() == [[1, 2], [0, 0], [3, 3]]


def test_csv_with_suffix(tmp_path: Path):
    path = write(tmp_path / "sids.csv", "item_id,sid\n12,1-2-0\n10,3-0-0\n11,3-0-1\n")
    sids = read_sids(path, IDS, codebook_size=4, levels=2, suffix=True)
    assert sids.codes.tolist() == [[3, 0], [3, 0], [1, 2]]
    assert sids.suffix is not None and sids.suffix.tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({**INDEX, "99": ["<a_0>", "<b_0>"]}, r"does not have: 99 \(1 in all\)"),
        ({"10": ["<a_3>", "<b_0>"]}, r"no SID for: 11, 12 \(2 in all\)"),
        ({**INDEX, "11": ["<a_3>"]}, "item 11 has 1 numbers, expected 2"),
        ({**INDEX, "11": ["<a_3>", "<b_4>"]}, r"item 11 has code 4 at level 2, outside 0\.\.3"),
        ({**INDEX, "11": ["<a_3>", "x"]}, "'x' is not a code"),
        ({**INDEX, "11": []}, "expected a list of codes"),
        ({**INDEX, "11": {"a": 1}}, "expected a list of codes"),
        ([[1, 2]], "must be one JSON object"),
        ({**INDEX, "11": [3, 10**30]}, "is not a code"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "must be one JSON object"),
        ("{", "is not JSON: .* line 1"),
        ('{"10": [1, 2], "10": [1, 2]}', "item 10 appears twice"),
    ],
)
def test_json_that_does_not_fit_is_refused(content: object, message: str, tmp_path: Path):
    with pytest.raises(DigerError, match=message):
        read_sids(write(tmp_path / "index.json", content), IDS, codebook_size=4)


def test_wrong_offset_is_guessed_at(tmp_path: Path):
    path = write(tmp_path / "index.json", {"9": [1, 2], "10": [0, 0], "11": [3, 3]})
    with pytest.raises(DigerError, match="check key_offset, which is 0"):
        read_sids(path, IDS, codebook_size=4)
    path = write(tmp_path / "index.json", {"x": [1, 2]})
    with pytest.raises(DigerError, match="key_offset = 1 cannot be added"):
        read_sids(path, IDS, codebook_size=4, key_offset=1)


def test_file_that_is_missing_or_damaged(tmp_path: Path):
    with pytest.raises(DigerError, match="not found"):
        read_sids(tmp_path / "no.json", IDS, codebook_size=4)
    damaged = tmp_path / "index.json.gz"
    damaged.write_bytes(gzip.compress(b"{}")[:-4])
    with pytest.raises(DigerError, match="cannot be read"):
        read_sids(damaged, IDS, codebook_size=4)
    path = write(tmp_path / "sids.csv", "item,sid\n")
    with pytest.raises(DigerError, match="no column item_id"):
        read_sids(path, IDS, codebook_size=4)
    path = write(tmp_path / "sids.csv", "item_id,sid\n10,1-2\n11,oops\n")
    with pytest.raises(DigerError, match=r"line 3: 'oops' is not a SID"):
        read_sids(path, IDS, codebook_size=4)


def test_file_tokenizer_has_codes_but_no_vectors():
    sids = FileSids(np.array([[0, 1], [1, 1]]), None)
    tokenizer = FileTokenizer(sids, codebook_size=4)
    assert (tokenizer.levels, tokenizer.codebook_size, tokenizer.width) == (2, 4, 0)
    assert tokenizer.codes.tolist() == [[0, 1], [1, 1]]
    assert list(tokenizer.state_dict()) == ["codebooks"]
    for call in (tokenizer.assign, tokenizer.latent, tokenizer.losses, tokenizer.quantize):
        with pytest.raises(DigerError, match="no vectors"):
            call(torch.zeros(1, 3))


def test_file_tokenizer_from_a_configuration(tmp_path: Path):
    path = write(tmp_path / "index.json", INDEX)
    config = TokenizerConfig(kind="file", levels=2, codebook_size=4, file={"path": str(path)})
    tokenizer, codes = build_tokenizer(config, None, seed=0, item_ids=IDS)
    assert codes.tolist() == [[3, 0], [3, 1], [1, 2]]
    assert isinstance(tokenizer, FileTokenizer)
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
