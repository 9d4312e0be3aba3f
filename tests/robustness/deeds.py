"""What is killed, starved of room and shut out, and is completed by doing the same again.

`DEEDS` has each with its start, what must hold whenever it was cut off, and what it leaves. They
run in processes of their own (`apart`); a Hub's address lies in their folder as `hub`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bundle_toys
import core_toys
import torch
from apart import attempt
from hub_server import TOKEN, USER, client_settings

from diger.bundle import Bundle
from diger.hub import publish, pull
from diger.training import loop
from diger.training.run import train

REPO = f"{USER}/toys"
CLOCKED = {"config.json", "history.parquet", "README.md"}  # they hold seconds


@dataclass(frozen=True)
class Deed:
    """Functions of a folder.

    prepare: make the start. begin: do it, or go on with it. cut_off: check what is there at any
    moment. left: what it leaves in the end, the same each time.
    """

    prepare: Callable[[Path], object]
    begin: Callable[[Path], object]
    cut_off: Callable[[Path], object]
    left: Callable[[Path], object]


def content(path: Path) -> dict[str, str]:
    """SHA-256 of each file of a bundle; of those with a clock what is the same each time."""
    bundle = Bundle.open(path)
    found = {n: e.sha256 for n, e in bundle.manifest.files.items() if n not in CLOCKED}
    assert bundle.history is not None
    found["history"] = bundle.history.drop(columns="seconds", errors="ignore").to_csv()
    return found | {"selected": str(bundle.about.selected_epoch)}


def seed_of(path: Path) -> int:
    """The seed of a whole bundle, by which two are told apart."""
    return int(Bundle.open(path).config["seed"])


def _fresh(folder: Path, *names: str) -> None:
    for name in names:
        shutil.rmtree(folder / name, ignore_errors=True)


def _place(folder: Path) -> None:
    _fresh(folder, "out", "out.partial")
    if not (folder / "data").exists():
        core_toys.Place(folder)


def _train(folder: Path, **changes: Any) -> None:
    torch.set_num_threads(1)
    loop.SAVE_EVERY_SECONDS = 0.0  # after each update, so that most moments are near a save
    recipe = core_toys.make_recipe(folder / "vectors.npy", **changes)
    if not (folder / "out").exists():
        train(recipe, folder / "data", folder / "out", device=core_toys.CPU)


def train_static(folder: Path) -> None:
    """SIDs, then a recommender over them."""
    _train(folder)


def train_joint(folder: Path) -> None:
    """Tokenizer and recommender together, with noise and its decay."""
    joint = {"learning_rate": 1e-2, "uncertainty": {"decay": "sdud+frqud"}}
    _train(folder, method="differentiable", joint=joint)


def command(*arguments: object) -> str:
    """A command of ours that may fail: what it said, without a trace."""
    import contextlib
    import io
    import sys

    from diger import cli

    sys.argv = ["diger", *map(str, arguments)]
    with contextlib.redirect_stderr(io.StringIO()) as said:
        try:
            cli.main()
        except SystemExit as stop:
            assert stop.code in (0, 2), said.getvalue()
    return said.getvalue()


def connected_command(folder: Path, *arguments: object) -> str:
    """The same, with the Hub of the folder."""
    _client(folder)
    return command(*arguments)


def writing(folder: Path, into: Path) -> dict[str, tuple[object, ...]]:
    """Commands that write, with `into` for their outputs."""
    return {
        "prepare": ("prepare", "made-up", "--out", into / "made-up"),
        "train": ("train", "popularity", "--data", folder / "data", "--out", into / "trained"),
        "sids": ("sids", folder / "out", "--out", into / "sids.csv"),
        "pull": ("pull", REPO, "--out", into / "pulled"),
    }


def _none_or_whole(folder: Path) -> None:
    assert not (folder / "out").exists() or content(folder / "out")


def write_first(folder: Path) -> None:
    """A bundle."""
    _fresh(folder, "out")
    bundle_toys.write_bundle(folder / "out", force=True)  # a killed swap is completed first


def write_second(folder: Path) -> None:
    """Another in its place."""
    bundle_toys.write_bundle(folder / "out", force=True, seed=1)


def _first_or_second(folder: Path) -> None:
    assert seed_of(folder / "out") in (0, 1)


def _client(folder: Path, home: str = "home") -> None:
    from huggingface_hub import constants

    os.environ["HF_TOKEN"] = TOKEN
    for name, value in client_settings((folder / "hub").read_text(), folder / home).items():
        setattr(constants, name, value)


def publish_first(folder: Path) -> None:
    """Publish a bundle."""
    _client(folder)
    publish(bundle_toys.write_bundle(folder / "first", force=True), REPO)


def publish_second(folder: Path) -> None:
    """Publish another over it."""
    _client(folder)
    publish(bundle_toys.write_bundle(folder / "second", force=True, seed=1), REPO)


def pull_second(folder: Path) -> None:
    """Pull over what was there before."""
    _client(folder)
    pull(REPO, folder / "out", force=True)


def pull_afresh(folder: Path) -> int:
    """The seed of what a stranger gets."""
    _fresh(folder, "stranger", "strange")
    _client(folder, "stranger")
    pull(REPO, folder / "strange")
    return seed_of(folder / "strange")


def _done(deed: Callable[[Path], object], folder: Path) -> Any:
    outcome = attempt(deed, folder)
    assert not outcome.fault and not outcome.refusal, outcome
    return outcome.value


def _ready_to_pull(folder: Path) -> None:
    _fresh(folder, "home")
    _done(publish_second, folder)
    _fresh(folder, "home")
    write_first(folder)


def _nothing_half_taken(folder: Path) -> None:
    _first_or_second(folder)
    for kept in (folder / "home" / "assets" / "diger" / "bundles").glob("*/*"):
        if kept.is_dir() and kept.suffix != ".partial" and kept.name != "refs":
            Bundle.open(kept)


def _out(folder: Path) -> object:
    return content(folder / "out")


DEEDS = {
    "training, static": Deed(_place, train_static, _none_or_whole, _out),
    "training, joint": Deed(_place, train_joint, _none_or_whole, _out),
    "writing a bundle": Deed(write_first, write_second, _first_or_second, _out),
    "publish": Deed(
        lambda folder: _done(publish_first, folder),
        publish_second,
        lambda folder: _done(pull_afresh, folder) in (0, 1),
        lambda folder: _done(pull_afresh, folder),
    ),
    "pull": Deed(_ready_to_pull, pull_second, _nothing_half_taken, _out),
}
