"""The examples of docs/extend.md, each run as it stands there."""

from __future__ import annotations

import ast
import re
import sys
import types
from pathlib import Path

import core_toys as toys
import pytest

import diger
from diger.config import recipe_from
from diger.data.prepare import prepare
from diger.data.readers import READERS, open_reader
from diger.names import BACKBONES
from diger.training.run import train
from diger.uncertainty.config import DECAYS

PAGE = (Path(__file__).parents[1] / "docs" / "extend.md").read_text(encoding="utf-8")


@pytest.fixture
def added(monkeypatch):
    """Put an example in its place: its file, and its line in `table`."""

    def add(heading: str, table: dict[str, str] | list[str]) -> str:
        section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
        path = re.search(r"`((?:diger|dashboard)/[a-z_/]+\.py)`:", section)
        code, line = re.findall(r"```python\n(.*?)```", section, re.S)
        name = path[1].removesuffix(".py").replace("/", ".")
        assert not Path(path[1]).exists()
        module = types.ModuleType(name)
        monkeypatch.setitem(sys.modules, name, module)
        exec(compile(code, path[1], "exec"), module.__dict__)
        if isinstance(table, list):
            (key,) = ast.literal_eval(f"({line})")
            monkeypatch.setattr(sys.modules["dashboard.pages"], "NAMES", [*table, key])
            return key
        [(key, value)] = ast.literal_eval("{" + line + "}").items()
        monkeypatch.setitem(table, key, value)
        return key

    return add


def trained(tmp_path: Path, changes: dict) -> diger.model.Model:
    """A model of a toy recipe with `changes`, trained, written and loaded."""
    toys.make_dataset().save(tmp_path / "data")
    recipe = toys.make_recipe(toys.write_vectors(tmp_path / "v.npy")).model_dump(mode="json")
    recipe = recipe_from({**recipe, **changes}, "toy", "here")
    train(recipe, tmp_path / "data", tmp_path / "bundle", seed=0, device=toys.CPU)
    return diger.load(tmp_path / "bundle")


def test_a_decay(added, tmp_path):
    name = added("A decay", DECAYS)
    joint = {"learning_rate": 1e-3, "uncertainty": {"decay": name}}
    model = trained(tmp_path, {"method": "differentiable", "joint": joint})
    assert model.bundle.about.arm.decay == "halving"


def test_a_reader(added, tmp_path):
    added("A reader", READERS)
    (tmp_path / "pairs.csv").write_text("".join(f"u{n % 3},i{n % 4}\n" for n in range(24)))
    dataset = prepare(open_reader(tmp_path), name="pairs").dataset
    assert (dataset.n_users, dataset.n_items, dataset.n_events) == (3, 4, 24)


def test_a_backbone(added, tmp_path):
    name = added("A backbone", BACKBONES)
    model = trained(tmp_path, {"backbone": {"kind": name, "width": 16}})
    assert model.recipe.backbone.width == 16 and model.bundle.about.backbone == "gru"
    listed = model.recommend([model.item_ids[0]], k=3)
    exact = model.recommend([model.item_ids[0]], k=3, decoding="exact")
    assert [one.item_id for one in listed] == [one.item_id for one in exact]
    with pytest.raises(diger.DigerError, match=r"backbone.widht.*did you mean width"):
        recipe_from({"backbone": {"kind": name, "widht": 16}}, "toy", "here")


def lens():
    from dashboard import sources
    from dashboard.library import Library
    from dashboard.panel import Lens
    from dashboard.view import View

    shipped = Path(__file__).parents[1] / "checkpoints"
    return Lens(Library.of(sources.opened([shipped])), View())


def test_a_page(added):
    pytest.importorskip("altair")
    from dashboard import pages
    from dashboard.panel import build

    page = pages.load_page(added("A page of the dashboard", pages.NAMES))
    panel = build(page.builders[0], lens())
    assert panel.finding.startswith("Every arm has") and page.icon == "casino"


def test_a_chart(added):
    pytest.importorskip("altair")
    from dashboard import pages
    from dashboard.panel import build

    added("A chart", pages.MORE_PANELS)
    panel = build(pages.load_page("cost").builders[-1], lens())
    assert panel.finding.startswith("The longest run took") and panel.figures[0].chart
