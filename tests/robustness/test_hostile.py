"""Hostile bundles: each is refused by name, quickly and in bounded memory, and hurts no other."""

from __future__ import annotations

import re

import app_toys
import hostile
import pytest
from apart import attempt

SECONDS, MEMORY = 10, 400 * 2**20  # the machine may be busy; the long run writes down the figures


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return app_toys.pair(tmp_path_factory.getbasetemp()) / "toy-static-s0"


def test_the_good_one_is_used(good):
    assert attempt(hostile.use, good).value in {f"i{row}" for row in range(30)}


@pytest.mark.parametrize("name", hostile.CASES)
def test_refused(good, tmp_path, name):
    bundle = hostile.make(name, good, tmp_path)
    outcome = attempt(hostile.use, bundle, memory=2**31)
    assert not outcome.fault
    assert re.search(hostile.CASES[name][1], outcome.refusal), outcome
    assert str(tmp_path) in outcome.refusal and len(outcome.refusal) < 500
    assert outcome.refusal.isprintable()
    assert outcome.seconds < SECONDS and outcome.grown < MEMORY, outcome
