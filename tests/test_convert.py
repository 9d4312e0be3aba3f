"""Released data and checkpoints, on twins of our own making in the released formats."""

from __future__ import annotations

import argparse
import json
import os
import pickle
import pickletools
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import core_toys as toys
import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn
from typer.testing import CliRunner

from diger.bundle.reader import Bundle
from diger.cli import app
from diger.config import T5Config, load_recipe
from diger.content.transform import ContentTransform
from diger.convert.rqvae import KNOWN, as_protocol_2, convert_rqvae
from diger.data.dataset import Dataset
from diger.data.prepare import prepare
from diger.data.readers import open_reader
from diger.errors import DigerError
from diger.files import file_sha256
from diger.model import load_model
from diger.tokenizer.build import build_tokenizer
from diger.tokenizer.config import TokenizerConfig
from diger.training.run import identity

LIMIT = 5  # events of a history that a cut release shows
ITEMS, DIM = 30, 12
_rng = np.random.default_rng(5)
# As raw as a language model's: a large common mean, little spread.
FEATURES = (_rng.normal(size=DIM) * 20 + _rng.normal(size=(ITEMS, DIM))).astype(np.float32)


def histories(users: int = 12) -> list[list[int]]:
    """Item numbers (from 1) of each user, 4 to 14 of them; some repeat themselves."""
    rng = np.random.default_rng(0)
    return [rng.integers(1, ITEMS + 1, rng.integers(4, 15)).tolist() for _ in range(users)]


def write_release(
    folder: Path,
    sequences: list[list[int]],
    *,
    items: int = ITEMS,
    cut: int = 10**6,
    users: bool = False,
) -> Path:
    """The five files, as the authors' scripts write them; without users, items are numbers."""
    folder.mkdir()
    name = "B{:03d}".format if users else int
    rows: dict[str, list[Any]] = {"train": [], "valid": [], "test": []}
    for user, sequence in enumerate(sequences):
        ids = [name(number) for number in sequence]
        for at in range(1, len(ids)):
            split = {len(ids) - 2: "valid", len(ids) - 1: "test"}.get(at, "train")
            row = {"inter_history": ids[max(0, at - cut) : at], "target_id": ids[at]}
            rows[split].append({"user_id": f"A{user}", **row} if users else row)
    for split, lines in rows.items():
        write_rows(folder / f"toys.{split}.jsonl", lines)
    numbers = {"[PAD]": 0} | {str(name(n)): n for n in range(items, 0, -1)}
    (folder / "toys.emb_map.json").write_text(json.dumps(numbers))
    np.save(folder / "Toys.emb-llama.npy", FEATURES[:items])
    return folder


