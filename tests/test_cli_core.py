"""`train`, `evaluate` and `recommend`: what they print, and one line for whatever is wrong."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import bundle_toys
import core_toys as toys
import pytest
import torch
from core_toys import Place

from diger import cli
from diger.bundle.reader import Bundle
from diger.errors import DigerError


class Said(NamedTuple):
    """What a command left on the terminal."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(monkeypatch, capsys) -> Callable[..., Said]:
    monkeypatch.setenv("COLUMNS", "160")

    def call(*arguments: object) -> Said:
        capsys.readouterr()
        code = toys.main(*arguments, monkeypatch=monkeypatch)
        return Said(code, *capsys.readouterr())

    return call


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Place:
    return toys.static_run(tmp_path_factory.getbasetemp())[0]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    return toys.static_run(tmp_path_factory.getbasetemp())[1]


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes() if p.is_file() else b""
        for p in folder.rglob("*")
    }


def refused(run: Callable[..., Said], folder: Path, *arguments: object) -> str:
    """The one line on stderr of a command that must fail and leave `folder` as it was.

    A step that had begun may have said so before.
    """
    before = files(folder)
    said = run(*arguments)
    assert said.code == 2, said
    *steps, line = said.err.splitlines()
    assert all("semantic IDs" in step for step in steps), said.err
    assert line.startswith("error: ") and line.isprintable(), said.err
    assert said.out == ""
    assert files(folder) == before
    return line


# --- train ----------------------------------------------------------------------------------------


def test_train_leaves_a_bundle_and_shows_it(run, place, tmp_path):
    out = tmp_path / "new" / "bundle"
    said = run("train", place.toml(), "--data", place.data, "--out", out, "--threads", 1)
    assert said.code == 0
    assert [p.name for p in out.parent.iterdir()] == ["bundle"]
    bundle = Bundle.open(out)
    assert (bundle.name, bundle.config["seed"]) == ("bundle", 0)
    assert "semantic IDs: 26 items" in said.err
    for epoch in (1, 2, 3):
        assert f"epoch   {epoch}/3  loss" in said.err
    assert "recall@10" in said.out and "model.safetensors" in said.out
    assert "Traceback" not in said.err


def test_train_options_arrive(run, place, tmp_path):
    out = tmp_path / "bundle"
    command = ["train", place.toml(training={"epochs": 1}), "--data", place.data, "--out", out]
    assert run(*command, "--seed", 3, "--half", "--device", "cpu").code == 0
    config = Bundle.open(out).config
    assert (config["seed"], config["precision"]) == (3, "half")
    assert "already exists" in refused(run, tmp_path, *command)
    assert run(*command, "--force").code == 0
    assert Bundle.open(out).config["seed"] == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[training]\nepoch = 3", "unknown key training.epoch; did you mean epochs?"),
        ("[training]\nepochs = 0", "training.epochs"),
        ('method = "sasrec"', 'write method = "static"'),
        ("[training", "not valid TOML"),
    ],
)
def test_train_refuses_a_bad_recipe(run, place, tmp_path, text, message):
    recipe = tmp_path / "mine.toml"
    recipe.write_text(text)
    out = tmp_path / "out"
    line = refused(run, tmp_path, "train", recipe, "--data", place.data, "--out", out)
    assert message in line and "mine.toml" in line


