"""A collection on the Hub that gathers the bundles of a study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from diger.errors import DigerError
from diger.hub.address import parse_repo_id
from diger.hub.client import Say, connection, patiently, say_on_stderr
from diger.hub.faults import explained
from diger.hub.listing import Listed, listed
from diger.text import printable

if TYPE_CHECKING:
    from huggingface_hub import Collection, HfApi

_MAX_DESCRIPTION = 150  # the Hub's limit


@dataclass(frozen=True)
class Collected:
    """A collection: its page, the bundles that were put in now, and those that were in before."""

    url: str
    private: bool
    added: tuple[str, ...]
    were_in: tuple[str, ...]


def collect(
    title: str,
    repo_ids: Sequence[str],
    *,
    owner: str | None = None,
    description: str | None = None,
    public: bool = False,
    say: Say = say_on_stderr,
) -> Collected:
    """Put bundles into the collection `title`, made where there is none, each with its figures.

    All bundles are looked up before anything is changed; those that are in already stay.

    Args:
        title: of the collection.
        repo_ids: `owner/name` of each bundle.
        owner: of the collection; by default that of the first bundle.
        description: a line under the title, at most 150 characters.
        public: for everybody to see, where it is made now.
        say: gets notes for people.

    Raises:
        DigerError: one of them is not a bundle on the Hub, or a fault of the Hub.
    """
    names = list(dict.fromkeys(map(parse_repo_id, repo_ids)))
    if not names:
        raise DigerError("a collection needs at least one bundle: give owner/name")
    if not title.strip():
        raise DigerError("a collection needs a title")
    if description is not None and len(description) > _MAX_DESCRIPTION:
        raise DigerError(f"the description may have {_MAX_DESCRIPTION} characters at most")
    namespace = owner or names[0].partition("/")[0]
    doing = f"collecting {printable(title, 60)}"
    with connection(say) as api:
        bundles = [_bundle(api, name, doing, say) for name in names]
        with explained(doing, safe="Bundles that are in stay in; the same command goes on"):
            found = _collection(api, namespace, title, description, public, say)
            were_in = {item.item_id for item in found.items if item.item_type == "model"}
            added = [one for one in bundles if one.repo_id not in were_in]
            for one in added:
                _add(api, found.slug, one, say)
    return Collected(
        found.url,
        found.private,
        tuple(one.repo_id for one in added),
        tuple(name for name in names if name in were_in),
    )


def members(slug: str, *, say: Say = say_on_stderr) -> list[str]:
    """Addresses of the models in a collection, in its order.

    Args:
        slug: `owner/title-id`, as at the end of the collection's web address.
        say: gets notes for people.

    Raises:
        DigerError: there is none, or a fault of the Hub.
    """
    doing = f"reading the collection {printable(slug, 80)}"
    with connection(say) as api, explained(doing):
        items = patiently(lambda: api.get_collection(slug), say).items
    return [f"hub://{item.item_id}" for item in items if item.item_type == "model"]


def _bundle(api: HfApi, repo_id: str, doing: str, say: Say) -> Listed:
    with explained(f"{doing}: {repo_id}", safe="Nothing on the Hub was changed"):
        one = listed(patiently(lambda: api.model_info(repo_id), say))
    if one.method is None:
        raise DigerError(
            f"{doing}: {repo_id} is no DIGER bundle (its card does not say so). Nothing on the "
            "Hub was changed"
        )
    return one


def _collection(
    api: HfApi, owner: str, title: str, description: str | None, public: bool, say: Say
) -> Collection:
    """The collection of that title, found or made."""
    mine = patiently(lambda: list(api.list_collections(owner=owner)), say)
    known = next((one for one in mine if one.title == title), None)
    if known is not None:
        return patiently(lambda: api.get_collection(known.slug), say)
    return patiently(
        lambda: api.create_collection(
            title, namespace=owner, description=description, private=not public, exists_ok=True
        ),
        say,
    )


def _add(api: HfApi, slug: str, one: Listed, say: Say) -> None:
    figures = [
        f"{name} {one.metrics[name]:.4f}"
        for name in ("recall@10", "ndcg@10")
        if name in one.metrics
    ]
    parts = [one.method, one.decay if one.decay != "none" else None]
    parts += [None if one.seed is None else f"seed {one.seed}", *figures]
    note = ", ".join(part for part in parts if part)
    patiently(
        lambda: api.add_collection_item(slug, one.repo_id, "model", note=note, exists_ok=True), say
    )
