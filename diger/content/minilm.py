"""The default encoder without sentence-transformers: a BERT of six layers in plain torch.

The small way to name a new item: the weights' package and `tokenizers`, where the library brings
its own weight in packages and is slow to import. It is the model of Wang et al., MiniLM (NeurIPS
2020), as `sentence-transformers/all-MiniLM-L6-v2` has it: mean of the last layer's tokens, of unit
length.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

_TABLES = ("word", "position", "token_type")


class MiniLM:
    """The weights and word pieces in `folder`, on the CPU; texts are cut at `max_tokens`."""

    def __init__(self, folder: Path, max_tokens: int) -> None:
        from tokenizers import Tokenizer

        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self._layers: int = config["num_hidden_layers"]
        self._heads: int = config["num_attention_heads"]
        self._eps: float = config["layer_norm_eps"]
        self._weights = load_file(folder / "model.safetensors")
        self._pieces = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._pieces.enable_truncation(max_tokens)
        self._pieces.enable_padding()

    def encode(self, texts: list[str], batch_size: int = 64, **_: Any) -> np.ndarray:
        """float32 (len(texts), 384), of unit length; the call is sentence-transformers' own."""
        parts = [
            self._encode(texts[at : at + batch_size]) for at in range(0, len(texts), batch_size)
        ]
        return torch.cat(parts).numpy()

    @torch.inference_mode()
    def _encode(self, texts: list[str]) -> Tensor:
        read = self._pieces.encode_batch(texts)
        ids = torch.tensor([one.ids for one in read])
        real = torch.tensor([one.attention_mask for one in read])
        tables = [self._weights[f"embeddings.{name}_embeddings.weight"] for name in _TABLES]
        words, places, kinds = tables
        x = self._norm("embeddings", words[ids] + places[: ids.shape[1]] + kinds[0])
        for number in range(self._layers):
            x = self._layer(f"encoder.layer.{number}", x, real[:, None, None, :].bool())
        mean = (x * real[..., None]).sum(1) / real.sum(1, keepdim=True)
        return F.normalize(mean, dim=-1)

    def _layer(self, name: str, x: Tensor, seen: Tensor) -> Tensor:
        def heads(part: str) -> Tensor:
            made = self._linear(f"{name}.attention.self.{part}", x)
            return made.unflatten(-1, (self._heads, -1)).transpose(1, 2)

        mixed = F.scaled_dot_product_attention(
            heads("query"), heads("key"), heads("value"), attn_mask=seen
        )
        mixed = self._linear(f"{name}.attention.output.dense", mixed.transpose(1, 2).flatten(2))
        x = self._norm(f"{name}.attention.output", x + mixed)
        wide = F.gelu(self._linear(f"{name}.intermediate.dense", x))
        return self._norm(f"{name}.output", x + self._linear(f"{name}.output.dense", wide))

    def _linear(self, name: str, x: Tensor) -> Tensor:
        return F.linear(x, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"])

    def _norm(self, name: str, x: Tensor) -> Tensor:
        weight, bias = (self._weights[f"{name}.LayerNorm.{part}"] for part in ("weight", "bias"))
        return F.layer_norm(x, x.shape[-1:], weight, bias, self._eps)