def test_train_refuses_what_is_not_there(run, place, tmp_path):
    def line(recipe: object, data: object = place.data, *options: object) -> str:
        out = tmp_path / "out"
        return refused(run, tmp_path, "train", recipe, "--data", data, "--out", out, *options)

    assert "no recipe named fsat; did you mean fast?" in line("fsat")
    assert "nowhere.toml" in line(tmp_path / "nowhere.toml")
    recipe = place.toml()
    assert "no dataset folder at" in line(recipe, tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "dataset.json" in line(recipe, tmp_path / "empty")
    assert "device abacus cannot be used here" in line(recipe, place.data, "--device", "abacus")
    if not torch.cuda.is_available():
        assert "use --device cpu" in line(recipe, place.data, "--device", "cuda")


def test_train_refuses_places_that_are_taken(run, place, tmp_path):
    def line(out: object) -> str:
        return refused(run, tmp_path, "train", place.toml(), "--data", place.data, "--out", out)

    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("precious")
    (tmp_path / "file").write_text("precious")
    assert "holds something that is not a bundle" in line(tmp_path / "notes")
    assert "it is a file" in line(tmp_path / "file")
    assert "file" in line(tmp_path / "file" / "below")


def test_train_refuses_to_replace_the_folder_one_is_in(run, place, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    recipe = place.toml(training={"epochs": 1})
    refused(run, tmp_path, "train", recipe, "--data", place.data, "--out", ".")


def test_train_refuses_what_cannot_be_tokenized(run, tmp_path):
    mine = Place(tmp_path / "mine")
    bundles = tmp_path / "bundles"
    bundles.mkdir()

    def line(recipe: Path) -> str:
        command = ["train", recipe, "--data", mine.data, "--out", bundles / "out"]
        return refused(run, bundles, *command)

    assert "codebook_size is 99" in line(mine.toml(tokenizer={"codebook_size": 99}))
    assert "nowhere.npy not found" in line(mine.toml(content={"encoder": "nowhere.npy"}))


def test_ctrl_c_keeps_all_and_says_how_to_go_on(run, place, tmp_path, monkeypatch):
    from diger.cli import train

    command = ["train", place.toml(), "--data", place.data, "--out", tmp_path / "out"]
    with monkeypatch.context() as patch:
        patch.setattr(train._Watch, "epoch", lambda *_: os.kill(os.getpid(), signal.SIGINT))
        said = run(*command)
    assert said.code == 130
    last = said.err.splitlines()[-1]
    assert "stopped in epoch 1" in last and "run the same command to go on" in last
    assert "Traceback" not in said.err
    assert [p.name for p in tmp_path.iterdir()] == ["out.partial"]
    line = refused(run, tmp_path, *command, "--seed", 1)
    assert "another recipe, seed" in line
    assert run(*command).code == 0
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


# --- evaluate -------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", ["validation", "test"])
def test_evaluate_gives_the_bundles_own_figures(run, place, bundle, split):
    said = run("evaluate", bundle, "--data", place.data, "--split", split, "--json")
    assert said.code == 0
    found = json.loads(said.out)
    slices = found.pop("slices")
    stored = next(r for r in Bundle.open(bundle).metrics["results"] if r["split"] == split)
    assert found["metrics"] == pytest.approx(stored["metrics"], abs=1e-12)
    assert found == {**stored, "metrics": found["metrics"]}
    assert {s["slice"] for s in slices} == {"target popularity", "history length", "cold target"}


def test_evaluate_for_people(run, place, bundle):
    said = run("evaluate", bundle, "--data", place.data)
    assert said.code == 0 and said.err == ""
    assert "validation: 38 users, constrained beam search, 20 beams" in said.out
    metrics = Bundle.open(bundle).metrics["results"][0]["metrics"]
    for name in ("recall@10", "ndcg@5", "mrr@20"):
        assert f"{metrics[name]:.4f}" in said.out
    assert "cold target" in said.out


@pytest.mark.parametrize(
    ("options", "label"),
    [
        (["--decoding", "exact"], "exact, every item scored"),
        (["--decoding", "free", "--beam", 60], "unconstrained beam search, 60 beams"),
        (["--beam", 26], "constrained beam search, 26 beams"),
    ],
)
def test_evaluate_decodes_as_asked(run, place, bundle, options, label):
    said = run("evaluate", bundle, "--data", place.data, "--json", *options)
    assert json.loads(said.out)["decoding"] == label


def test_evaluate_a_sample(run, place, bundle):
    one, other = (
        run("evaluate", bundle, "--data", place.data, "--json", "--sample", 10).out
        for _ in range(2)
    )
    assert one == other and json.loads(one)["users"] == 10


def test_evaluate_when_nothing_valid_is_decoded(run, place, bundle, monkeypatch):
    """Free beams may all leave the catalogue; then there is no list to take shares of."""
    from diger.evaluation import rankers

    search = rankers.free_beam_search

    def astray(*arguments: Any) -> Any:
        found = search(*arguments)
        return replace(found, items=torch.full_like(found.items, -1))

    monkeypatch.setattr(rankers, "free_beam_search", astray)
    said = run("evaluate", bundle, "--data", place.data, "--decoding", "free", "--json")
    assert said.code == 0
    found = json.loads(said.out)
    assert found["metrics"]["recall@20"] == 0
    assert found["beyond_accuracy"]["head_share@10"] is None
    said = run("evaluate", bundle, "--data", place.data, "--decoding", "free")
    assert said.code == 0 and "nan" not in said.out


def test_evaluate_refuses(run, place, bundle, tmp_path, monkeypatch):
    def line(path: object, *options: object, data: object = place.data) -> str:
        return refused(run, tmp_path, "evaluate", path, "--data", data, *options)

    assert "no such bundle folder" in line(tmp_path / "nowhere")
    results_only = bundle_toys.write_bundle(tmp_path / "results", complete=False)
    assert "holds results only" in line(results_only)
    assert "--split must be one of validation, test, got 'train'" in line(
        bundle, "--split", "train"
    )
    assert "--decoding must be one of beam, free, exact" in line(bundle, "--decoding", "greedy")
    assert "no dataset folder at" in line(bundle, data=tmp_path / "nowhere")
    other = toys.make_dataset(toys.walks(seed=1)).save(tmp_path / "other")
    assert "give the dataset it was trained on" in line(bundle, data=other)
    # Without --data it looks for data/<name of the dataset>.
    monkeypatch.chdir(tmp_path)
    assert "data/toy" in refused(run, tmp_path, "evaluate", bundle)


@pytest.mark.parametrize("decoding", ["beam", "free"])
def test_evaluate_refuses_beams_narrower_than_its_cut_offs(run, place, bundle, tmp_path, decoding):
    """Fewer than 20 beams would pass off a short list as recall@20."""
    command = ["evaluate", bundle, "--data", place.data, "--decoding", decoding, "--beam", 5]
    assert "20" in refused(run, tmp_path, *command)


# --- recommend ------------------------------------------------------------------------------------


def test_recommend_as_json(run, bundle):
    said = run("recommend", bundle, "--history", "i3, i4 ,i5", "-k", 4, "--json")
    assert said.code == 0 and said.err == ""
    found = json.loads(said.out)
    assert found["history"] == ["i3", "i4", "i5"]
    assert len(found["recommendations"]) == 4
    assert set(found["recommendations"][0]) == {"item_id", "title", "sid", "score", "probability"}


def test_recommend_for_people(run, bundle):
    said = run("recommend", bundle, "--history", "i3,i4", "-k", 3, "--leave-out-seen")
    words = said.out.split()  # headings may be folded
    assert "recommended by toy-static-s0 (static)" in " ".join(words)
    assert "over the full codebook" in said.out
    model_items = json.loads(
        run("recommend", bundle, "--history", "i3,i4", "-k", 3, "--leave-out-seen", "--json").out
    )["recommendations"]
    for one in model_items:
        assert one["item_id"] in words and one["sid"] in words
        assert one["item_id"] not in ("i3", "i4")


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> Path:
    """A bundle with text in which one title is missing, another tries things on the terminal."""

    def make(folder: Path) -> Path:
        titles = [None if i == 7 else f"T{i}" for i in range(toys.N_ITEMS)]
        titles[8] = "[red]\x1b[31mtea\n"
        examples = [{"title": "A start", "story": "a story", "items": ["i1", "i7"]}]
        data = toys.make_dataset(publish=True, titles=titles, examples=examples)
        return Place(folder, data).train("cli-published")

    return toys.shared(tmp_path_factory.getbasetemp(), "cli-published", make)


def test_recommend_an_example_with_titles(run, published):
    said = run("recommend", published, "--example", 1, "-k", 26)
    assert said.code == 0
    assert "A start" in " ".join(said.out.split()) and "T1" in said.out
    assert "[red]\\x1b[31mtea\\n" in said.out and "\x1b" not in said.out
    assert "nan" not in said.out.split()
    found = run("recommend", published, "--example", 1, "-k", 26, "--json").out
    assert "NaN" not in found
    titles = {r["item_id"]: r["title"] for r in json.loads(found)["recommendations"]}
    assert titles["i7"] is None and titles["i9"] == "T9"


def test_recommend_with_models_without_sids(run, place, tmp_path):
    for name, changes in (("cli-sasrec", toys.SASREC), ("cli-popularity", toys.POPULARITY)):
        recipe = place.recipe(**changes, training={"epochs": 1})
        path = toys.shared(place.folder, name, lambda _, n=name, r=recipe: place.train(n, r))
        said = run("recommend", path, "--history", "i3", "-k", 2)
        assert said.code == 0 and "SID" not in said.out
        assert ("training events" in said.out) == (name == "cli-popularity")


def test_recommend_refuses(run, bundle, tmp_path):
    def line(*options: object, path: object = bundle) -> str:
        return refused(run, tmp_path, "recommend", path, *options)

    one = ["--history", "i3"]
    assert "no item 'i33' in toy-static-s0; did you mean i" in line("--history", "i3,i33")
    assert "give either a history" in line()
    assert "give either a history" in line("--history", "  ")
    assert "give either a history" in line(*one, "--example", 1)
    assert "the history is empty" in line("--history", " , ,")
    assert "k must be >= 1, got 0" in line(*one, "-k", 0)
    assert "k must be >= 1, got -1" in line(*one, "-k", -1)
    assert "a beam of 5 cannot fill a list of 10; use --beam 10" in line(*one, "--beam", 5)
    assert "decoding must be one of beam, free, exact" in line(*one, "--decoding", "greedy")
    assert "cannot leave out seen" in line(*one, "--decoding", "free", "--leave-out-seen")
    assert "0 example histories, there is no number 1" in line("--example", 1)
    assert "no such bundle folder" in line(*one, path=tmp_path / "nowhere")
    results_only = bundle_toys.write_bundle(tmp_path / "results", complete=False)
    assert "holds results only" in line(*one, path=results_only)
    (tmp_path / "empty").mkdir()
    assert "not a bundle, or never finished" in line(*one, path=tmp_path / "empty")


@pytest.mark.parametrize("history", ["i3\ni4", "i3\r\n", '"i3', "i3\x00", "\x1b[31m", "i" * 200000])
def test_recommend_refuses_or_reads_odd_histories(run, bundle, tmp_path, history):
    """A list pasted from somewhere may break lines; it is read or refused, never a crash."""
    before = files(tmp_path)
    said = run("recommend", bundle, "--history", history)
    assert said.code in (0, 2) and files(tmp_path) == before
    if said.code == 2:
        assert said.err.startswith("error: ") and said.err.count("\n") == 1
        assert said.err.strip().isprintable() and len(said.err) < 1000


@pytest.mark.parametrize(
    "file", ["model.safetensors", "items.parquet", "config.json", "manifest.json", "README.md"]
)
def test_a_changed_byte_is_noticed_by_name(run, place, bundle, tmp_path, file):
    copy = shutil.copytree(bundle, tmp_path / "copy")
    data = bytearray((copy / file).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / file).write_bytes(data)
    for command in (
        ["recommend", copy, "--history", "i3"],
        ["evaluate", copy, "--data", place.data],
    ):
        line = refused(run, tmp_path, *command)
        assert "copy" in line and (file in line or file == "manifest.json")


# --- the program ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    ["two\nlines", "colour \x1b[31m", "[red]markup[/red] :memo:", "right\u202eleft", "x" * 500],
)
def test_an_error_is_one_harmless_line_whatever_it_quotes(run, monkeypatch, message):
    def fail() -> None:
        raise DigerError(message)

    monkeypatch.setattr(cli, "app", fail)
    said = run("anything")
    assert said.code == 2 and said.out == ""
    assert said.err.startswith("error: ") and said.err.count("\n") == 1
    assert said.err.strip().isprintable()
    if message.isprintable():
        assert message in said.err


def test_a_bare_ctrl_c_exits_130(run, bundle, monkeypatch):
    from diger import model

    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(model, "load_model", interrupt)
    said = run("recommend", bundle, "--history", "i3")
    assert said.code == 130 and "Traceback" not in said.err
