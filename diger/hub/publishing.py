"""From a bundle on disk to a repository on the Hub, in one commit.

What is there already is not sent again, large files are sent before the commit, and the Hub keeps
them: after a cut the same command goes on, and until the commit nobody sees a change. Afterwards
the Hub's listing is compared with what was sent, file by file.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from diger.bundle.card_results import Sibling
from diger.bundle.reader import Bundle
from diger.errors import DigerError
from diger.hub import remote as hub
from diger.hub.address import is_address, parse, parse_repo_id
from diger.hub.client import Say, connection, patiently, say_on_stderr
from diger.hub.faults import Unreachable, current_token, explained
from diger.hub.fetch import local_path
from diger.hub.plan import Published, is_there, make_plan
from diger.hub.progress import Advance, byte_bar
from diger.hub.release import Release, make_release
from diger.hub.remote import Remote
from diger.hub.sibling import find_sibling, named_sibling
from diger.hub.upload import addition
from diger.text import printable

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, HfApi

NO_SIBLING = "none"
_LARGE = 1_000_000  # bytes from which a file is sent on its own, so that a cut loses at most one


def publish(
    bundle: str | Path,
    repo_id: str,
    *,
    public: bool = False,
    tag: str | None = None,
    sibling: str | Path | None = None,
    licence: str | None = None,
    keep_card: bool = False,
    without_text: bool = False,
    dry_run: bool = False,
    say: Say = say_on_stderr,
) -> Published:
    """Publish a bundle as a model repository.

    Args:
        bundle: its folder, or an address.
        repo_id: `owner/name`; made where there is none.
        public: for everybody to see. Without it a new repository is private, and one that is
            public already is refused.
        tag: a name for this version, such as v1.
        sibling: the bundle whose figures the card sets beside, a path or an address; by default
            one from the same folder, and "none" for none.
        licence: of the card; by default mit for simulated data, else other.
        keep_card: send the bundle's README.md as it is.
        without_text: leave item text out even where it may go; elsewhere it never goes.
        dry_run: change nothing, tell what would be done.
        say: gets notes for people while it works.

    Raises:
        DigerError: a broken bundle, or whatever the Hub or the way to it refuses.
    """
    repo_id = parse_repo_id(repo_id)
    if tag is not None:
        parse(f"{repo_id}@{tag}")  # a tag nobody could load by is refused before anything is sent
    opened = Bundle.open(local_path(bundle, say=say))
    beside, note = _sibling(opened, bundle, sibling, say)
    release = make_release(
        opened,
        repo_id,
        sibling=beside,
        licence=licence,
        keep_card=keep_card,
        without_text=without_text,
    )
    notes = (*release.notes, *note)
    doing = f"publishing {repo_id}"
    if current_token() is None and not dry_run:
        raise DigerError(
            f"{doing}: you are not logged in: log in with `hf auth login`, or set HF_TOKEN, with "
            "a token that may write"
        )
    with connection(say) as api:
        try:
            with explained(doing, safe="Nothing on the Hub was changed"):
                there = hub.look_if_there(api, repo_id, say)
                # A tag cannot be moved, so it is looked for before anything is sent.
                tagged = None if there is None or tag is None else _tagged(api, repo_id, tag)
        except DigerError as error:
            if not dry_run or (not isinstance(error, Unreachable) and current_token() is not None):
                raise
            said = f"the Hub could not be asked what is there: {error}"
            return make_plan(release, repo_id, None, public, (*notes, said), asked=False)
        plan = make_plan(release, repo_id, there, public, notes)
        if tagged is not None and (
            plan.send or plan.remove or there is None or tagged != there.commit
        ):
            raise DigerError(
                f"{doing}: the tag {printable(tag, 40)} is there already, on commit "
                f"{tagged[:12]}: choose another. Nothing on the Hub was changed"
            )
        if dry_run:
            return plan
        commit = _send(api, release, plan, there, say)
        if tag is not None and tagged is None:
            with explained(
                f"tagging {repo_id}", safe=f"The bundle is there, at commit {commit[:12]}"
            ):
                patiently(lambda: api.create_tag(repo_id, tag=tag, revision=commit), say)
    return replace(plan, commit=commit)


def _sibling(
    opened: Bundle, given: str | Path, sibling: str | Path | None, say: Say
) -> tuple[Sibling | None, tuple[str, ...]]:
    """The card's sibling, and a note where it was found and not named."""
    if sibling is not None:
        if str(sibling) == NO_SIBLING:
            return None, ()
        other = Bundle.open(local_path(sibling, say=say))
        return named_sibling(opened, other, sibling), ()
    found = None if is_address(given) else find_sibling(opened)
    if found is None:
        return None, ()
    beside, path = found
    return beside, (f"the card sets it beside {printable(path.name, 80)} (--sibling to choose)",)


