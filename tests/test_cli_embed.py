"""`diger embed` on a small dataset folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from diger.cli import app
from diger.content import encoder as encoder_module
from diger.content.models import TextEncoder
from diger.data.dataset import Dataset
from diger.errors import DigerError


class LengthModel:
    def encode(self, texts: list[str], **_: object) -> np.ndarray:
        return np.array([[len(text), 1.0] for text in texts])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    items = pd.DataFrame(
        {
            "item_id": ["a", "b", "c"],
            "title": ["Soap", "Hammer", None],
            "description": None,
            "brand": None,
            "categories": [[], ["Tools"], []],
        }
    )
    dataset = Dataset.create(
        name="toy",
        split="leave-one-out",
        items=items,
        user_ids=["u"],
        offsets=np.array([0, 3]),
        events=np.array([0, 1, 2]),
        times=None,
        train_end=np.array([1]),
        validation_at=np.array([1]),
        test_at=np.array([2]),
    )
    return dataset.save(tmp_path / "toy")


def test_embed_keeps_vectors_in_the_dataset_folder(folder: Path, monkeypatch: pytest.MonkeyPatch):
    model = TextEncoder("toy/encoder", "r1", "hub", 16, LengthModel())
    monkeypatch.setattr(encoder_module, "load_text_encoder", lambda *_, **__: model)
    command = ["embed", str(folder), "--encoder", "toy/encoder", "--max-tokens", "16"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert "toy: 3 items, 2 numbers each" in result.output
    assert "1 without text" in result.output
    assert (folder / "content" / "toy-encoder-16.safetensors").is_file()
    Dataset.load(folder)  # still whole


def test_embed_reads_a_npy(folder: Path, tmp_path: Path):
    np.save(tmp_path / "mine.npy", np.eye(3))
    result = CliRunner().invoke(
        app, ["embed", str(folder), "--encoder", str(tmp_path / "mine.npy")]
    )
    assert result.exit_code == 0, result.output
    assert "3 numbers each (mine.npy)" in result.output


def test_embed_reports_what_is_wrong(folder: Path, tmp_path: Path):
    np.save(tmp_path / "mine.npy", np.eye(2))
    result = CliRunner().invoke(
        app, ["embed", str(folder), "--encoder", str(tmp_path / "mine.npy")]
    )
    assert isinstance(result.exception, DigerError)
    assert "(3 items, dim), got (2, 2)" in str(result.exception)
