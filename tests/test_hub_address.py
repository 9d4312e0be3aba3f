"""Addresses and the card's picture: what needs no Hub."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

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
