"""Damaged, hostile and half-written bundles: each is refused by name."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import bundle_toys as toys
import numpy as np
import pandas as pd
import pytest
from hostile import seal

import diger
from diger import files
from diger.bundle import Bundle, BundleWriter, list_bundles
from diger.bundle.schema import ALLOWED
from diger.errors import DigerError

PATHS = os.pathsep.join([str(Path(__file__).parent), str(Path(diger.__file__).parents[1])])
ENVIRONMENT = {**os.environ, "PYTHONPATH": PATHS}


@pytest.fixture
def bundle(tmp_path):
    return toys.write_bundle(tmp_path / "one")


def refused(path, message, **options):
    with pytest.raises(DigerError, match=message) as caught:
        Bundle.open(path, **options)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def flip(file, at=None):
    data = bytearray(file.read_bytes())
    data[len(data) // 2 if at is None else at] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize("name", sorted(ALLOWED - {"codes.svg"}))
def test_changed_missing_and_truncated_files_are_named(bundle, name):
    file = bundle / name
    flip(file)
    refused(bundle, f"{name} does not match the SHA-256")
    file.write_bytes(file.read_bytes()[:-1])
    refused(bundle, f"{name} has .* bytes where its manifest says", verify=False)
    file.unlink()
    refused(bundle, f"{name} is missing", verify=False)


def test_unverified_files_are_still_checked_when_read(bundle):
    opened = Bundle.open(bundle, verify=False)
    flip(bundle / "ranks.parquet", 40)
    with pytest.raises(DigerError, match=r"ranks\.parquet does not match"):
        _ = opened.ranks
    (bundle / "model.safetensors").unlink()
    with pytest.raises(DigerError, match=r"model\.safetensors is missing"):
        opened.tensors("model.safetensors")


def test_a_file_too_many(bundle):
    (bundle / ".gitattributes").write_text("the Hub adds this")
    Bundle.open(bundle)
    (bundle / "weights\x1b.pkl").write_bytes(b"")
    refused(bundle, r"weights\\x1b\.pkl is not in its manifest")


def test_links_and_folders_are_refused(tmp_path, bundle):
    file = bundle / "ranks.parquet"
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    refused(bundle, r"ranks\.parquet must be a plain file")
    file.unlink()
    file.mkdir()
    refused(bundle, r"ranks\.parquet must be a plain file")
    manifest = bundle / "manifest.json"
    manifest.rename(tmp_path / "manifest")
    manifest.symlink_to(tmp_path / "manifest")
    refused(bundle, r"manifest\.json must be a plain file")


def test_sealed_by_a_newer_version_or_with_unknown_names(bundle):
    (bundle / "model.pkl").write_bytes(b"cos\nsystem\n")
    seal(bundle)
    refused(bundle, r"'model\.pkl' is not a file a bundle may hold")
    seal(bundle, format=3)
    refused(bundle, r"format 3 is newer than this DIGER reads \(2\): upgrade DIGER")


@pytest.mark.parametrize("name", ["../config.json", "/etc/passwd", "C:\\x.json", "..", "x\0.json"])
def test_paths_in_the_manifest_are_refused(bundle, name):
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["files"][name] = {"sha256": "0" * 64, "bytes": 1}
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    refused(bundle, "is a path, not the name")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not valid JSON"),
        (b"[]", "must be a JSON object"),
        (b'{"format": true}', "format must be a number"),
        (b'{"format": 1, "files": []}', "files must be an object"),
        (b'{"format": 1, "files": {"README.md": 3}}', "README.md has no valid sha256"),
        (b'{"format": 1, "kind": "complete", "files": {}}', "its files make it results-only"),
        (b'{"format": 1, "kind": "results-only", "files": {}}', "needs README.md, config.json"),
    ],
)
def test_malformed_manifests(bundle, content, message):
    (bundle / "manifest.json").write_bytes(content)
    refused(bundle, message)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("topk.parquet", {"user": [0], "item_1": [99]}, "item row 99 of a catalogue of 6"),
        (
            "ranks.parquet",
            {"split": ["test"], "user": [0], "target": [6], "rank": [1], "history_length": [1]},
            "item row 6 of a catalogue of 6",
        ),
        ("history.parquet", {"loss": [1.0]}, "column epoch is missing"),
        ("config.json", b"[1]", r"config\.json must be a JSON object"),
    ],
)
def test_sealed_nonsense_is_refused_when_read(bundle, name, content, message):
    """The hashes fit, for whoever wrote the bundle made it so; the content does not."""
    if isinstance(content, bytes):
        (bundle / name).write_bytes(content)
    else:
        pd.DataFrame(content).to_parquet(bundle / name)
    seal(bundle)
    with pytest.raises(DigerError, match=message):
        opened = Bundle.open(bundle)
        opened.frame(name)


@pytest.mark.parametrize("error", [RuntimeError("disk on fire"), KeyboardInterrupt()])
def test_an_exception_leaves_what_was_there(bundle, error):
    before = Bundle.open(bundle).hash
    for path in (bundle, bundle.with_name("two")):
        with pytest.raises(type(error)), BundleWriter(path, force=True) as writer:
            writer.json("config.json", toys.config())
            raise error
    assert Bundle.open(bundle).hash == before
    assert [p.name for p in bundle.parent.iterdir()] == ["one"]


def test_a_failed_rename_puts_the_old_bundle_back(bundle, monkeypatch):
    before, rename = Bundle.open(bundle).hash, Path.rename

    def failing(self, target):
        if self.name.endswith(".new.tmp"):
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(DigerError, match="cannot be written: No space left on device"):
        toys.write_bundle(bundle, force=True, seed=1)
    assert Bundle.open(bundle).hash == before
    assert [p.name for p in bundle.parent.iterdir()] == ["one"]


KILLED_WHILE_WRITING = """
from diger.bundle import BundleWriter
with BundleWriter(sys.argv[1], force=True) as writer:
    writer.json("config.json", toys.config(seed=1))
    os.kill(os.getpid(), signal.SIGKILL)
