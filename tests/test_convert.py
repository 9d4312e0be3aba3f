"""Released data and checkpoints, on twins of our own making in the released formats."""

from __future__ import annotations

import argparse
import hashlib
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
from diger.convert import rqvae as rqvae_module
from diger.convert.release import convert_data
from diger.convert.rqvae import KNOWN, as_protocol_2, convert_rqvae
from diger.data.dataset import Dataset
from diger.errors import DigerError
from diger.model import load_model
from diger.tokenizer.build import build_tokenizer
from diger.tokenizer.config import TokenizerConfig
from diger.tokenizer.rqvae import RQVAE
from diger.training.run import identity

LIMIT = 5  # events of a history that a cut release shows
ITEMS, DIM = 30, 12

# --- twins of the released files ------------------------------------------------------------------


def histories(users: int = 12, seed: int = 0) -> list[list[int]]:
    """Item numbers (from 1) of each user, 4 to 14 of them; some repeat themselves."""
    rng = np.random.default_rng(seed)
    return [rng.integers(1, ITEMS + 1, rng.integers(4, 15)).tolist() for _ in range(users)]


def write_release(
    folder: Path,
    sequences: list[list[int]],
    *,
    cut: int = 10**6,
    users: bool = False,
    integers: bool = False,
) -> Path:
    """The five files, as the authors' scripts write them."""
    folder.mkdir(parents=True, exist_ok=True)
    name = (lambda n: n) if integers else (lambda n: f"B{n:03d}")

    def row(user: int, at: int) -> str:
        history = sequences[user][max(0, at - cut) : at]
        record: dict[str, Any] = {"inter_history": [name(n) for n in history]}
        record["target_id"] = name(sequences[user][at])
        return json.dumps({"user_id": f"A{user}", **record} if users else record)

    numbers = [(user, len(sequence)) for user, sequence in enumerate(sequences)]
    splits = {
        "train": [row(user, at) for user, n in numbers for at in range(1, n - 2)],
        "valid": [row(user, n - 2) for user, n in numbers],
        "test": [row(user, n - 1) for user, n in numbers],
    }
    for split, rows in splits.items():
        (folder / f"toys.{split}.jsonl").write_text("\n".join(rows) + "\n")
    items = {"[PAD]": 0} | {str(name(n)): n for n in range(ITEMS, 0, -1)}
    (folder / "toys.emb_map.json").write_text(json.dumps(items))
    np.save(folder / "Toys.emb-llama.npy", features())
    return folder


def features() -> np.ndarray:
    """Text features as raw as a language model's: a large common mean, little spread."""
    rng = np.random.default_rng(5)
    return (rng.normal(size=DIM) * 20 + rng.normal(size=(ITEMS, DIM))).astype(np.float32)


class Mlp(nn.Module):
    """Dropout, linear layer and ReLU in turns, as in the authors' `mlp_layers`."""

    def __init__(self, widths: list[int], norm: bool = False) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for place, (before, after) in enumerate(pairwise(widths)):
            layers += [nn.Dropout(0.0), nn.Linear(before, after)]
            layers += [nn.BatchNorm1d(after)] if norm else []
            layers += [nn.ReLU()] if place < len(widths) - 2 else []
        self.mlp_layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.mlp_layers(x)


class Twin(nn.Module):
    """An RQ-VAE with the released checkpoints' names: encoder, decoder, rq.vq_layers.

    Initialised so that latents have the codewords' size.
    """

    def __init__(self, hidden: tuple[int, ...] = (10, 8), width: int = 6, **options: Any) -> None:
        super().__init__()
        torch.manual_seed(3)
        widths = [DIM, *hidden, width]
        self.encoder, self.decoder = Mlp(widths, **options), Mlp(widths[::-1], **options)
        self.rq = nn.Module()
        self.rq.vq_layers = nn.ModuleList(nn.Module() for _ in range(3))
        for layer in self.rq.vq_layers:
            layer.embedding = nn.Embedding(4, width)
            nn.init.normal_(layer.embedding.weight, std=0.2)
            layer.register_buffer("code_usage_ema", torch.ones(4) / 4)
        last = [m for m in self.encoder.modules() if isinstance(m, nn.Linear)][-1]
        with torch.no_grad():
            latent = self.encoder(torch.from_numpy(features()))
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