def write_rows(path: Path, rows: list[Any]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def edit(path: Path, change: Any) -> None:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    change(rows)
    write_rows(path, rows)


class Mlp(nn.Module):
    """Dropout, linear layer and ReLU in turns, as in the authors' `mlp_layers`."""

    def __init__(self, *widths: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Dropout(0.0), nn.Linear(before, after), nn.ReLU()]
        self.mlp_layers = nn.Sequential(*layers[:-1])
        self.forward = self.mlp_layers.forward


class Twin(nn.Module):
    """An RQ-VAE with the released checkpoints' names, its latents of the codewords' size."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.encoder, self.decoder = Mlp(DIM, 10, 8, 6), Mlp(6, 8, 10, DIM)
        self.rq = nn.Module()
        self.rq.vq_layers = nn.ModuleList(nn.Module() for _ in range(3))
        for layer in self.rq.vq_layers:
            layer.embedding = nn.Embedding(4, 6)
            nn.init.normal_(layer.embedding.weight, std=0.2)
            layer.register_buffer("code_usage_ema", torch.ones(4) / 4)
        last = self.encoder.mlp_layers[-1]
        with torch.no_grad():
            latent = self.encoder(torch.from_numpy(FEATURES))
            last.bias.sub_(latent.mean(0)).mul_(0.3 / latent.std(0))
            last.weight.mul_(0.3 / latent.std(0)[:, None])

    @torch.no_grad()
    def codes(self, x: Tensor, sinkhorn: bool = False) -> Tensor:
        """The authors' assignment: at every level, nearest, or balanced by their Sinkhorn."""
        residual, codes = self.encoder(x), []
        for layer in self.rq.vq_layers:
            distance = torch.cdist(residual, layer.embedding.weight).square()
            if sinkhorn:
                middle = (distance.max() + distance.min()) / 2
                distance = (distance - middle) / (distance.max() - middle + 1e-5)
                plan = torch.exp(-distance.double() / 0.003)
                plan /= plan.sum()
                for _ in range(50):
                    plan /= plan.sum(1, keepdim=True) * len(plan)
                    plan /= plan.sum(0, keepdim=True) * plan.shape[1]
                code = plan.argmax(1)
            else:
                code = distance.argmin(1)
            residual = residual - layer.embedding(code)
            codes.append(code)
        return torch.stack(codes, 1)


def write_checkpoint(path: Path, model: Any = None, protocol: int = 4, **extra: Any) -> str:
    """A checkpoint as the authors' trainer saves it; returns its SHA-256."""
    model = model or Twin()
    state = {
        "args": argparse.Namespace(lr=1e-3, layers=[10, 8], beta=0.25, device="cuda:0"),
        "epoch": 9999,
        "state_dict": model.state_dict(),
        "optimizer": torch.optim.AdamW(model.parameters()).state_dict(),
        **extra,
    }
    torch.save(state, path, pickle_protocol=protocol)
    return file_sha256(path)


def config(checkpoint: Path, **changes: Any) -> TokenizerConfig:
    values = {"kind": "rqvae", "levels": 3, "codebook_size": 4, "width": 6}
    values |= {"rqvae": {"hidden": (10, 8)}, "checkpoint": str(checkpoint), **changes}
    return TokenizerConfig.model_validate(values)


def build(
    checkpoint: Path, *, width: int | None = None, dataset: str | None = None, **changes: Any
) -> tuple[Any, Tensor, ContentTransform]:
    """Tokenizer and codes of the features, by a checkpoint, and the features' transform."""
    transform = ContentTransform.fit(FEATURES, width=width)
    content, recipe = transform.transform(FEATURES), config(checkpoint, **changes)
    built = build_tokenizer(recipe, content, seed=0, transform=transform, dataset=dataset)
    return *built, transform


def made(folder: Path) -> Dataset:
    return prepare(open_reader(folder, "diger"), name="toys").dataset


@pytest.mark.parametrize("cut", [10**6, LIMIT])
@pytest.mark.parametrize("users", [False, True])
def test_histories_come_back_whole(tmp_path, cut, users):
    sequences = histories()
    folder = write_release(tmp_path / "r", sequences, cut=cut, users=users)
    if users:  # by id, the order of the files' lines does not matter
        edit(folder / "toys.valid.jsonl", list.reverse)
    dataset = made(folder)
    assert dataset.n_items == ITEMS and not dataset.info.text_may_be_published
    # In the order of the vectors' rows.
    assert dataset.items["item_id"].tolist()[:2] == (["B001", "B002"] if users else ["1", "2"])
    assert dataset.user_ids.tolist()[:2] == (["A0", "A1"] if users else ["1", "2"])
    for user, sequence in enumerate(sequences):
        begin, end = dataset.offsets[user : user + 2]
        assert (dataset.events[begin:end] + 1).tolist() == sequence
        assert dataset.train_end[user] == dataset.validation_at[user] == end - 2
        assert dataset.test_at[user] == end - 1


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("toys.train.jsonl", lambda rows: rows.pop(4), "lacks 1 rows"),
        ("toys.train.jsonl", lambda rows: rows.append(rows[0]), r"line \d+ is no part of any"),
        ("toys.train.jsonl", None, "exactly one .*found none"),
        ("toys.valid.jsonl", list.reverse, r"test.jsonl line 1: .*not continue"),
        ("toys.valid.jsonl", list.pop, "one row a user in each"),
        ("toys.valid.jsonl", "version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        ("toys.test.jsonl", lambda rows: rows[2].pop("target_id"), "line 3: expected .*target_id"),
        ("toys.test.jsonl", lambda rows: rows[1].update(target_id="zz"), "line 2: 'zz' is not in"),
        ("toys.test.jsonl", lambda rows: rows[0].update(user_id="A"), "name the same users"),
        ("toys.emb_map.json", None, r"cannot read .*emb_map.json"),
        ("toys.emb_map.json", '{"a": 1, "b": 3}', "without gaps"),
        ("toys.emb_map.json", '{"a": "1"}', "item 'a' has the number '1'"),
        ("Toys.emb-llama.npy", FEATURES[1:], r"shape \(29, 12\).*numbers 30"),
        ("Toys.emb-llama.npy", np.array([{}] * ITEMS), "not a plain .npy"),
        ("other.npy", FEATURES, "exactly one .*Toys.emb-llama.npy, other.npy"),
    ],
)
def test_damaged_or_mixed_up_releases_are_refused(tmp_path, name, change, message):
    path = write_release(tmp_path / "r", histories()) / name
    if change is None:
        path.unlink()
    elif isinstance(change, str):
        path.write_text(change)
    elif isinstance(change, np.ndarray):
        np.save(path, change, allow_pickle=True)
    else:
        edit(path, change)
    with pytest.raises(DigerError, match=message):
        made(tmp_path / "r")


