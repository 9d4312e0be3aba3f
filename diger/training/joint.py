"""Joint training: the recommender and the tokenizer that names its items, in one optimisation.

    L = L_gen + w (L_vq + L_recon)  (+ alignment, + the decay's own loss)

`detached` trains the tokenizer by its own losses only; in `differentiable` the recommendation loss
reaches it through soft, noisy codes (`diger.tokenizer.soft`); `ste` lets it reach the chosen
codeword alone, without noise; `shuffled` and `reassigned` train no tokenizer and change codes
without a gradient (`diger.training.renaming`). Every distinct item of a batch is tokenised once.
All SIDs are assigned anew every `refresh` updates, without noise, with suffixes that stay where
they can; the catalogue's trie follows. Everything that decides the run lies in parameters and
buffers of one module, so that a saved state is complete.

What moves, beside the codewords: the items themselves. An item is x = content M + o, with o a free
vector of its own (`offsets`) and M one linear map for all (`mixing`). Where labels carry a gradient
codes drift to what is easy to predict, in the end one code for all; the balance

    sum_c u_c log(U_c),  u the batch's soft usage of a level's codes by targets, U its running mean,

is minus the entropy of usage, so that with it the objective is, up to a constant, minus the mutual
information between a history and the code that comes next.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from diger.config import JointConfig
from diger.data.batches import Batch
from diger.errors import DigerError
from diger.evaluation.rankers import Mode, SidRanker
from diger.evaluation.ranking import Ranker
from diger.recommender.base import CodeView, Recommender
from diger.tokenizer.base import Tokenizer
from diger.tokenizer.build import TokenizerConfig, assign_catalogue
from diger.tokenizer.soft import calibrate, soft_codes
from diger.tokenizer.stats import collision_groups
from diger.tokenizer.suffix import assign_suffix
from diger.tokenizer.trie import Trie
from diger.training import distributed
from diger.training.drift import SidWatch
from diger.training.renaming import Renaming
from diger.training.task import decayed_groups, recommendation_loss
from diger.uncertainty.base import Decay, build_decay

USAGE_MOMENTUM = 0.99  # an update, of the running usage of codes in the balance


class JointModule(nn.Module):
    """All state of a joint run.

    sids: buffer (items, levels + 1), those of the last refresh. epoch_codes:
    buffer (items, levels), those of the last epoch's end. scale: buffer (levels,) factors on
    the similarities, fixed at the start. content: (items, dim), not part of the saved state.
    """

    sids: Tensor
    epoch_codes: Tensor
    scale: Tensor
    content: Tensor
    usage: Tensor

    def __init__(
        self,
        recommender: Recommender,
        tokenizer: Tokenizer,
        decay: Decay,
        sids: Tensor,
        scale: Tensor,
        content: Tensor,
        config: JointConfig,
    ) -> None:
        super().__init__()
        self.recommender = recommender
        self.tokenizer = tokenizer
        self.decay = decay
        self.register_buffer("sids", sids.clone(memory_format=torch.contiguous_format))
        self.register_buffer(
            "epoch_codes", sids[:, :-1].clone(memory_format=torch.contiguous_format)
        )
        self.register_buffer("scale", scale)
        self.register_buffer("content", content, persistent=False)
        items, width = content.shape
        zeros, same = torch.zeros(items, width), torch.eye(width)
        device = content.device
        self.offsets = nn.Parameter(zeros.to(device)) if config.offsets else None
        self.mixing = nn.Parameter(same.to(device)) if config.mixing else None
        if config.balance:
            levels, size = tokenizer.levels, tokenizer.codebook_size
            self.register_buffer("usage", torch.full((levels, size), 1 / size, device=device))

    def items(self, rows: Tensor | None = None) -> Tensor:
        """What the tokenizer is given of the items in `rows` (n,), or of all: (n, dim)."""
        x = self.content if rows is None else self.content[rows]
        if self.mixing is not None:
            x = x @ self.mixing
        if self.offsets is not None:
            x = x + (self.offsets if rows is None else self.offsets[rows])
        return x

    def moved(self) -> tuple[np.ndarray | None, np.ndarray | None]:
        """The mixing and the offsets, as arrays, where there are any."""
        mixing, offsets = (
            None if learned is None else learned.detach().cpu().numpy()
            for learned in (self.mixing, self.offsets)
        )
        return mixing, offsets


def _float32(x: Tensor) -> torch.autocast:
    """Whatever the precision of the recommender, the tokenizer works in float32."""
    return torch.autocast(x.device.type, enabled=False)


class JointTask:
    """The joint methods; see the module's text."""

    def __init__(
        self,
        *,
        method: str,
        config: JointConfig,
        model: Recommender,
        tokenizer: Tokenizer,
        naming: TokenizerConfig,
        sids: Tensor,
        content: Tensor,
        popularity: np.ndarray,
        beam: int,
        decoding: Mode = "beam",
        smoothing: float = 0.0,
        alignment: float = 0.0,
        renaming: Renaming | None = None,
    ) -> None:
        self.method = method
        self.renaming = renaming  # in place of a tokenizer that trains
        self.config = config
        self.model = model
        self.tokenizer = tokenizer
        self.naming = naming  # how a whole catalogue is assigned: greedily or balanced
        self.beam = beam
        self.decoding = decoding
        self.smoothing = smoothing
        self.alignment = alignment
        self.prefix_examples = model.prefix_examples
        size = tokenizer.codebook_size
        self.decay = build_decay(config.uncertainty, sids[:, :-1], size).to(sids.device)
        if config.confidence:
            scale = calibrate(tokenizer, content, config.confidence)
        else:
            scale = torch.ones(tokenizer.levels, device=content.device)
        self.module = JointModule(model, tokenizer, self.decay, sids, scale, content, config)
        tokenizer.requires_grad_(False)
        tokenizer.codebooks.requires_grad_(renaming is None)
        if config.train_encoder:
            tokenizer.requires_grad_(True)
        self.watch = SidWatch(sids[:, :-1].cpu().numpy(), popularity, size)
        self._places = frozenset(config.gradients)
        self._settled = False
        self._index()

    def parameter_groups(self, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
        """The recommender's groups, then the tokenizer's and the decay's at their own rates."""
        rate = self.config.learning_rate
        groups = decayed_groups(self.model, learning_rate, weight_decay)
        tokenizer = [p for p in self.tokenizer.parameters() if p.requires_grad]
        # No weight decay: a codeword's place is its meaning.
        groups.append({"params": tokenizer, "lr": rate, "weight_decay": 0.0, "name": "tokenizer"})
        for what, learned in self._of_items():
            rate = getattr(self.config, what)
            groups.append({"params": [learned], "lr": rate, "weight_decay": 0.0, "name": what})
        own = list(self.decay.parameters())
        if own:
            slow = self.decay.learning_rate
            groups.append({"params": own, "lr": slow, "weight_decay": 0.0, "name": "decay"})
        return groups

    def norm_groups(self) -> dict[str, list[nn.Parameter]]:
        """Each clipped on its own, so that neither drowns the other."""
        return {
            "gradient_norm": list(self.model.parameters()),
            "tokenizer_gradient_norm": [p for p in self.tokenizer.parameters() if p.requires_grad],
            **{f"{what}_gradient_norm": [learned] for what, learned in self._of_items()},
        }

    def _of_items(self) -> list[tuple[str, nn.Parameter]]:
        """What is learned of items beside the codebooks, by the name of its rate."""
        both = (("offsets", self.module.offsets), ("mixing", self.module.mixing))
        return [(what, learned) for what, learned in both if learned is not None]

    def averaged(self) -> list[nn.Parameter]:
        """The recommender's; an average of codebooks would name items otherwise than the SIDs."""
        return list(self.model.parameters())

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """See the module's text; codes and alignment weigh as in `StaticTask`."""
        unique, index = batch.distinct()
        cached = self.module.sids[unique]
        plain_view = CodeView(cached, frequency=batch.frequency(unique))
        if self._settled or self.renaming is not None:
            return self._recommendation(plain_view, index, batch)
        x = self.module.items(unique)
        assigned = cached[:, : self.tokenizer.levels]
        parts: dict[str, float] = {}
        if self.method == "detached":
            view = plain_view
        else:
            sampled = self.config.forward == "sampled"
            with _float32(x):  # an encoder in bfloat16 would give items other codes than their SIDs
                soft = soft_codes(
                    self.tokenizer,
                    x,
                    scale=self.module.scale,
                    temperature=self.config.temperature * self.decay.temperature(),
                    noise=self.config.uncertainty.noise,
                    noise_scale=self.decay.noise_scale,
                    fixed=None if sampled else assigned,
                    winner_only=self.method == "ste",
                )
            codes = torch.cat([soft.codes, cached[:, assigned.shape[1] :]], dim=1)
            view = replace(plain_view, codes=codes, mixture=soft.mixture, places=self._places)
            parts |= self.watch.batch(soft, assigned, self.decay.hot())
            self.decay.observe(assigned[torch.searchsorted(unique, batch.events())])
        loss, more = self._recommendation(view, index, batch)
        parts |= more
        with _float32(x):
            own = self.tokenizer.losses(x)
        parts |= {f"loss_{name}": value.item() for name, value in own.items()}
        loss = loss + self.config.tokenizer_weight * (own["vq"] + own["reconstruction"])
        if self.module.offsets is not None:
            power = self.module.offsets[unique].square().sum(-1).mean()
            loss = loss + self.config.offset_weight * power
            parts["loss_offsets"] = power.item()
        if self.config.balance and view.mixture is not None:
            with _float32(x):  # what a bf16 product would round is summed over a whole run
                term = self._balance(view.mixture, unique, batch) / len(self.model.sizes)
            loss = loss + self.config.balance * term
            parts["loss_balance"] = term.item()
        penalty = self.decay.penalty(torch.tensor(parts["loss_codes"], device=loss.device))
        if penalty is not None:
            loss = loss + penalty
            parts["loss_sigma"] = penalty.item()
        parts |= self.decay.report()
        parts["temperature"] = self.config.temperature * self.decay.temperature()
        return loss, parts

    def _balance(self, mixture: tuple[Tensor, ...], unique: Tensor, batch: Batch) -> Tensor:
        """See the module's text; summed over the levels of mixtures (n, codebook size)."""
        counts = torch.bincount(
            torch.searchsorted(unique, batch.events(first=1)), minlength=len(unique)
        )
        share = counts / counts.sum()
        usage = torch.stack([share @ level for level in mixture])
        running = self.module.usage
        running.lerp_(usage.detach(), 1 - USAGE_MOMENTUM)
        return (usage * running.clamp_min(1e-6).log()).sum()

    def _recommendation(
        self, view: CodeView, index: Tensor, batch: Batch
    ) -> tuple[Tensor, dict[str, float]]:
        losses = self.model.loss(view, index, batch.lengths, self.smoothing, batch.starts)
        return recommendation_loss(losses, self.alignment)

    def begin_update(self, update: int, updates: int) -> None:
        """Told before each update; settles the tokenizer and moves the clock of the decay."""
        done = update / updates
        self.decay.begin_update(done)
        settle = self.config.settle < 1 and update >= math.ceil(self.config.settle * updates)
        if settle and not self._settled and self.renaming is None:
            self.refresh()
        self._settled = settle

    def end_update(self, update: int) -> None:
        """Told after update number `update`, from 1; refreshes SIDs when it is time."""
        every = self.config.refresh
        if every and update % every == 0 and not self._settled and self.renaming is None:
            self.refresh()

    def end_epoch(self) -> tuple[dict[str, float], list[dict[str, Any]]]:
        """SIDs refreshed; the epoch's drift and collisions, and a record of every level."""
        if not self._settled:
            self.refresh()
        codes, last = self.module.sids[:, :-1], self.module.epoch_codes
        row, levels = self.watch.epoch(codes.cpu().numpy(), last.cpu().numpy())
        for level, scale in zip(levels, self.module.scale.tolist(), strict=True):
            level["logit_scale"] = scale
        last.copy_(codes)
        return row, levels

    @torch.no_grad()
    def refresh(self) -> None:
        """Assign every item's SID from the tokenizer as it is now, without noise."""
        old = self.module.sids.cpu().numpy()
        if self.renaming is not None:
            training = self.model.training
            assigned = self.renaming(self.model.eval(), self.module.sids, self.watch.epochs)
            self.model.train(training)
        else:
            assigned = assign_catalogue(self.tokenizer, self.naming, self.module.items())
        codes = distributed.alike(assigned).cpu().numpy()
        if (codes == old[:, :-1]).all():
            self.model.know_catalogue(self.trie)  # a renaming may have shown it another
            return
        try:
            suffix = assign_suffix(codes, old[:, -1], old[:, :-1], size=self.model.sizes[-1])
        except DigerError as error:
            self.watch.name_collapse(codes)
            raise DigerError(
                f"joint training moved too many items to one place after epoch "
                f"{self.watch.epochs}: {error}; or lower joint.learning_rate"
            ) from None
        full = np.concatenate([codes, suffix[:, None]], axis=1)
        self.module.sids.copy_(torch.from_numpy(full))
        self._index()

    def restored(self, records: list[dict[str, Any]]) -> None:
        """Told after weights and SIDs were loaded, with the epochs' records so far."""
        self.watch.restore(records)
        self._index()

    def _index(self) -> None:
        sids = self.module.sids
        self.trie = Trie.build(sids).to(sids.device)
        self.model.know_catalogue(self.trie)
        groups = collision_groups(sids[:, :-1].cpu().numpy())
        self.group = torch.from_numpy(groups).to(sids.device)

    def ranker(self) -> Ranker:
        """As the recipe says, over the SIDs of the last refresh."""
        module = self.module
        return SidRanker(self.model, module.sids, self.trie, self.decoding, self.beam, self.group)