def write_checkpoint(path: Path, model: nn.Module | None = None, **changes: Any) -> str:
    """A checkpoint as the authors' trainer saves it; returns its SHA-256."""
    model = model or Twin()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    sum(p.square().sum() for p in model.parameters()).backward()
    optimizer.step() if "step" in changes else None
    protocol = changes.pop("protocol", 4)
    state = {
        "args": argparse.Namespace(lr=1e-3, layers=[10, 8], beta=0.25, device="cuda:0"),
        "epoch": 9999,
        "best_loss": 0.25,
        "best_collision_rate": 0.125,
        "state_dict": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        **changes,
    }
    torch.save(state, path, pickle_protocol=protocol)
    return sha256(path)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def config(checkpoint: Path, **changes: Any) -> TokenizerConfig:
    values = {
        "kind": "rqvae",
        "levels": 3,
        "codebook_size": 4,
        "width": 6,
        "rqvae": {"hidden": (10, 8)},
        "checkpoint": str(checkpoint),
    }
    return TokenizerConfig.model_validate({**values, **changes})


# --- data -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [10**6, LIMIT])
@pytest.mark.parametrize("users", [False, True])
@pytest.mark.parametrize("integers", [False, True])
def test_histories_come_back_whole(tmp_path, cut, users, integers):
    sequences = histories()
    folder = write_release(tmp_path / "r", sequences, cut=cut, users=users, integers=integers)
    if users:  # by id, the order of the files' lines does not matter
        path = folder / "toys.valid.jsonl"
        path.write_text("\n".join(reversed(path.read_text().splitlines())))
    dataset = convert_data(folder, tmp_path / "out")
    assert dataset.name == "toys" and dataset.n_items == ITEMS
    first = "1" if integers else "B001"
    assert dataset.items["item_id"].tolist()[0] == first  # in the order of the vectors' rows
    assert dataset.user_ids.tolist()[:2] == (["A0", "A1"] if users else ["1", "2"])
    for user, sequence in enumerate(sequences):
        begin, end = dataset.offsets[user : user + 2]
        assert (dataset.events[begin:end] + 1).tolist() == sequence
        assert dataset.train_end[user] == dataset.validation_at[user] == end - 2
        assert dataset.test_at[user] == end - 1
    again = Dataset.load(tmp_path / "out")
    assert again.info == dataset.info and not again.info.text_may_be_published
    kept = list((tmp_path / "out" / "content").glob("*.safetensors"))
    with safe_open(kept[0], "numpy") as file:
        assert np.array_equal(file.get_tensor("vectors"), features())