def _tagged(api: HfApi, repo_id: str, tag: str) -> str | None:
    """The commit that a tag names; None where there is no such tag."""
    tags = api.list_repo_refs(repo_id).tags
    return next((ref.target_commit for ref in tags if ref.name == tag), None)


def _send(api: HfApi, release: Release, plan: Published, there: Remote | None, say: Say) -> str:
    """Carry out a plan; the commit that holds the release afterwards."""
    repo_id = plan.address.repo_id
    doing = f"publishing {repo_id}"
    if there is None:
        with explained(doing, safe="Nothing on the Hub was changed"):
            patiently(lambda: api.create_repo(repo_id, private=plan.private), say)
            there = hub.look(api, plan.address, say)
    if not plan.send and not plan.remove:
        return there.commit
    kept = (
        "What has arrived is kept there and nobody sees a change, so the same command goes on "
        "where this one stopped"
    )
    total = sum(plan.sizes[name] for name in plan.send)
    with byte_bar(f"sending {repo_id}", total) as advance:
        meter = _Filled(advance)
        with explained(doing, safe=kept):
            additions = [addition(name, release.content(name), meter.advance) for name in plan.send]
            for file in additions:
                if plan.sizes[file.path_in_repo] >= _LARGE:
                    _send_ahead(api, repo_id, file, say)
                    meter.reach(plan, file.path_in_repo)
            commit = _commit(api, repo_id, additions, plan.remove, there.commit, say)
    with explained(doing, safe="The commit was made; the same command checks it again"):
        stored = hub.list_files(api, repo_id, commit, say)
    wrong = [n for n in release.files if n not in stored or not is_there(release, n, stored)]
    if wrong:
        raise DigerError(
            f"{doing}: after the commit {commit[:12]} the Hub holds something else than was sent "
            f"as {', '.join(wrong)} (does a .gitignore there leave it out?): run the same command "
            "again"
        )
    return commit


def _send_ahead(api: HfApi, repo_id: str, file: CommitOperationAdd, say: Say) -> None:
    patiently(lambda: api.preupload_lfs_files(repo_id, additions=[file], free_memory=False), say)


def _commit(
    api: HfApi,
    repo_id: str,
    additions: list[CommitOperationAdd],
    remove: tuple[str, ...],
    parent: str,
    say: Say,
) -> str:
    """One commit on `parent`, refused by the Hub where somebody else came first."""
    from huggingface_hub import CommitOperationDelete

    operations: list[CommitOperationAdd | CommitOperationDelete] = [*additions]
    operations += [CommitOperationDelete(name) for name in remove]
    made = patiently(
        lambda: api.create_commit(
            repo_id,
            list(operations),
            commit_message="Publish a DIGER bundle",
            parent_commit=parent,
        ),
        say,
    )
    return str(made.oid)


class _Filled:
    """A bar that also moves on where the client sends a file without telling how far it is."""

    def __init__(self, advance: Advance) -> None:
        self._advance = advance
        self.done = 0
        self._ends = 0

    def advance(self, count: int) -> None:
        """Bytes that were sent, or taken back after a cut."""
        self.done += count
        self._advance(count)

    def reach(self, plan: Published, name: str) -> None:
        """The file `name` is there."""
        self._ends += plan.sizes[name]
        if self.done < self._ends:
            self.advance(self._ends - self.done)
