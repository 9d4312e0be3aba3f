"""The benchmark runs and names what it measured; how fast is not a test's business."""

import core_toys as toys
import torch

from diger.benchmark import benchmark


def test_every_measurement_is_there(tmp_path):
    place = toys.Place(tmp_path)
    measured = list(benchmark(place.recipe(), place.dataset, torch.device("cpu"), False))
    assert [one.what for one in measured] == [
        "matrix products",
        "training floor",
        "training",
        "training, share of the floor's rate",
        "ranking the test split",
        "peak memory",
        "joint training",
        "peak memory",
    ]
    assert all(one.value > 0 and one.unit and one.note for one in measured)
