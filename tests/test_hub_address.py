"""Addresses and the card's picture: what needs no Hub."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from diger.bundle.picture import check_picture, codes_svg
from diger.errors import DigerError
from diger.hub import is_address, local_path, parse
from diger.hub.address import parse_repo_id

# --- addresses ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "repo_id", "revision"),
    [
        ("hub://ann/demo", "ann/demo", "main"),
        ("hub://ann/demo.v-1_x@v1.0", "ann/demo.v-1_x", "v1.0"),
        ("ann/demo@refs/pr/3", "ann/demo", "refs/pr/3"),
        (Path("hub://ann/demo@v1"), "ann/demo", "v1"),
        ("https://huggingface.co/ann/demo/", "ann/demo", "main"),
        ("https://huggingface.co/ann/demo/tree/v1", "ann/demo", "v1"),
    ],
)
def test_addresses_are_read(text, repo_id, revision):
    address = parse(text)
    assert (address.repo_id, address.revision) == (repo_id, revision)
    assert parse(str(address)) == address


NO_ADDRESSES = ("", "hub://", "demo", "hub://demo", "a/b/c", "hub://a/..", "hub://a/b--c")
NO_ADDRESSES += ("hub://-a/b", "hub://a/b.", "hub://a/b c", "https://example.org/a/b")


@pytest.mark.parametrize("text", [*NO_ADDRESSES, "hub://a/\x1b[31m"])
def test_what_is_no_address_is_refused_in_one_line(text):
    with pytest.raises(DigerError, match="hub://owner/name") as caught:
        parse(text)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("revision", ["", "../x", "a//b", "-f", "a b"])
def test_revisions_are_checked(revision):
    with pytest.raises(DigerError, match="not a revision"):
        parse(f"hub://ann/demo@{revision}")


def test_only_a_commit_is_pinned():
    assert parse("ann/demo@" + "0a" * 20).is_pinned
    assert not parse("ann/demo@v1").is_pinned


def test_a_repo_id_has_no_revision():
    assert parse_repo_id("hub://ann/demo") == "ann/demo"
    with pytest.raises(DigerError, match="without a revision"):
        parse_repo_id("ann/demo@v1")


def test_paths_stay_paths(tmp_path):
    assert local_path(tmp_path) == tmp_path
    assert local_path("ann/demo") == Path("ann/demo")  # a folder of that name, not the Hub
    assert not is_address("C:\\hub\\ann") and not is_address("hubs/a/b")


def test_neither_the_client_nor_torch_is_imported_for_a_path():
    code = (
        "import sys, diger, diger.hub as h; h.local_path('somewhere'); "
        "print([m for m in ('torch', 'huggingface_hub', 'httpx', 'httpx2') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[1]
    )
    assert done.stdout.strip() == "[]", done.stderr


# --- the picture ----------------------------------------------------------------------------------


def codes(levels=3, size=4, epochs=(0,)) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"epoch": epoch, "level": level + 1, "code": code, "items": (code + level + epoch) % 5}
            for epoch in epochs
            for level in range(levels)
            for code in range(size)
        ]
    )


def test_the_picture_shows_every_level_and_is_the_same_each_time():
    picture = codes_svg(codes(), {})
    check_picture(picture.encode())
    assert picture == codes_svg(codes().sample(frac=1, random_state=0), {})
    assert [f"level {n}<" in picture for n in (1, 2, 3, 4)] == [True, True, True, False]
    assert "3 of 4 codes" in picture and "stroke-width" not in picture


def test_the_picture_of_a_joint_run_shows_where_it_began():
    picture = codes_svg(codes(epochs=(0, 3, 7)), {"selected_epoch": 3})
    check_picture(picture.encode())
    assert "epoch 3" in picture and "at the start of joint training" in picture


def test_bars_have_the_height_of_their_count():
    table = pd.DataFrame({"epoch": 0, "level": 1, "code": [0, 1, 2], "items": [1, 4, 1]})
    # One panel from x 34 to 760, baseline 144, 104 high: 4 items fill it, 1 item takes a quarter.
    assert "M34,144V40H276V118H760L760,144Z" in codes_svg(table, {})


def test_many_levels_and_no_items_are_drawn():
    check_picture(codes_svg(codes(levels=9), {}).encode())
    check_picture(codes_svg(codes().assign(items=np.int64(0)), {}).encode())
    with pytest.raises(DigerError, match="no code usage to draw"):
        codes_svg(codes().iloc[:0], {})


@pytest.mark.parametrize(
    "change",
    [
        ("</svg>", "<script>alert(1)</script></svg>"),
        ("<g>", '<g onload="alert(1)">'),
        ("<g>", '<a href="http://example.org"/><g>'),
        ('fill="#4c78a8"', 'fill="url(http://example.org/#a)"'),
        ("<svg", '<!DOCTYPE svg [<!ENTITY a "b">]><svg'),
        ("<svg", '<?xml-stylesheet href="http://example.org"?><svg'),
        ("http://www.w3.org/2000/svg", "http://www.w3.org/1999/xhtml"),
        ("</svg>", ""),
    ],
)
def test_a_picture_may_hold_nothing_else(change):
    hostile = codes_svg(codes(), {}).replace(*change, 1)
    with pytest.raises(DigerError, match=r"codes\.svg"):
        check_picture(hostile.encode())