def test_a_beginning_that_no_row_shows_is_refused(tmp_path):
    sequences = histories()
    folder = write_release(tmp_path / "r", sequences, cut=LIMIT)
    long = next(u for u, s in enumerate(sequences) if len(s) > LIMIT + 4)
    start = sum(len(s) - 3 for s in sequences[:long])
    edit(folder / "toys.train.jsonl", lambda rows: rows.pop(start + LIMIT))
    with pytest.raises(DigerError, match=r"latest 5 events of user \d+, and toys.train.jsonl"):
        made(folder)


@pytest.mark.parametrize(("protocol", "bare"), [(2, True), (4, False)])
def test_the_tokenizer_gives_the_checkpoint_s_codes(tmp_path, protocol, bare):
    twin, x = Twin(), torch.from_numpy(FEATURES)
    path, out = tmp_path / "best.pth", tmp_path / "a" / "rqvae.safetensors"
    write_checkpoint(path, twin, protocol)
    if bare:
        torch.save(twin.state_dict(), path, pickle_protocol=protocol)
    digest = file_sha256(path)
    made = convert_rqvae(path, out, sha256=digest.upper())
    assert (made.sha256, made.released, made.widths) == (digest, None, (12, 10, 8, 6))
    assert (made.levels, made.codebook_size) == (3, 4)
    assert list(out.parent.iterdir()) == [out]
    with safe_open(out, "pt") as file:
        assert file.metadata()["sha256"] == digest
        for mine, theirs in (
            ("encoder.2.weight", twin.encoder.mlp_layers[4].weight),
            ("decoder.4.bias", twin.decoder.mlp_layers[7].bias),
        ):
            assert torch.equal(file.get_tensor(mine), theirs)
    tokenizer, codes, transform = build(out)
    assert torch.equal(tokenizer.codebooks[2], twin.rq.vq_layers[2].embedding.weight)
    assert torch.equal(codes, twin.codes(x))
    assert min(len(column.unique()) for column in codes.T) > 2
    with torch.no_grad():
        latent = twin.encoder(x)
        ours = tokenizer.latent(torch.from_numpy(transform.transform(FEATURES)))
        torch.testing.assert_close(ours, latent, atol=1e-4, rtol=1e-4)
        there = transform.scale * (twin.decoder(latent) - torch.from_numpy(transform.mean))
        torch.testing.assert_close(tokenizer.reconstruct(latent), there, atol=1e-4, rtol=1e-4)
    _, balanced, _ = build(out, balanced=True, sinkhorn={"every_level": True})
    assert torch.equal(balanced, twin.codes(x, sinkhorn=True))
    assert not torch.equal(balanced, codes)


def test_the_hash_comes_first_and_tells_the_data(tmp_path, monkeypatch):
    path, out = tmp_path / "best.pth", tmp_path / "rqvae.safetensors"
    digest = write_checkpoint(path)
    reads: list[bool] = []
    load = torch.load
    monkeypatch.setattr(
        torch, "load", lambda *a, **k: reads.append(k["weights_only"]) or load(*a, **k)
    )
    for given, message in (
        (None, "none of the released checkpoints'.*beauty, instruments"),
        ("0" * 64, "nothing in it was read"),
        ("abc", "is not a SHA-256"),
    ):
        with pytest.raises(DigerError, match=message):
            convert_rqvae(path, out, sha256=given)
    assert not reads and not out.exists()
    assert sorted(KNOWN.values()) == ["beauty", "instruments", "yelp"]
    assert all(len(known) == 64 and int(known, 16) for known in KNOWN)
    monkeypatch.setitem(KNOWN, digest, "toys")
    assert convert_rqvae(path, out).released == "toys"
    assert reads == [True]
    with pytest.raises(DigerError, match="add --force"):
        convert_rqvae(path, out)
    convert_rqvae(path, out, force=True)
    build(out, dataset="Toys")
    with pytest.raises(DigerError, match="released for toys, and this dataset is beauty"):
        build(out, dataset="beauty")


class Malice:
    def __reduce__(self):
        return os.mkdir, ("trap",)


