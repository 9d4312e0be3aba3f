"""Bundles of a user or an organisation on the Hub, found by their tag, from their cards alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from diger.bundle.card import TAGS
from diger.bundle.documents import is_number
from diger.errors import DigerError
from diger.hub.client import Say, connection, knock, patiently, say_on_stderr
from diger.hub.faults import NotUnderstood, current_token, explained


@dataclass(frozen=True)
class Listed:
    """A bundle on the Hub, as its card describes it; None where the card does not say.

    metrics: of the test split, by names such as `recall@10`. updated: an ISO date.
    """

    repo_id: str
    private: bool
    updated: str | None
    dataset: str | None
    method: str | None
    decay: str | None
    seed: int | None
    metrics: Mapping[str, float]


def list_hub(owner: str | None = None, *, say: Say = say_on_stderr) -> list[Listed]:
    """Bundles of `owner` that we may see, by name; by default one's own.

    Raises:
        DigerError: not logged in where no owner is given, or a fault of the Hub.
    """
    if owner is None and current_token() is None:
        raise DigerError(
            "whose bundles? Give a user or an organisation, or log in with `hf auth login`"
        )
    with connection(say) as api, explained(f"listing {owner or 'your bundles'}"):
        knock()
        author = owner or _myself(patiently(api.whoami, say))
        models = patiently(
            lambda: list(api.list_models(author=author, filter=TAGS[0], full=True, cardData=True)),
            say,
        )
        return sorted((listed(model) for model in models), key=lambda one: one.repo_id)


def _myself(answer: Any) -> str:
    name = answer.get("name") if isinstance(answer, dict) else None
    if not isinstance(name, str):
        raise NotUnderstood("no name")
    return name


def listed(model: Any) -> Listed:
    """From a `ModelInfo`; a card may be anybody's, so nothing in it is taken for granted."""
    data = model.card_data
    card: Mapping[str, Any] = {} if data is None else data.to_dict()
    ours = card.get("diger")
    ours = ours if isinstance(ours, Mapping) else {}
    seed, dataset = ours.get("seed"), card.get("dataset")
    return Listed(
        repo_id=str(model.id),
        private=model.private is True,
        updated=None if model.last_modified is None else model.last_modified.date().isoformat(),
        dataset=dataset if isinstance(dataset, str) else None,
        method=ours["method"] if isinstance(ours.get("method"), str) else None,
        decay=ours["decay"] if isinstance(ours.get("decay"), str) else None,
        seed=seed if isinstance(seed, int) else None,
        metrics=_metrics(getattr(data, "eval_results", None)),
    )


def _metrics(results: Any) -> dict[str, float]:
    """`recall@10` and so on, from entries named "recall@10 (decoding)"."""
    found: dict[str, float] = {}
    for result in results or ():
        name = str(result.metric_name or "").partition(" (")[0]
        if "@" in name and is_number(result.metric_value):
            found.setdefault(name, float(result.metric_value))
    return found