def edit(path: Path, change: Any) -> None:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    change(rows)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize(
    ("split", "change", "message"),
    [
        ("train", lambda rows: rows.pop(4), "lacks 1 rows"),
        ("train", lambda rows: rows.append(rows[0]), r"train.jsonl line \d+ is no part of any"),
        ("valid", lambda rows: rows.reverse(), r"test.jsonl line 1: the history of user 1 does"),
        ("valid", lambda rows: rows.pop(), "one row a user in each"),
        ("test", lambda rows: rows[2].pop("target_id"), "line 3: expected a non-empty list inter_"),
        ("test", lambda rows: rows[1].update(inter_history=[]), "line 2: expected a non-empty"),
        ("test", lambda rows: rows[1].update(target_id="zz"), "line 2: 'zz' is not in the item"),
        ("test", lambda rows: rows[0].update(user_id="A"), "must name the same users"),
    ],
)
def test_rows_that_do_not_belong_together_are_refused(tmp_path, split, change, message):
    folder = write_release(tmp_path / "r", histories())
    edit(folder / f"toys.{split}.jsonl", change)
    with pytest.raises(DigerError, match=message):
        convert_data(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_beginning_that_no_row_shows_is_refused(tmp_path):
    sequences = histories()
    folder = write_release(tmp_path / "r", sequences, cut=LIMIT)
    long = next(u for u, s in enumerate(sequences) if len(s) > LIMIT + 4)
    start = sum(len(s) - 3 for s in sequences[:long])
    edit(folder / "toys.train.jsonl", lambda rows: rows.pop(start + LIMIT))
    with pytest.raises(
        DigerError, match=r"shows the latest 5 events of user \d+, and toys.train.jsonl does not"
    ):
        convert_data(folder, tmp_path / "out")


def test_files_that_are_not_what_they_should_be(tmp_path):
    def release(name: str) -> Path:
        return write_release(tmp_path / name, histories())

    out = tmp_path / "out"
    with pytest.raises(DigerError, match="nowhere is not a folder"):
        convert_data(tmp_path / "nowhere", out)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DigerError, match=r"exactly one \*\.train\.jsonl; found none"):
        convert_data(tmp_path / "empty", out)
    folder = release("pointer")
    (folder / "toys.valid.jsonl").write_text("version https://git-lfs.github.com/spec/v1\noid x\n")
    with pytest.raises(DigerError, match=r"valid.jsonl is a Git LFS pointer.*git lfs pull"):
        convert_data(folder, out)
    folder = release("missing")
    (folder / "toys.emb_map.json").unlink()
    with pytest.raises(DigerError, match=r"cannot read .*emb_map.json: No such file"):
        convert_data(folder, out)
    folder = release("gap")
    (folder / "toys.emb_map.json").write_text(json.dumps({"a": 1, "b": 3}))
    with pytest.raises(DigerError, match=r"numbered 1, 2, ... without gaps"):
        convert_data(folder, out)
    (folder / "toys.emb_map.json").write_text(json.dumps({"a": "1"}))
    with pytest.raises(DigerError, match="item 'a' has the number '1'"):
        convert_data(folder, out)
    folder = release("short")
    np.save(folder / "Toys.emb-llama.npy", features()[1:])
    with pytest.raises(DigerError, match=r"shape \(29, 12\), but toys.emb_map.json numbers 30"):
        convert_data(folder, out)
    np.save(folder / "Toys.emb-llama.npy", np.array([{"a": 1}] * ITEMS), allow_pickle=True)
    with pytest.raises(DigerError, match=r"is not a plain .npy array"):
        convert_data(folder, out)
    folder = release("two")
    np.save(folder / "other.npy", features() + 1)
    with pytest.raises(DigerError, match=r"Toys.emb-llama.npy, other.npy; name it with --vectors"):
        convert_data(folder, out)
    convert_data(folder, out, vectors=folder / "other.npy", name="mine")
    with pytest.raises(DigerError, match="exists already; add --force"):
        convert_data(folder, out, vectors=folder / "other.npy")
    convert_data(folder, out, vectors=folder / "other.npy", force=True)


# --- checkpoints ----------------------------------------------------------------------------------