@pytest.mark.parametrize("protocol", [2, 4])
def test_code_in_a_checkpoint_is_not_run(tmp_path, monkeypatch, protocol):
    monkeypatch.chdir(tmp_path)
    path = Path("best.pth")
    digest = write_checkpoint(path, protocol=protocol, extra=Malice())
    with pytest.raises(DigerError, match=r"holds more than weights.*(posix|nt)\.mkdir"):
        convert_rqvae(path, Path("out.safetensors"), sha256=digest)
    assert list(Path().iterdir()) == [path]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.encoder.mlp_layers.append(nn.Linear(3, 6)), "not a linear layer that fits"),
        (lambda t: setattr(t, "decoder", Mlp(6, 9, 10, DIM)), "do not fit together"),
        (lambda t: delattr(t, "decoder"), "has no decoder"),
        (lambda t: setattr(t.rq.vq_layers[1], "embedding", nn.Embedding(5, 6)), "of one shape"),
        (lambda t: setattr(t.rq, "project", nn.Linear(2, 2)), "holds rq.project.weight, which"),
        (lambda t: nn.init.constant_(t.rq.vq_layers[0].embedding.weight, torch.nan), "has NaN"),
    ],
)
def test_checkpoints_of_another_kind_are_named(tmp_path, change, message):
    path, twin = tmp_path / "best.pth", Twin()
    change(twin)
    digest = write_checkpoint(path, twin)
    with pytest.raises(DigerError, match=message):
        convert_rqvae(path, tmp_path / "out.safetensors", sha256=digest)
    assert list(tmp_path.iterdir()) == [path]


def test_a_damaged_checkpoint_is_one_line_without_torch_s_advice(tmp_path):
    path, out = tmp_path / "best.pth", tmp_path / "out.safetensors"

    def refused(data: bytes) -> None:
        path.write_bytes(data)
        what = r"not a checkpoint of torch|more than weights|has no state_dict"
        with pytest.raises(DigerError, match=what) as caught:
            convert_rqvae(path, out, sha256=file_sha256(path))
        said = str(caught.value)
        assert said.startswith(str(path)) and "\n" not in said and len(said) < 500
        assert not re.search("weights.only|trust|torch.load", said, re.IGNORECASE)

    for start in (b"", b"\x80\x02", b"\x80\x04", b"PK\x03\x04"):
        for size in (0, 10, 5000):
            refused(start + np.random.default_rng(0).bytes(size))
    refused(pickle.dumps({"state_dict": 1}, protocol=2))
    for protocol in (2, 4):
        write_checkpoint(path, protocol=protocol)
        whole = path.read_bytes()
        refused(whole[:100])
        refused(whole[:-2000])
        for place in (b"data.pkl", b"state_dict", b"PK\x01\x02"):
            at = whole.rindex(place)
            refused(whole[:at] + b"\xff" * 10 + whole[at + 10 :])


def test_a_checkpoint_is_written_where_it_can_be(tmp_path):
    path = tmp_path / "best.pth"
    digest = write_checkpoint(path)
    for out in (path / "x.safetensors", tmp_path / ("x" * 300)):
        with pytest.raises(DigerError, match=r"^cannot write .*give another --out$"):
            convert_rqvae(path, out, sha256=digest)
    assert [p.name for p in tmp_path.iterdir()] == ["best.pth"]


def test_a_pickle_of_protocol_4_says_the_same_in_protocol_2():
    shared, many = "a string used twice" * 20, [(i, str(i % 7)) for i in range(400)]
    value = {
        "plain": [None, True, False, 1, -5, 2**40, 0.5, (), (1,), (1, 2), (1, 2, 3, 4)],
        shared: {"again": shared, "snow": "sne\u017eka \u2603", "many": many},
        "args": argparse.Namespace(path=shared, same=many),
    }
    data = as_protocol_2(pickle.dumps(value, protocol=4))
    assert max(code.proto for code, _, _ in pickletools.genops(data)) <= 2
    again = pickle.loads(data)
    assert again == value and again["args"].same is again[shared]["many"]
    for broken in (b"\x80\x04N", b"\x80\x04KK\x93."):
        with pytest.raises(DigerError, match="not a checkpoint of torch"):
            as_protocol_2(broken)


@pytest.fixture
def converted(tmp_path) -> Path:
    digest = write_checkpoint(tmp_path / "best.pth")
    convert_rqvae(tmp_path / "best.pth", tmp_path / "rqvae.safetensors", sha256=digest)
    return tmp_path / "rqvae.safetensors"


