"""`train`, `evaluate` and `recommend`: what they print, and one line for whatever is wrong."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import core_toys as toys
import pytest
import torch
from core_toys import Place
from rich.progress import Progress

from diger import cli, model
from diger.bundle.reader import Bundle
from diger.cli import train
from diger.cli.recommend import _split
from diger.errors import DigerError
from diger.evaluation import rankers
from diger.recommender import products
from diger.training.loop import EpochEvent

HISTORY = ["--history", "i3,i4"]


class Said(NamedTuple):
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
def static(tmp_path_factory) -> tuple[Place, Path]:
    return toys.static_run(tmp_path_factory.getbasetemp())


@pytest.fixture
def place(static) -> Place:
    return static[0]


@pytest.fixture
def bundle(static) -> Path:
    return static[1]


def files(folder: Path) -> dict[Path, bytes]:
    return {p: p.read_bytes() if p.is_file() else b"" for p in folder.rglob("*")}


def refused(run: Callable[..., Said], folder: Path, *arguments: object) -> str:
    """The one line on stderr of a command that must fail and leave `folder` as it was.

    A step that had begun may have said so before.
    """
    before = files(folder)
    said = run(*arguments)
    *steps, line = said.err.splitlines()
    assert (said.code, said.out) == (2, ""), said
    assert all("semantic IDs" in step for step in steps), said.err
    assert line.startswith("error: ") and line.isprintable(), said.err
    assert files(folder) == before
    return line


def test_train_leaves_a_bundle_and_shows_it(run, place, tmp_path):
    out = tmp_path / "new" / "bundle"
    command = ["train", place.toml(), "--data", place.data, "--out", out]
    said = run(*command, "--threads", 1, "--seed", 3, "--half", "--device", "cpu")
    assert said.code == 0
    assert [p.name for p in out.parent.iterdir()] == ["bundle"]
    config = Bundle.open(out).config
    assert (config["name"], config["seed"], config["precision"]) == ("bundle", 3, "half")
    for part in ("semantic IDs: 26 items", *(f"epoch   {n}/3  loss" for n in (1, 2, 3))):
        assert part in said.err
    assert "recall@10" in said.out and "model.safetensors" in said.out
    assert "already exists" in refused(run, tmp_path, *command)
    assert run(*command, "--force").code == 0
    assert Bundle.open(out).config["seed"] == 0


def test_train_says_where_bf16_is_not_to_be_had(run, place, tmp_path, monkeypatch):
    for there, arithmetic in ((False, "fp32"), (True, "bf16")):
        monkeypatch.setattr(products, "has_bfloat16", lambda there=there: there)
        out, recipe = tmp_path / arithmetic, place.toml(training={"precision": "bf16"})
        said = run("train", recipe, "--data", place.data, "--out", out, "--device", "cpu")
        assert said.code == 0
        assert ("no arithmetic for bf16: training in fp32" in said.err) is not there
        assert Bundle.open(out).config["hardware"]["arithmetic"] == arithmetic


def test_train_refuses_what_is_not_there_or_is_taken(run, place, tmp_path, monkeypatch):
    recipe = place.toml()

    def line(*options: object, recipe: Path = recipe, data: Path = place.data, out="out") -> str:
        places = ["--data", data, "--out", tmp_path / out]
        return refused(run, tmp_path, "train", recipe, *places, *options)

    assert "no recipe named fsat; did you mean fast?" in line(recipe="fsat")
    assert "no dataset folder at" in line(data=tmp_path / "nowhere")
    assert "device abacus cannot be used here" in line("--device", "abacus")
    if not torch.cuda.is_available():
        assert "use --device cpu" in line("--device", "cuda")
    codes = place.toml(tokenizer={"codebook_size": 99})
    assert "codebook_size is 99" in line(recipe=codes)
    (tmp_path / "file").write_text("precious")
    assert "it is a file" in line(out="file")
    assert "file" in line(out="file/below")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    refused(run, tmp_path, "train", recipe, "--data", place.data, "--out", ".")


def test_ctrl_c_keeps_all_and_says_how_to_go_on(run, place, tmp_path, monkeypatch):
    command = ["train", place.toml(), "--data", place.data, "--out", tmp_path / "out"]
    with monkeypatch.context() as patch:
        patch.setattr(train._Watch, "epoch", lambda *_: os.kill(os.getpid(), signal.SIGINT))
        said = run(*command)
    assert said.code == 130 and "Traceback" not in said.err
    last = said.err.splitlines()[-1]
    assert "stopped in epoch 1" in last and "run the same command to go on" in last
    assert [p.name for p in tmp_path.iterdir()] == ["out.partial"]
    assert "another recipe, seed" in refused(run, tmp_path, *command, "--seed", 1)
    assert run(*command).code == 0
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


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
    assert f"{metrics['recall@10']:.4f}" in said.out and "cold target" in said.out


@pytest.mark.parametrize(
    ("options", "label"),
    [
        (["--decoding", "exact"], "exact, every item scored"),
        (["--decoding", "free", "--beam", 60], "unconstrained beam search, 60 beams"),
        (["--beam", 26, "--sample", 10], "constrained beam search, 26 beams"),
    ],
)
def test_evaluate_decodes_as_asked(run, place, bundle, options, label):
    command = ["evaluate", bundle, "--data", place.data, "--json", *options]
    said = run(*command).out
    found = json.loads(said)
    assert found["decoding"] == label
    assert found["users"] == (10 if "--sample" in options else 38)
    assert run(*command).out == said  # a sample is the same once more


def test_evaluate_when_nothing_valid_is_decoded(run, place, bundle, monkeypatch):
    """Free beams may all leave the catalogue; then there is no list to take shares of."""
    search = rankers.free_beam_search

    def astray(*arguments: Any) -> Any:
        found = search(*arguments)
        return replace(found, items=torch.full_like(found.items, -1))

    monkeypatch.setattr(rankers, "free_beam_search", astray)
    command = ["evaluate", bundle, "--data", place.data, "--decoding", "free"]
    found = json.loads(run(*command, "--json").out)
    assert found["metrics"]["recall@20"] == 0
    assert found["beyond_accuracy"]["head_share@10"] is None
    said = run(*command)
    assert said.code == 0 and "nan" not in said.out


def test_evaluate_refuses(run, place, bundle, tmp_path, monkeypatch):
    def line(*options: object, data: Path = place.data, path: Path = bundle) -> str:
        return refused(run, tmp_path, "evaluate", path, "--data", data, *options)

    other = toys.make_dataset(toys.walks(seed=1)).save(tmp_path / "other")
    assert "no such bundle folder" in line(path=tmp_path / "nowhere")
    assert "--split must be one of validation, test" in line("--split", "train")
    assert "--decoding must be one of beam, hybrid, free, exact" in line("--decoding", "greedy")
    assert "no dataset folder at" in line(data=tmp_path / "nowhere")
    assert "give the dataset it was trained on" in line(data=other)
    assert "20" in line("--beam", 5)  # a list cut short is not to pass for recall@20
    # Without --data it looks for data/<name of the dataset>.
    monkeypatch.chdir(tmp_path)
    assert "data/toy" in refused(run, tmp_path, "evaluate", bundle)


def test_no_time_left_is_told_from_one_batch_alone():
    said: list[str] = []
    watch = train._Watch(Progress())
    watch.say = said.append  # type: ignore[method-assign]
    for epoch in (1, 2):
        for row in (None, {"loss": 1.0, "seconds": 1.0}):
            watch.epoch(EpochEvent(epoch, 3, 1, 1, row))
    assert [" left" in line for line in said] == [False, True]


def test_ids_of_a_history_are_split_at_commas_and_kept_where_known():
    assert _split('a, b ," c",  d', ["b", "b ", " c", "d"]) == ["a", "b ", " c", "d"]


def test_recommend_as_json_and_for_people(run, bundle):
    command = ["recommend", bundle, "--history", "i3, i4 ,i5", "-k", 4, "--leave-out-seen"]
    said = run(*command, "--json")
    assert said.code == 0 and said.err == ""
    found = json.loads(said.out)
    assert found["history"] == ["i3", "i4", "i5"] and len(found["recommendations"]) == 4
    said = run(*command)
    words = said.out.split()  # headings may be folded
    assert "recommended by toy-static-s0 (static)" in " ".join(words)
    assert "over the full codebook" in said.out
    for one in found["recommendations"]:
        assert set(one) == {"item_id", "title", "sid", "score", "probability"}
        assert one["item_id"] in words and one["sid"] in words
        assert one["item_id"] not in found["history"]


def test_recommend_an_example_with_titles(run, tmp_path):
    """One title is missing, another tries things on the terminal."""
    titles = [None if i == 7 else f"T{i}" for i in range(toys.N_ITEMS)]
    titles[8] = "[red]\x1b[31mtea\n"
    examples = [{"title": "A start", "story": "a story", "items": ["i1", "i7"]}]
    data = toys.make_dataset(publish=True, titles=titles, examples=examples)
    place = Place(tmp_path, data)
    published = place.train("published", place.recipe(training={"epochs": 1}))
    command = ["recommend", published, "--example", 1, "-k", 26]
    said = run(*command)
    assert said.code == 0
    assert "A start" in " ".join(said.out.split()) and "T1" in said.out
    assert "[red]\\x1b[31mtea\\n" in said.out and "\x1b" not in said.out
    assert "nan" not in said.out.split()
    found = run(*command, "--json").out
    assert "NaN" not in found
    titles = {r["item_id"]: r["title"] for r in json.loads(found)["recommendations"]}
    assert titles["i7"] is None and titles["i9"] == "T9"


@pytest.mark.parametrize("changes", [toys.SASREC, toys.POPULARITY], ids=lambda c: c["method"])
def test_recommend_with_models_without_sids(run, tmp_path, changes):
    place = Place(tmp_path)
    path = place.train("one", place.recipe(**changes, training={"epochs": 1}))
    said = run("recommend", path, *HISTORY)
    assert said.code == 0 and "SID" not in said.out
    assert ("training events" in said.out) == (changes is toys.POPULARITY)


def test_recommend_refuses(run, bundle, tmp_path):
    def line(*options: object, path: Path = bundle) -> str:
        return refused(run, tmp_path, "recommend", path, *options)

    assert "no item 'i33' in toy-static-s0; did you mean i" in line("--history", "i3,i33")
    for options in ([], ["--history", "  "], [*HISTORY, "--example", 1]):
        assert "give either a history" in line(*options)
    assert "use --beam 10" in line(*HISTORY, "--beam", 5)
    assert "0 example histories, there is no number 1" in line("--example", 1)


@pytest.mark.parametrize("history", ["i3\r\ni4", '"i3', "i3\x00", "\x1b[31m", "i" * 200000])
def test_recommend_refuses_or_reads_odd_histories(run, bundle, tmp_path, history):
    """A list pasted from somewhere may break lines; it is read or refused, never a crash."""
    before = files(tmp_path)
    said = run("recommend", bundle, "--history", history)
    assert said.code in (0, 2) and files(tmp_path) == before
    if said.code == 2:
        assert said.err.startswith("error: ") and said.err.count("\n") == 1
        assert said.err.strip().isprintable() and len(said.err) < 1000


@pytest.mark.parametrize(
    "message", ["two\nlines", "\x1b[31m", "[red]markup[/red] :memo:", "right\u202eleft", "x" * 500]
)
def test_an_error_is_one_harmless_line_whatever_it_quotes(run, monkeypatch, message):
    def fail() -> None:
        raise DigerError(message)

    monkeypatch.setattr(cli, "app", fail)
    said = run("anything")
    assert said.code == 2 and said.out == ""
    assert said.err.startswith("error: ") and said.err.count("\n") == 1
    assert said.err.strip().isprintable()
    assert message in said.err or not message.isprintable()


def test_a_bare_ctrl_c_exits_130(run, bundle, monkeypatch):
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(model, "load_model", interrupt)
    said = run("recommend", bundle, *HISTORY)
    assert said.code == 130 and "Traceback" not in said.err