@pytest.fixture
def converted(tmp_path) -> Path:
    digest = write_checkpoint(tmp_path / "best.pth")
    convert_rqvae(tmp_path / "best.pth", tmp_path / "rqvae.safetensors", sha256=digest)
    return tmp_path / "rqvae.safetensors"


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("bare", [False, True])
def test_weights_come_through_unchanged(tmp_path, protocol, bare):
    path, twin = tmp_path / "best.pth", Twin()
    digest = write_checkpoint(path, twin, protocol=protocol)
    if bare:
        torch.save(twin.state_dict(), path, pickle_protocol=protocol)
        digest = sha256(path)
    made = convert_rqvae(path, tmp_path / "a" / "rqvae.safetensors", sha256=digest.upper())
    assert (made.sha256, made.released, made.widths) == (digest, None, (12, 10, 8, 6))
    assert (made.levels, made.codebook_size) == (3, 4)
    with safe_open(tmp_path / "a" / "rqvae.safetensors", "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        assert file.metadata()["sha256"] == digest
    rqvae = RQVAE(dim=DIM, hidden=(10, 8), levels=3, codebook_size=4, width=6)
    assert tensors.keys() == rqvae.state_dict().keys()
    assert torch.equal(tensors["encoder.2.weight"], twin.encoder.mlp_layers[4].weight)
    assert torch.equal(tensors["decoder.4.bias"], twin.decoder.mlp_layers[7].bias)
    assert torch.equal(tensors["codebooks"][2], twin.rq.vq_layers[2].embedding.weight)
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["rqvae.safetensors"]


def test_the_tokenizer_gives_the_checkpoint_s_codes(converted):
    twin, raw = Twin(), features()
    x = torch.from_numpy(raw)
    transform = ContentTransform.fit(raw, width=None)
    content = transform.transform(raw)
    tokenizer, codes = build_tokenizer(config(converted), content, seed=0, transform=transform)
    assert torch.equal(codes, twin.codes(x))
    assert min(len(column.unique()) for column in codes.T) > 2
    with torch.no_grad():
        latent = twin.encoder(x)
        torch.testing.assert_close(
            tokenizer.latent(torch.from_numpy(content)), latent, atol=1e-4, rtol=1e-4
        )
        there = transform.scale * (twin.decoder(latent) - torch.from_numpy(transform.mean))
        torch.testing.assert_close(tokenizer.reconstruct(latent), there, atol=1e-4, rtol=1e-4)
    balanced = config(converted, balanced=True, sinkhorn={"every_level": True})
    _, codes = build_tokenizer(balanced, content, seed=0, transform=transform)
    assert torch.equal(codes, twin.codes(x, sinkhorn=True))
    assert not torch.equal(codes, twin.codes(x))


def test_the_hash_comes_first(tmp_path, monkeypatch):
    path, out = tmp_path / "best.pth", tmp_path / "rqvae.safetensors"
    digest = write_checkpoint(path)
    reads: list[bool] = []
    load = torch.load
    monkeypatch.setattr(
        torch, "load", lambda *a, **k: reads.append(k["weights_only"]) or load(*a, **k)
    )
    with pytest.raises(DigerError, match=r"none of the released checkpoints'.*beauty, instruments"):
        convert_rqvae(path, out)
    with pytest.raises(DigerError, match="nothing in it was read"):
        convert_rqvae(path, out, sha256="0" * 64)
    with pytest.raises(DigerError, match="is not a SHA-256"):
        convert_rqvae(path, out, sha256="abc")
    assert not reads and not out.exists()
    monkeypatch.setitem(rqvae_module.KNOWN, digest, "toys")
    assert convert_rqvae(path, out).released == "toys"
    assert reads == [True]
    with pytest.raises(DigerError, match="exists already; add --force"):
        convert_rqvae(path, out)
    convert_rqvae(path, out, force=True)


def test_the_released_hashes_are_written_correctly():
    assert sorted(KNOWN.values()) == ["beauty", "instruments", "yelp"]
    assert all(len(digest) == 64 and int(digest, 16) for digest in KNOWN)


class Malice:
    def __init__(self, where: Path) -> None:
        self.where = where

    def __reduce__(self):
        return os.mkdir, (str(self.where),)


@pytest.mark.parametrize("protocol", [2, 4])
def test_code_in_a_checkpoint_is_not_run(tmp_path, protocol):
    trap = tmp_path / "trap"
    digest = write_checkpoint(tmp_path / "best.pth", protocol=protocol, extra=Malice(trap))
    with pytest.raises(DigerError, match=r"holds more than weights.*(posix|nt)\.mkdir"):
        convert_rqvae(tmp_path / "best.pth", tmp_path / "out.safetensors", sha256=digest)
    assert not trap.exists() and not list(tmp_path.glob("out*"))


def test_checkpoints_of_another_kind_are_named(tmp_path):
    path, out = tmp_path / "best.pth", tmp_path / "out.safetensors"

    def refused(message: str) -> None:
        with pytest.raises(DigerError, match=message):
            convert_rqvae(path, out, sha256=sha256(path))
        assert sorted(p.name for p in tmp_path.iterdir()) == ["best.pth"]

    write_checkpoint(path, Twin(norm=True))
    refused("holds encoder.mlp_layers.2.running_mean, which|is not a linear layer that fits")
    twin = Twin()
    twin.decoder = Mlp([6, 9, 10, DIM])
    write_checkpoint(path, twin)
    refused("do not fit together")
    twin = Twin()
    del twin.decoder
    write_checkpoint(path, twin)
    refused("has no decoder")
    twin = Twin()
    twin.rq.vq_layers[1].embedding = nn.Embedding(5, 6)
    write_checkpoint(path, twin)
    refused("codebooks of one shape")
    twin = Twin()
    twin.rq.project = nn.Linear(2, 2)
    write_checkpoint(path, twin)
    refused("holds rq.project.weight, which an RQ-VAE")
    twin = Twin()
    twin.rq.vq_layers[0].embedding.weight.data[0, 0] = torch.nan
    write_checkpoint(path, twin)
    refused("codebooks has NaN")
    torch.save([1, 2], path)
    refused("no state_dict of tensors")
    path.write_bytes(b"PK" + b"\0" * 50)
    refused("is not a checkpoint of torch|holds more than weights")
    write_checkpoint(path)
    path.write_bytes(path.read_bytes()[:-2000])
    refused("is not a checkpoint of torch|holds more than weights")
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:x\n")
    refused("is a Git LFS pointer")


def test_a_damaged_checkpoint_is_one_line_without_torch_s_advice(tmp_path):
    path, out = tmp_path / "best.pth", tmp_path / "out.safetensors"

    def refused(data: bytes) -> None:
        path.write_bytes(data)
        what = r"not a checkpoint of torch|more than weights|has no state_dict"
        with pytest.raises(DigerError, match=what) as caught:
            convert_rqvae(path, out, sha256=sha256(path))
        said = str(caught.value)
        assert said.startswith(str(path)) and "\n" not in said and len(said) < 500
        assert not re.search("weights.only|trust|torch.load", said, re.IGNORECASE)

    rng = np.random.default_rng(0)
    for size in (0, 1, 10, 100, 5000):
        refused(rng.bytes(size))
        for start in (b"\x80\x02", b"\x80\x04", b"PK\x03\x04"):
            refused(start + rng.bytes(size))
    refused(pickle.dumps({"state_dict": 1}, protocol=2))
    for protocol in (2, 4):
        write_checkpoint(path, protocol=protocol)
        whole = path.read_bytes()
        for cut in range(100, len(whole), len(whole) // 12):
            refused(whole[:cut])
        for at in (30, whole.index(b"data.pkl"), whole.rindex(b"PK\x01\x02")):
            refused(whole[:at] + bytes(b ^ 0x5A for b in whole[at : at + 12]) + whole[at + 12 :])
        pickled = whole.index(b"state_dict")
        refused(whole[:pickled] + b"\xff" * 10 + whole[pickled + 10 :])


def test_a_checkpoint_is_written_where_it_can_be(tmp_path):
    path = tmp_path / "best.pth"
    digest = write_checkpoint(path)
    for out in (path / "x.safetensors", Path("/proc/nope/x"), tmp_path / ("x" * 300)):
        with pytest.raises(DigerError, match=r"cannot write .*give another --out") as caught:
            convert_rqvae(path, out, sha256=digest)
        assert "\n" not in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["best.pth"]


def test_a_pickle_of_protocol_4_says_the_same_in_protocol_2():
    shared = "a string used twice" * 20
    many = [(i, str(i % 7)) for i in range(400)]
    value = {
        "plain": [None, True, False, 1, -5, 2**40, 0.5, (), (1,), (1, 2), (1, 2, 3, 4)],
        shared: {"again": shared, "snow": "sne\u017eka \u2603"},
        "many": many,
        "args": argparse.Namespace(path=shared, same=many),
        "type": argparse.Namespace,
    }
    data = as_protocol_2(pickle.dumps(value, protocol=4))
    assert max(code.proto for code, _, _ in pickletools.genops(data)) <= 2
    again = pickle.loads(data)
    assert again == value and again["args"].same is again["many"]
    for broken in (b"", b"\x80\x04N", b"\x80\x04KK\x93."):
        with pytest.raises(DigerError, match="not a checkpoint of torch"):
            as_protocol_2(broken)


# --- starting from them ---------------------------------------------------------------------------


def test_a_checkpoint_that_does_not_fit_the_recipe(tmp_path, converted):
    raw = features()
    transform = ContentTransform.fit(raw, width=None)
    content = transform.transform(raw)

    def refused(
        message: str,
        transform: ContentTransform = transform,
        path: Path = converted,
        **changes: Any,
    ) -> None:
        with pytest.raises(DigerError, match=message):
            build_tokenizer(
                config(path, **changes),
                transform.transform(raw),
                seed=0,
                transform=transform,
            )

    refused(r"codebooks has the shape \(3, 4, 6\), the recipe makes it \(2, 4, 6\)", levels=2)
    refused(r"decoder.2.bias has the shape \(10,\), the recipe makes", rqvae={"hidden": (9, 8)})
    narrow = ContentTransform.fit(raw, width=8)
    refused("leave tokenizer.rqvae.input_width out", narrow, rqvae={"input_width": 8})
    refused("no RQ-VAE at .*convert rqvae", path=tmp_path / "none")
    toys.write_vectors(tmp_path / "x.npy")
    refused("cannot be read", path=tmp_path / "x.npy")
    with pytest.raises(ValueError, match='write kind = "rqvae", not "residual-kmeans"'):
        config(converted, kind="residual-kmeans")
    with pytest.raises(ValueError, match="transform"):
        build_tokenizer(config(converted), content, seed=0)


def test_a_checkpoint_released_for_other_data_is_refused(tmp_path, monkeypatch):
    path, out = tmp_path / "best.pth", tmp_path / "rqvae.safetensors"
    monkeypatch.setitem(rqvae_module.KNOWN, write_checkpoint(path), "toys")
    convert_rqvae(path, out)
    raw = features()
    transform = ContentTransform.fit(raw, width=None)
    content = transform.transform(raw)
    for name in ("toys", "Toys", None):
        build_tokenizer(config(out), content, seed=0, transform=transform, dataset=name)
    with pytest.raises(DigerError, match="RQ-VAE released for toys, and this dataset is beauty;"):
        build_tokenizer(config(out), content, seed=0, transform=transform, dataset="beauty")


def test_from_the_command_line_to_recommendations(tmp_path, monkeypatch):
    run = CliRunner()
    sequences = histories(40)
    write_release(tmp_path / "released", sequences, cut=LIMIT)
    digest = write_checkpoint(tmp_path / "released" / "best_collision_model.pth")
    monkeypatch.chdir(tmp_path)
    told = run.invoke(app, ["convert", "data", "released", "--out", "data/toys"])
    assert told.exit_code == 0 and "wrote" in told.output, told.output
    told = run.invoke(
        app,
        "convert rqvae released/best_collision_model.pth --out data/toys.rqvae.safetensors "
        f"--sha256 {digest}",
    )
    assert told.exit_code == 0, told.output
    assert "3 levels of 4 codewords, encoder 12-10-8-6" in told.output
    assert "not one of the released" in told.output
    recipe = toys.make_recipe(
        Path("Toys.emb-llama.npy"),  # found in the dataset folder by its name
        tokenizer={
            **config(Path("data/toys.rqvae.safetensors")).model_dump(exclude={"kmeans"}),
            "balanced": True,
            "sinkhorn": {"every_level": True},
        },
        backbone={"kind": "t5", "d_model": 8, "heads": 2, "head_width": 4, "layers": 1}
        | {"decoder_layers": 1, "feed_forward": 16},
        training={"epochs": 1, "batch_size": 32},
    )
    bundle = toys.train(recipe, Path("data/toys"), Path("toys-static-s0"), device=toys.CPU)
    entry = Bundle.open(bundle).config["tokenizer"]
    assert entry["checkpoint"] == "toys.rqvae.safetensors"  # not where it lay
    assert entry["checkpoint_sha256"] == sha256(Path("data/toys.rqvae.safetensors"))
    Path("data/toys.rqvae.safetensors").rename("data/elsewhere.safetensors")
    model = load_model(bundle)  # a bundle carries its own weights
    assert model.sids is not None
    codes = Twin().codes(torch.from_numpy(features()), sinkhorn=True)
    assert torch.equal(model.sids[:, :-1], codes)
    assert len(model.recommend(["B001", "B002"], k=5)) == 5


@pytest.mark.parametrize(
    ("name", "epochs", "updates", "rate", "temperature", "hot", "beams"),
    [
        ("beauty", 120, 514, 1e-5, 2.0, 1.5, 20),
        ("instruments", 100, 515, 2e-5, 2.0, 2.0, 20),
        ("yelp", 200, 880, 2e-6, 1.5, 1.1, 80),
    ],
)
def test_paper_recipes(name, epochs, updates, rate, temperature, hot, beams):
    recipe = load_recipe(f"paper-{name}")
    assert recipe.joint is not None and recipe.backbone == T5Config(kind="t5")
    assert recipe.tokenizer.checkpoint == f"data/{name}.rqvae.safetensors"
    assert recipe.content.encoder == f"{name.title()}.emb-llama.npy"
    assert (recipe.training.epochs, recipe.evaluation.beam) == (epochs, beams)
    assert round(recipe.training.warmup * epochs * updates) == 500  # as in the training loop
    assert (recipe.joint.learning_rate, recipe.joint.temperature) == (rate, temperature)
    assert recipe.joint.uncertainty.frqud.threshold == hot
    assert recipe.joint.gradients == ("history", "decoder", "labels")


@pytest.mark.parametrize("method", ["differentiable", "detached", "static"])
def test_a_paper_recipe_runs_on_a_small_twin(tmp_path, monkeypatch, method):
    """The recipe as it is, but for sizes."""
    monkeypatch.chdir(tmp_path)
    write_release(tmp_path / "released", histories(40))
    digest = write_checkpoint(tmp_path / "best.pth")
    convert_data(tmp_path / "released", Path("data/toys"))
    convert_rqvae(Path("best.pth"), Path("data/toys.rqvae.safetensors"), sha256=digest)
    changes: dict[str, Any] = {
        "extends": "paper-beauty",
        "method": method,
        "content": {"encoder": "Toys.emb-llama.npy"},
        "tokenizer": config(Path("data/toys.rqvae.safetensors")).model_dump(exclude_unset=True),
        "backbone": {"d_model": 8, "heads": 2, "head_width": 4, "feed_forward": 16}
        | {"kind": "t5", "layers": 1, "decoder_layers": 1},
        "training": {"epochs": 2, "batch_size": 32, "warmup": 0.1},
    }
    if method != "static":
        changes["joint"] = {"learning_rate": 1e-2}
    if method == "detached":
        changes["joint"]["uncertainty"] = {"noise": "none", "decay": "none"}
    changes["tokenizer"]["rqvae"]["hidden"] = [10, 8]
    lines = [f"{k} = {json.dumps(v)}" for k, v in changes.items() if isinstance(v, str)]
    for table, values in changes.items():
        if isinstance(values, dict):
            lines += _toml(table, values)
    Path("mine.toml").write_text("\n".join(lines))
    recipe = load_recipe("mine.toml")
    assert recipe.method == method and recipe.tokenizer.sinkhorn.every_level
    bundle = toys.train(recipe, Path("data/toys"), Path(f"toys-{method}-s0"), device=toys.CPU)
    model = load_model(bundle)
    assert len(model.recommend(["B001", "B002"], k=5)) == 5


def _toml(table: str, values: dict[str, Any]) -> list[str]:
    plain = [f"{k} = {json.dumps(v)}" for k, v in values.items() if not isinstance(v, dict)]
    inner = [_toml(f"{table}.{k}", v) for k, v in values.items() if isinstance(v, dict)]
    return [f"[{table}]", *plain, *(line for lines in inner for line in lines)]


def test_another_checkpoint_is_another_run(tmp_path, converted):
    dataset = toys.make_dataset()
    recipe = toys.make_recipe(tokenizer=config(converted).model_dump())
    before = identity(recipe, dataset, 0, toys.CPU)
    assert before == identity(recipe, dataset, 0, toys.CPU)
    converted.write_bytes(converted.read_bytes() + b"\0")
    assert before != identity(recipe, dataset, 0, toys.CPU)