"""
KILLED_BETWEEN_THE_TWO_RENAMES = """
rename = Path.rename
def killing(self, target):
    if self.name.endswith(".new.tmp"):
        os.kill(os.getpid(), signal.SIGKILL)
    return rename(self, target)
Path.rename = killing
toys.write_bundle(Path(sys.argv[1]), force=True, seed=1)
"""

KILLED_WHILE_REMOVING_THE_OLD = """
import shutil
def killing(folder, **_):
    Path(folder, "manifest.json").unlink()
    os.kill(os.getpid(), signal.SIGKILL)
shutil.rmtree = killing
toys.write_bundle(Path(sys.argv[1]), force=True, seed=1)
"""


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
@pytest.mark.parametrize("reader", [Bundle.open, lambda path: list_bundles(path.parent)[0]])
@pytest.mark.parametrize(
    ("code", "seed"),  # between the two the new one was whole, so it takes the place
    [(KILLED_WHILE_WRITING, 0), (KILLED_BETWEEN_THE_TWO_RENAMES, 1)],
)
def test_killed(tmp_path, bundle, code, seed, reader):
    be_killed(code, bundle)
    left = {p.name.rpartition(".")[2] for p in tmp_path.iterdir()}
    assert {"tmp", "lock"} <= left and bundle.exists() == (seed == 0)
    assert reader(bundle).config["seed"] == seed
    toys.write_bundle(bundle, force=True, seed=2)
    assert [p.name for p in tmp_path.iterdir()] == ["one"]


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_what_was_replaced_does_not_return_half_removed(tmp_path, bundle):
    be_killed(KILLED_WHILE_REMOVING_THE_OLD, bundle)
    shutil.rmtree(bundle)
    toys.write_bundle(bundle)
    assert [p.name for p in tmp_path.iterdir()] == ["one"]


def be_killed(code, bundle):
    start = "import os, sys, signal; from pathlib import Path; import bundle_toys as toys"
    process = subprocess.run([sys.executable, "-c", start + code, bundle], env=ENVIRONMENT)
    assert process.returncode == -signal.SIGKILL


def test_an_old_bundle_returns_where_the_new_one_is_gone(bundle):
    before = Bundle.open(bundle).hash
    bundle.rename(bundle.with_name(".one.0123abcd.old.tmp"))
    assert Bundle.open(bundle).hash == before


def test_leftovers_of_the_living_are_left_alone(tmp_path):
    path = tmp_path / "one"
    alive = files.Staging(path)
    dead, other = tmp_path / ".one.0123abcd.new.tmp", tmp_path / ".two.0123abcd.new.tmp"
    dead.mkdir()
    other.mkdir()
    toys.write_bundle(path)
    assert alive.folder.is_dir() and other.is_dir() and not dead.exists()
    alive.discard()
    assert not alive.folder.exists()


@pytest.mark.parametrize("dtype", ["BF16", "F8_E4M3"])
def test_bfloat16_is_read_and_a_strange_type_refused(bundle, dtype):
    data = np.array([0x3F80, 0xC020], "<u2").tobytes()[: 4 if dtype == "BF16" else 2]
    entry = {"dtype": dtype, "shape": [2], "data_offsets": [0, len(data)]}
    header = json.dumps({"x": entry}).encode()
    content = len(header).to_bytes(8, "little") + header + data
    (bundle / "model.safetensors").write_bytes(content)
    seal(bundle)
    opened = Bundle.open(bundle)
    if dtype == "BF16":
        assert opened.tensors("model.safetensors")["x"].tolist() == [1.0, -2.5]
    else:
        with pytest.raises(DigerError, match=r"model\.safetensors"):
            opened.tensors("model.safetensors")
