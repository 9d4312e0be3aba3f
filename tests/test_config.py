"""Recipes: what is wrong is said in one line, by its name, with the nearest right one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

import diger
from diger.config import (
    CausalConfig,
    Recipe,
    SasrecConfig,
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


def refusal(recipe, text: str) -> str:
    """What the loader says, checked to be one line that names the file."""
    with pytest.raises(DigerError) as caught:
        recipe(text)
    message = str(caught.value)
    assert "\n" not in message and "mine.toml" in message, message
    return message


def test_every_recipe_that_comes_along_loads():
    names = recipe_names()
    assert "fast" in names
    for name in names:
        loaded = load_recipe(name)
        assert loaded.name == name
        assert loaded.about, f"{name} should say what it is"


def test_a_recipe_of_ones_own_is_named_after_its_file(recipe):
    loaded = recipe("")
    assert loaded == Recipe(name="mine")
    assert recipe('name = "other"').name == "other"


def test_values_arrive_where_they_belong(recipe):
    loaded = recipe(
        """
        [content]
        encoder = "vectors.npy"
        [tokenizer]
        levels = 4
        kmeans = { iterations = 3 }
        [backbone]
        kind = "causal"
        d_model = 96
        [training]
        learning_rate = 1e-3
        clip = 2
        [evaluation]
        beam = 50
        """
    )
    assert loaded.content.encoder == "vectors.npy"
    assert (loaded.tokenizer.levels, loaded.tokenizer.kmeans.iterations) == (4, 3)
    assert isinstance(loaded.backbone, CausalConfig) and loaded.backbone.d_model == 96
    assert (loaded.training.learning_rate, loaded.training.clip) == (1e-3, 2.0)
    assert loaded.evaluation.beam == 50


def test_a_recipe_survives_its_own_json():
    for name in recipe_names():
        loaded = load_recipe(name)
        assert validate(Recipe, loaded.model_dump(mode="json"), "here") == loaded


def test_nothing_can_be_changed_afterwards(recipe):
    with pytest.raises(ValidationError, match="frozen"):
        recipe("").training.epochs = 3


@pytest.mark.parametrize(
    ("text", "key", "nearest"),
    [
        ("trainig = 1", "trainig", "training"),
        ("[training]\nepoch = 3", "training.epoch", "epochs"),
        ("[training]\nlearning_rat = 1e-3", "training.learning_rat", "learning_rate"),
        ("[tokenizer]\ncodebok_size = 3", "tokenizer.codebok_size", "codebook_size"),
        ("[tokenizer.kmeans]\niteratoins = 3", "tokenizer.kmeans.iteratoins", "iterations"),
        ('[backbone]\nkind = "causal"\nd_modle = 8', "d_modle", "d_model"),
        ('[backbone]\nkind = "sasrec"\nitem_hiden = 8', "item_hiden", None),
        ("[content]\nencodre = 'x'", "content.encodre", "encoder"),
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
        ('[training]\nepochs = "many"', "training.epochs"),
        ("[training]\nepochs = 2.5", "training.epochs"),
        ("[training]\nclip = [1]", "training.clip"),
        ("training = 3", "training"),
        ("[[training]]\nepochs = 1", "training"),
        ("name = 3", "name"),
        ("content = 1979-05-27", "content"),
        ('[tokenizer.rqvae]\nhidden = ["a"]', "tokenizer.rqvae.hidden"),
    ],
)
def test_a_wrong_type(recipe, text, expected):
    assert expected in refusal(recipe, text)


@pytest.mark.parametrize(
    "line", ['epochs = "40"', "epochs = true", 'learning_rate = "1e-3"', "learning_rate = true"]
)
def test_a_wrong_type_is_not_quietly_converted(recipe, line):
    assert line.split()[0] in refusal(recipe, f"[training]\n{line}")


@pytest.mark.parametrize(
    ("table", "line"),
    [
        ("training", "epochs = 0"),
        ("training", "batch_size = -1"),
        ("training", "max_history = 1"),
        ("training", "learning_rate = 0"),
        ("training", "learning_rate = nan"),
        ("training", "learning_rate = inf"),
        ("training", "ema = 1"),
        ("training", "warmup = -0.1"),
        ("training", "label_smoothing = 1.0"),
        ("training", 'precision = "fp16"'),
        ("evaluation", "beam = 19"),
        ("evaluation", "batch_size = 0"),
        ("tokenizer", "levels = 0"),
        ("tokenizer", "codebook_size = 1"),
        ("content", "max_tokens = 0"),
    ],
)
def test_a_value_out_of_range(recipe, table, line):
    message = refusal(recipe, f"[{table}]\n{line}")
    key, value = line.split(" = ")
    assert f"{table}.{key}" in message
    assert f"(got {value.strip(chr(34))}" in message.replace("'", "").replace("1.0", value)


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ('method = "sasrec"', "static"),
        ('method = "popularity"', "static"),
        ('[backbone]\nkind = "sasrec"', "sasrec"),
        ('[backbone]\nkind = "popularity"', "popularity"),
        ('method = "sasrec"\n[backbone]\nkind = "popularity"', "popularity"),
    ],
)
def test_method_and_backbone_must_go_together(recipe, text, right):
    message = refusal(recipe, text)
    assert "does not go with the backbone" in message
    assert message.endswith(f'write method = "{right}"')


def test_unknown_methods_and_backbones_get_the_choices(recipe):
    message = refusal(recipe, 'method = "statik"')
    assert all(word in message for word in ("method", "static", "popularity", "sasrec", "statik"))
    message = refusal(recipe, '[backbone]\nkind = "gru"')
    assert all(word in message for word in ("backbone", "causal", "sasrec", "popularity", "gru"))
    # Without a kind: the default one, or a word on which kinds there are.
    try:
        assert isinstance(recipe("[backbone]\nd_model = 64").backbone, CausalConfig)
    except DigerError as error:
        assert "kind" in str(error) and "causal" in str(error)


@pytest.mark.parametrize("kind", ["causal", "sasrec"])
def test_heads_divide_the_width(recipe, kind):
    method = "static" if kind == "causal" else kind
    message = refusal(recipe, f'method = "{method}"\n[backbone]\nkind = "{kind}"\nheads = 3')
    assert "heads must divide d_model (128), got 3" in message
    with pytest.raises(ValidationError):
        SasrecConfig(kind="sasrec", d_model=10, heads=4)


def test_a_name_that_no_recipe_has():
    with pytest.raises(DigerError, match=r"no recipe named fsat; did you mean fast\?"):
        load_recipe("fsat")
    with pytest.raises(DigerError, match=r"no recipe named zzz .*fast.*or give the path"):
        load_recipe("zzz")


@pytest.mark.parametrize("text", ["epochs =", "[training\n", 'name = "a', "a = 1\na = 2"])
def test_broken_toml_names_the_place(recipe, text):
    message = refusal(recipe, text)
    assert "not valid TOML" in message and ("line" in message or "end of document" in message)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (f"[training]\nepochs = {'9' * 5000}", "a number in it is too long"),
        (f"[training]\nepochs = 0x{'f' * 5000}", "a number in it is too long"),
        (f"about = {'[' * 3000}{']' * 3000}", "nested too deeply"),
        (f"{'a.' * 3000}b = 1", "nested too deeply"),
    ],
)
def test_what_no_recipe_holds(recipe, text, what):
    assert what in refusal(recipe, text)


def test_recipes_that_extend_each_other(tmp_path, recipe):
    assert "mine.toml -> mine.toml" in refusal(recipe, 'extends = "mine.toml"')
    (tmp_path / "b.toml").write_text('extends = "c.toml"')
    (tmp_path / "c.toml").write_text('extends = "./b.toml"')
    message = refusal_of(tmp_path / "b.toml")
    assert "recipes extend each other (b.toml -> c.toml -> b.toml)" in message
    assert "c.toml" in refusal_of(tmp_path / "c.toml")
    assert "extends must name another recipe" in refusal(recipe, 'extends = ""')
    assert "cannot read the recipe" in refusal_of(tmp_path / "x\0.toml")
    (tmp_path / "c.toml").write_text('extends = "fast"')
    assert load_recipe(str(tmp_path / "b.toml")).training == load_recipe("fast").training


def refusal_of(path: Path) -> str:
    with pytest.raises(DigerError) as caught:
        load_recipe(str(path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(DigerError, match=r"cannot read the recipe .*nowhere\.toml") as caught:
        load_recipe(str(tmp_path / "nowhere.toml"))
    assert "\n" not in str(caught.value)
    (tmp_path / "latin.toml").write_bytes('name = "é"'.encode("latin-1"))
    with pytest.raises(DigerError, match=r"cannot read the recipe .*latin\.toml"):
        load_recipe(str(tmp_path / "latin.toml"))
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(DigerError, match="cannot read the recipe"):
        load_recipe(str(tmp_path / "folder.toml"))


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


def test_every_backbone_and_method_that_a_recipe_can_name_is_one_that_bundles_know():
    assert {kind: backbone_settings(kind)(kind=kind).kind for kind in BACKBONES} == {
        kind: kind for kind in BACKBONES
    }
    with pytest.raises(DigerError, match="there is no backbone gru; known: causal"):
        recipe_from({"backbone": {"kind": "gru"}}, "r", "here")
