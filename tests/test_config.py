"""Recipes: what is wrong is said in one line, by its name, with the nearest right one."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import diger
from diger.config import (
    CausalConfig,
    Recipe,
    backbone_settings,
    load_recipe,
    recipe_from,
    recipe_names,
    validate,
)
from diger.errors import DigerError
from diger.names import BACKBONES


@pytest.fixture
def recipe(tmp_path):
    """Write TOML to a file and load it."""
    path = tmp_path / "mine.toml"

    def load(text: str) -> Recipe:
        path.write_text(text, encoding="utf-8")
        return load_recipe(str(path))

    return load


def refusal_of(path: Path) -> str:
    with pytest.raises(DigerError) as caught:
        load_recipe(str(path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def refusal(recipe, text: str) -> str:
    """What the loader says, checked to be one line that names the file."""
    with pytest.raises(DigerError) as caught:
        recipe(text)
    message = str(caught.value)
    assert "\n" not in message and "mine.toml" in message, message
    return message


def test_every_recipe_that_comes_along_loads_and_survives_its_own_json():
    names = recipe_names()
    assert "fast" in names
    for name in names:
        loaded = load_recipe(name)
        assert loaded.name == name and loaded.about
        assert validate(Recipe, loaded.model_dump(mode="json"), "here") == loaded


def test_a_recipe_of_ones_own_is_named_after_its_file(recipe):
    assert recipe("") == Recipe(name="mine")
    assert recipe('name = "other"').name == "other"


def test_values_arrive_where_they_belong(recipe):
    loaded = recipe(
        """
        [tokenizer]
        levels = 4
        kmeans = { iterations = 3 }
        [backbone]
        kind = "causal"
        d_model = 96
        [training]
        learning_rate = 1e-3
        """
    )
    assert (loaded.tokenizer.levels, loaded.tokenizer.kmeans.iterations) == (4, 3)
    assert isinstance(loaded.backbone, CausalConfig) and loaded.backbone.d_model == 96
    assert loaded.training.learning_rate == 1e-3


@pytest.mark.parametrize(
    ("text", "key", "nearest"),
    [
        ("trainig = 1", "trainig", "training"),
        ("[training]\nepoch = 3", "training.epoch", "epochs"),
        ("[tokenizer.kmeans]\niteratoins = 3", "tokenizer.kmeans.iteratoins", "iterations"),
        ('[backbone]\nkind = "causal"\nd_modle = 8', "d_modle", "d_model"),
        ('[backbone]\nkind = "sasrec"\nitem_hiden = 8', "item_hiden", None),
        ("zzzzz = 1", "zzzzz", None),
    ],
)
def test_a_misspelt_key(recipe, text, key, nearest):
    message = refusal(recipe, text)
    assert "unknown key" in message and key in message
    if nearest is not None:
        assert message.endswith(f"; did you mean {nearest}?")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[training]\nepochs = "40"', "training.epochs"),  # nothing is quietly converted
        ("[training]\nepochs = true", "training.epochs"),
        ("training = 3", "training"),
        ("[[training]]\nepochs = 1", "training"),
        ('[tokenizer.rqvae]\nhidden = ["a"]', "tokenizer.rqvae.hidden"),
    ],
)
def test_a_wrong_type(recipe, text, expected):
    assert expected in refusal(recipe, text)


@pytest.mark.parametrize(
    ("table", "line"),
    [
        ("training", "epochs = 0"),
        ("training", "max_history = 1"),
        ("training", "learning_rate = nan"),
        ("training", "learning_rate = inf"),
        ("training", "ema = 1"),
        ("training", 'precision = "fp16"'),
        ("evaluation", "beam = 19"),
        ("tokenizer", "codebook_size = 1"),
    ],
)
def test_a_value_out_of_range(recipe, table, line):
    message = refusal(recipe, f"[{table}]\n{line}")
    key, value = line.replace('"', "").split(" = ")
    assert re.search(rf"{table}\.{key}.*\(got '?{value}", message)


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ('method = "sasrec"', "static"),
        ('[backbone]\nkind = "popularity"', "popularity"),
        ('method = "sasrec"\n[backbone]\nkind = "popularity"', "popularity"),
    ],
)
def test_method_and_backbone_must_go_together(recipe, text, right):
    message = refusal(recipe, text)
    assert "does not go with the backbone" in message
    assert message.endswith(f'write method = "{right}"')


def test_unknown_methods_and_backbones_get_the_choices(recipe):
    for text, words in (
        ('method = "statik"', ("method", "static", "popularity", "sasrec", "statik")),
        ('[backbone]\nkind = "gru"', ("backbone", "causal", "sasrec", "popularity", "gru")),
    ):
        message = refusal(recipe, text)
        assert all(word in message for word in words)
    assert isinstance(recipe("[backbone]\nd_model = 64").backbone, CausalConfig)


@pytest.mark.parametrize(("kind", "method"), [("causal", "static"), ("sasrec", "sasrec")])
def test_heads_divide_the_width(recipe, kind, method):
    message = refusal(recipe, f'method = "{method}"\n[backbone]\nkind = "{kind}"\nheads = 3')
    assert "heads must divide d_model (128), got 3" in message


def test_a_name_that_no_recipe_has():
    with pytest.raises(DigerError, match=r"no recipe named fsat; did you mean fast\?"):
        load_recipe("fsat")
    with pytest.raises(DigerError, match=r"no recipe named zzz .*fast.*or give the path"):
        load_recipe("zzz")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[training\n", "not valid TOML.*line"),
        ('name = "a', "not valid TOML.*(line|end of document)"),
        (f"[training]\nepochs = {'9' * 5000}", "a number in it is too long"),
        (f"[training]\nepochs = 0x{'f' * 5000}", "a number in it is too long"),
        (f"about = {'[' * 3000}{']' * 3000}", "nested too deeply"),
        (f"{'a.' * 3000}b = 1", "nested too deeply"),
    ],
)
def test_what_no_recipe_holds(recipe, text, what):
    assert re.search(what, refusal(recipe, text))


def test_recipes_that_extend_each_other(tmp_path, recipe):
    assert "mine.toml -> mine.toml" in refusal(recipe, 'extends = "mine.toml"')
    assert "extends must name another recipe" in refusal(recipe, 'extends = ""')
    (tmp_path / "b.toml").write_text('extends = "c.toml"')
    (tmp_path / "c.toml").write_text('extends = "./b.toml"')
    message = refusal_of(tmp_path / "b.toml")
    assert "recipes extend each other (b.toml -> c.toml -> b.toml)" in message
    (tmp_path / "c.toml").write_text('extends = "fast"')
    assert load_recipe(str(tmp_path / "b.toml")).training == load_recipe("fast").training


def test_a_file_that_cannot_be_read(tmp_path):
    (tmp_path / "latin.toml").write_bytes('name = "é"'.encode("latin-1"))
    (tmp_path / "folder.toml").mkdir()
    for name in ("nowhere.toml", "latin.toml", "folder.toml", "x\0.toml"):
        message = refusal_of(tmp_path / name)
        assert "cannot read the recipe" in message and name.split("\0")[0] in message


def test_something_other_than_a_table_is_refused():
    with pytest.raises(DigerError, match=r"^here: "):
        validate(Recipe, [], "here")  # type: ignore[arg-type]
    with pytest.raises(DigerError, match=r"^here: name is missing"):
        validate(Recipe, {}, "here")


def test_the_package_its_recipes_and_the_command_lines_help_do_without_torch():
    code = """
import sys
import diger, diger.config, diger.cli
diger.config.load_recipe("fast")
assert diger.DigerError and callable(diger.load)
heavy = {"torch", "sentence_transformers", "sklearn"} & set(sys.modules)
assert not heavy, heavy
"""
    root = Path(diger.__file__).parents[1]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root, timeout=60)


def test_every_backbone_that_bundles_know_is_one_that_a_recipe_can_name():
    for kind in BACKBONES:
        assert backbone_settings(kind)(kind=kind).kind == kind
    with pytest.raises(DigerError, match="there is no backbone gru; known: causal"):
        recipe_from({"backbone": {"kind": "gru"}}, "r", "here")
