"""The same work by what people run today: the transformers library's T5 over code tokens.

One vocabulary holds a start token and the codes of all positions. Training takes one example a
prefix, at the published size. Decoding is the library's `generate`, kept in the catalogue by
`prefix_allowed_tokens_fn`, beside our search over a backbone with the same weights. Its softmax
runs over the whole vocabulary where ours runs over one position's codes, so the lists are not
compared here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diger.benchmark.clock import Measurement, timed
from diger.benchmark.scale import BEAM, HISTORY, generated_sids, search_times, untrained
from diger.config import T5Config
from diger.recommender.t5 import T5Recommender
from diger.tokenizer.trie import Trie

EXAMPLES = 256  # a step, as published
SIDE_BY_SIDE = 100_000  # items up to which a dictionary of all prefixes is made


def library_name(name: str) -> str:
    """What the library calls one of our weights, part by part."""
    side, last = name[:7], "1" if name.startswith("encoder") else "2"
    parts = {
        f"{side}_norm": f"{side}.final_layer_norm",
        f"{side}_bias": f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias",
        "self_attention": "0.SelfAttention",
        "cross_attention": "1.EncDecAttention",
        "feed_forward": f"{last}.DenseReluDense",
        "norm_self": "0.layer_norm",
        "norm_cross": "1.layer_norm",
        "norm_feed_forward": f"{last}.layer_norm",
    }
    parts |= {str(n): f"block.{n}.layer" for n in range(100)}
    parts |= {"table": "weight", "rise": "wi"}
    parts |= {"query": "q", "key": "k", "value": "v", "output": "o", "fall": "wo"}
    return ".".join(parts.get(part, part) for part in name.split("."))


def library_twin(model: T5Recommender, config: T5Config) -> Any:
    """The library's T5 with the same weights: a start token, then the codes of all positions."""
    import transformers

    table = torch.cat([model.start[None], *model.codes.tables])
    make: Any = transformers.T5Config
    settings = make(
        vocab_size=len(table),
        d_model=config.d_model,
        d_kv=config.head_width,
        d_ff=config.feed_forward,
        num_heads=config.heads,
        num_layers=config.layers,
        num_decoder_layers=config.decoder_layers,
        dropout_rate=config.dropout,
        tie_word_embeddings=False,  # its logits are then not scaled
    )
    settings.decoder_start_token_id = 0
    twin: Any = transformers.T5ForConditionalGeneration(settings)
    tied = ("shared", "lm_head", "encoder.embed_tokens", "decoder.embed_tokens")
    weights = {f"{name}.weight": table for name in tied}
    weights |= {
        library_name(name): weight
        for name, weight in model.state_dict().items()
        if name.startswith(("encoder", "decoder"))
    }
    twin.load_state_dict(weights)
    return twin.to(table.device).eval()


def decoding(sizes: tuple[int, ...], device: torch.device) -> Iterator[Measurement]:
    """One user at a time, on the same weights: our search, and the library's `generate`."""
    config = T5Config(kind="t5")
    for n in sizes:
        sids = generated_sids(n)
        model, trie, codes = untrained(config, sids, device), Trie.build(sids), torch.tensor(sids)
        assert isinstance(model, T5Recommender)
        note = f"history of {HISTORY}, {BEAM} beams"
        ours = search_times(model, codes.to(device), trie.to(device), 1, 20)
        yield ours.measurement("one user, T5, our search", "ms", note, 1000.0, n)
        if n > SIDE_BY_SIDE:
            continue
        twin, tokens = library_twin(model, config), codes + token_offsets(model.sizes)
        allowed = prefixes(tokens)
        generator = torch.Generator().manual_seed(1)

        def generate() -> None:
            items = torch.randint(len(tokens), (1, HISTORY), generator=generator)  # noqa: B023
            shown = tokens[items].flatten(1).to(device)  # noqa: B023
            generated(twin, shown, allowed, tokens.shape[1])  # noqa: B023

        generate()
        theirs = timed(generate, device, 10)
        yield theirs.measurement("one user, T5, the library's generate", "ms", note, 1000.0, n)


def generated(
    twin: Any, shown: Tensor, allowed: dict[tuple[int, ...], list[int]], length: int
) -> Tensor:
    """Token lists (B * BEAM, 1 + length), the start token first, for token histories (B, S)."""
    found: Tensor = twin.generate(
        input_ids=shown,
        attention_mask=torch.ones_like(shown),
        num_beams=BEAM,
        num_return_sequences=BEAM,
        max_new_tokens=length,
        min_new_tokens=length,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
        prefix_allowed_tokens_fn=lambda _, sent: allowed[tuple(sent.tolist()[1:])],
    )
    return found


def token_offsets(sizes: tuple[int, ...]) -> Tensor:
    """What is added to the code at each position to make it a token; 0 starts."""
    return 1 + torch.tensor([0, *np.cumsum(sizes[:-1])])


def prefixes(tokens: Tensor) -> dict[tuple[int, ...], list[int]]:
    """The tokens that may follow each prefix of token lists (items, length)."""
    after: dict[tuple[int, ...], set[int]] = defaultdict(set)
    for row in tokens.tolist():
        for at, token in enumerate(row):
            after[tuple(row[:at])].add(token)
    return {prefix: sorted(following) for prefix, following in after.items()}


def training(
    shown: np.ndarray, max_history: int, device: torch.device, steps: int = 3
) -> Iterator[Measurement]:
    """An epoch of one example a target, with `shown` (examples,) items before each.

    Padded to the longest history allowed, and with examples of like length in a batch.
    """
    before = np.sort(shown)
    batches = -(-len(before) // EXAMPLES)
    # Batches in order of length, a few of them, evenly spaced.
    middle = (np.arange(steps) + 0.5) / steps
    bucketed = before[(middle * len(before)).astype(int)]
    torch.manual_seed(0)
    model = untrained(T5Config(kind="t5"), generated_sids(1000), device)
    assert isinstance(model, T5Recommender)
    twin = library_twin(model, T5Config(kind="t5")).train()
    optimizer = torch.optim.AdamW(twin.parameters(), lr=1e-4, fused=True)
    vocabulary, code_positions = twin.config.vocab_size, len(model.sizes)

    def step(items: int) -> None:
        tokens = torch.randint(1, vocabulary, (EXAMPLES, items * code_positions), device=device)
        labels = torch.randint(1, vocabulary, (EXAMPLES, code_positions), device=device)
        optimizer.zero_grad(set_to_none=True)
        twin(input_ids=tokens, labels=labels).loss.backward()
        optimizer.step()

    step(int(bucketed[0]))

    def some() -> None:
        for items in bucketed:
            step(int(items))

    together = timed(some, device, 2)
    note = f"{EXAMPLES} examples a step, of like length; {steps} steps, scaled"
    scale = batches / steps
    yield together.measurement("T5, the library, length-bucketed", "s an epoch", note, scale)
    padded = timed(lambda: step(max_history), device, 2)
    note = f"{EXAMPLES} examples a step, padded to {max_history * code_positions} tokens, scaled"
    yield padded.measurement("T5, the library, padded", "s an epoch", note, batches)
