"""Codes of a batch of vectors, alone and on the partitions of an engine."""

from __future__ import annotations

import re
from pathlib import Path

import core_toys as toys
import numpy as np

from diger.model import assign_codes, load_model

GUIDE = Path(__file__).parents[1] / "docs" / "speed.md"


def test_codes_of_vectors_are_those_of_the_bundle(tmp_path_factory):
    place, bundle = toys.static_run(tmp_path_factory.getbasetemp())
    vectors = np.load(place.vectors)
    codes = assign_codes(str(bundle), vectors)
    assert codes.tolist() == load_model(bundle).sids[:, :-1].tolist()
    parts = [assign_codes(str(bundle), part) for part in np.array_split(vectors, 3)]
    assert np.concatenate(parts).tolist() == codes.tolist()


def test_the_guide_s_example_runs_on_dask(tmp_path_factory):
    place, bundle = toys.static_run(tmp_path_factory.getbasetemp())
    example = re.search(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)[1]
    example = example.replace("checkpoints/films-static-s0", str(bundle))
    known = {}
    exec(example.replace("vectors.npy", str(place.vectors)), known)
    assert np.array_equal(known["codes"], assign_codes(str(bundle), np.load(place.vectors)))