def test_a_checkpoint_that_does_not_fit_the_recipe(tmp_path, converted):
    vectors = toys.write_vectors(tmp_path / "x.npy")
    for message, path, changes in (
        (r"codebooks .*\(3, 4, 6\), the recipe makes it \(2, 4, 6\)", converted, {"levels": 2}),
        ("leave .*input_width out", converted, {"width": 8}),
        ("no RQ-VAE at .*convert rqvae", tmp_path / "none", {}),
        ("cannot be read", vectors, {}),
    ):
        with pytest.raises(DigerError, match=message):
            build(path, **changes)
    with pytest.raises(ValueError, match='write kind = "rqvae", not "residual-kmeans"'):
        config(converted, kind="residual-kmeans")


@pytest.mark.parametrize(
    ("name", "epochs", "updates"),
    [("beauty", 120, 514), ("instruments", 100, 515), ("yelp", 200, 880)],
)
def test_paper_recipes(name, epochs, updates):
    recipe = load_recipe(f"paper-{name}")
    assert recipe.backbone == T5Config(kind="t5") and recipe.training.epochs == epochs
    assert recipe.tokenizer.checkpoint == f"data/{name}.rqvae.safetensors"
    assert recipe.content.encoder == f"{name.title()}.emb-llama.npy"
    assert round(recipe.training.warmup * epochs * updates) == 500  # as in the training loop
    assert recipe.joint.gradients == ("history", "decoder", "labels")


@pytest.mark.parametrize(
    ("method", "joint"),
    [
        ("differentiable", "joint.learning_rate = 1e-2"),
        ("detached", 'joint.uncertainty = {noise = "none", decay = "none"}'),
        ("static", ""),
    ],
)
def test_from_released_files_to_recommendations(tmp_path, monkeypatch, method, joint):
    """By the command line; the paper's recipe as it is, but for sizes."""
    monkeypatch.chdir(tmp_path)
    write_release(tmp_path / "released", histories(40), cut=LIMIT, users=True)
    digest = write_checkpoint(tmp_path / "best.pth")
    for command, says in (
        ("prepare released --out data/toys", "vectors: Toys.emb-llama.npy"),
        (
            f"convert rqvae best.pth --out data/toys.rqvae.safetensors --sha256 {digest}",
            r"3 levels of 4 codewords, encoder 12-10-8-6(?s:.*)not one of the released",
        ),
    ):
        told = CliRunner().invoke(app, command)
        assert told.exit_code == 0 and re.search(says, told.output), told.output
    kept = list(Path("data/toys/content").glob("*.safetensors"))
    with safe_open(kept[0], "numpy") as file:
        assert np.array_equal(file.get_tensor("vectors"), FEATURES)
    Path("mine.toml").write_text(f"""
        extends = "paper-beauty"
        method = "{method}"
        {joint}
        content.encoder = "Toys.emb-llama.npy" # found in the dataset folder by its name
        training = {{epochs = 2, batch_size = 32, warmup = 0.1}}
        backbone = {{kind = "t5", d_model = 8, feed_forward = 16, layers = 1, decoder_layers = 1}}
        [tokenizer]
        codebook_size = 4
        width = 6
        rqvae.hidden = [10, 8]
        checkpoint = "data/toys.rqvae.safetensors"
    """)
    recipe = load_recipe("mine.toml")
    assert recipe.method == method and recipe.tokenizer.sinkhorn.every_level
    bundle = toys.train(recipe, Path("data/toys"), Path(f"toys-{method}-s0"), device=toys.CPU)
    checkpoint = Path("data/toys.rqvae.safetensors")
    entry = Bundle.open(bundle).config["tokenizer"]
    assert entry["checkpoint"] == checkpoint.name  # not where it lay
    assert entry["checkpoint_sha256"] == file_sha256(checkpoint)
    checkpoint.unlink()
    model = load_model(bundle)  # a bundle carries its own weights
    assert len(model.recommend(["B001", "B002"], k=5)) == 5
    if method == "static":
        codes = Twin().codes(torch.from_numpy(FEATURES), sinkhorn=True)
        assert model.sids is not None and torch.equal(model.sids[:, :-1], codes)


def test_another_checkpoint_is_another_run(tmp_path, converted):
    dataset = toys.make_dataset()
    recipe = toys.make_recipe(tokenizer=config(converted).model_dump())
    before = identity(recipe, dataset, 0, toys.CPU)
    assert before == identity(recipe, dataset, 0, toys.CPU)
    converted.write_bytes(converted.read_bytes() + b"\0")
    assert before != identity(recipe, dataset, 0, toys.CPU)
