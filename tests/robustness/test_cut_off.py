"""Killed at random moments, out of room, or in a folder that may only be read.

A few of each; `long.py` does a hundred.
"""

from __future__ import annotations

import random
import re

import pytest
from apart import attempt, killed
from deeds import DEEDS, connected_command, writing
from hub_server import Hub

KILLS = 2


@pytest.fixture
def folder(tmp_path):
    with Hub() as hub:
        (tmp_path / "hub").write_text(hub.url)
        yield tmp_path


@pytest.mark.parametrize("deed", DEEDS.values(), ids=DEEDS)
def test_cut_off_and_the_same_again(folder, deed):
    deed.prepare(folder)
    whole = attempt(deed.begin, folder)
    assert not whole.fault and not whole.refusal
    left = deed.left(folder)
    deed.prepare(folder)
    for _ in range(KILLS):
        killed(deed.begin, folder, after=random.uniform(0, whole.seconds))
        deed.cut_off(folder)
    for kilobytes in (0, 10):
        starved = attempt(deed.begin, folder, file_size=kilobytes * 1024)
        assert not starved.fault
        deed.cut_off(folder)
    again = attempt(deed.begin, folder)
    assert not again.fault and not again.refusal
    assert deed.left(folder) == left


@pytest.mark.parametrize(
    "how", [{"unprivileged": True}, {"file_size": 0}], ids=["read-only", "full"]
)
def test_commands_without_room(folder, how):
    DEEDS["training, static"].prepare(folder)
    DEEDS["pull"].prepare(folder)
    into = folder / "into"
    into.mkdir()
    if "unprivileged" in how:
        into.chmod(0o555)
    for arguments in writing(folder, into).values():
        outcome = attempt(connected_command, folder, *arguments, **how)
        assert not outcome.fault
        assert re.match(r"error: .+(Permission denied|File too large)", outcome.value), outcome
        assert outcome.value.count("\n") == 1 and not list(into.iterdir())
