"""Bundles on the Hub by their owner, found by their tag, and collections of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from diger.bundle.card import TAGS
from diger.bundle.documents import Config, is_number
from diger.errors import DigerError
from diger.hub.address import parse_repo_id
from diger.hub.client import current_token, talking
from diger.text import printable


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


@dataclass(frozen=True)
class Collected:
    """A collection: its page, the bundles that were put in now, and those that were in before."""

    url: str
    private: bool
    added: tuple[str, ...]
    were_in: tuple[str, ...]


def list_hub(owner: str | None = None) -> list[Listed]:
    """Bundles of `owner` that we may see, by name; by default one's own."""
    if owner is None and current_token() is None:
        raise DigerError(
            "whose bundles? Give a user or an organisation, or log in with `hf auth login`"
        )
    with talking(f"listing {owner or 'your bundles'}") as api:
        from huggingface_hub.utils import get_session

        # Where there is no network, a list would be asked for again and again for half a minute.
        get_session().head(api.endpoint)
        author = owner or api.whoami()["name"]
        models = list(api.list_models(author=author, filter=TAGS[0], full=True, cardData=True))
    return sorted(map(_listed, models), key=lambda bundle: bundle.repo_id)


def collect(
    title: str,
    repo_ids: Sequence[str],
    *,
    owner: str | None = None,
    description: str | None = None,
    public: bool = False,
) -> Collected:
    """Put bundles into the collection `title`, made where there is none, each with its figures.

    All bundles (`owner/name`) are looked up before anything is changed; those that are in already
    stay. The collection's owner is by default that of the first bundle; `description` is a line
    under its title, at most 150 characters. `public`: for everybody to see, where it is made now.
    """
    names = list(dict.fromkeys(map(parse_repo_id, repo_ids)))
    if not names:
        raise DigerError("a collection needs at least one bundle: give owner/name")
    doing = f"collecting {printable(title, 60)}"
    bundles = [_bundle(name, doing) for name in names]
    with talking(doing, safe="Bundles that are in stay in; the same command goes on") as api:
        owner = owner or names[0].partition("/")[0]
        known = next((c for c in api.list_collections(owner=owner) if c.title == title), None)
        if known is not None:
            found = api.get_collection(known.slug)  # the list holds only some of its items
        else:
            found = api.create_collection(
                title, namespace=owner, description=description, private=not public, exists_ok=True
            )
        were_in = {item.item_id for item in found.items if item.item_type == "model"}
        added = [bundle for bundle in bundles if bundle.repo_id not in were_in]
        for bundle in added:
            api.add_collection_item(
                found.slug, bundle.repo_id, "model", note=_note(bundle), exists_ok=True
            )
    return Collected(
        found.url,
        found.private,
        tuple(bundle.repo_id for bundle in added),
        tuple(name for name in names if name in were_in),
    )


def members(slug: str) -> list[str]:
    """Addresses of the models in a collection, in its order.

    `slug` is `owner/title-id`, as at the end of the collection's web address.
    """
    with talking(f"reading the collection {printable(slug, 80)}") as api:
        items = api.get_collection(slug).items
    return [f"hub://{item.item_id}" for item in items if item.item_type == "model"]


def _bundle(repo_id: str, doing: str) -> Listed:
    untouched = "Nothing on the Hub was changed"
    with talking(f"{doing}: {repo_id}", safe=untouched) as api:
        bundle = _listed(api.model_info(repo_id))
    if bundle.method is None:
        raise DigerError(
            f"{doing}: {repo_id} is no DIGER bundle (its card does not say so). {untouched}"
        )
    return bundle


def _note(bundle: Listed) -> str:
    names = [name for name in ("recall@10", "ndcg@10") if name in bundle.metrics]
    parts = [bundle.method, bundle.decay if bundle.decay != "none" else None]
    parts += [None if bundle.seed is None else f"seed {bundle.seed}"]
    parts += [f"{name} {bundle.metrics[name]:.4f}" for name in names]
    return ", ".join(part for part in parts if part)


def _listed(model: Any) -> Listed:
    """From a `ModelInfo`; a card may be anybody's, so nothing in it is taken for granted."""
    data = model.card_data
    card: Mapping[str, Any] = {} if data is None else data.to_dict()
    ours = card.get("diger")
    ours = ours if isinstance(ours, Mapping) else {}
    dataset = {"name": card.get("dataset")}
    about = Config.read({"arm": ours, "seed": ours.get("seed"), "dataset": dataset})
    metrics: dict[str, float] = {}
    for result in getattr(data, "eval_results", None) or ():
        name = str(result.metric_name or "").partition(" (")[0]  # "recall@10 (decoding)"
        if "@" in name and is_number(result.metric_value):
            metrics.setdefault(name, float(result.metric_value))
    return Listed(
        repo_id=str(model.id),
        private=model.private is True,
        updated=None if model.last_modified is None else model.last_modified.date().isoformat(),
        dataset=about.dataset.name or None,
        method=about.arm.method or None,
        decay=about.arm.decay or None,
        seed=about.seed,
        metrics=metrics,
    )
