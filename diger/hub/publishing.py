"""From a bundle on disk to a repository on the Hub, in one commit.

The client sends large files before the commit and nothing that is there already, so after a cut the
same command goes on, and until the commit nobody sees a change. Afterwards the Hub's listing is
compared with what was sent, file by file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from diger.bundle import schema
from diger.bundle.card import Sibling, model_card
from diger.bundle.manifest import FileEntry, Manifest, located
from diger.bundle.reader import Bundle, list_bundles
from diger.bundle.settings import leaves
from diger.bundle.tables import to_parquet
from diger.errors import DigerError
from diger.hub.address import Address, is_address, parse, parse_repo_id
from diger.hub.client import (
    BUNDLE_FILES,
    Remote,
    Unreachable,
    current_token,
    look,
    talking,
)
from diger.hub.commit import (
    UNTOUCHED,
    Change,
    commit,
    look_if_there,
    must_be_known,
    planned,
    refuse_token,
)
from diger.hub.fetch import local_path
from diger.names import SID_METHODS
from diger.text import printable

NO_SIBLING = "none"
_LOCAL_PATH = re.compile(r"(?:/|~/|[A-Za-z]:\\|\\\\)[\w .~-]+[/\\].+")


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
) -> Change:
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
    """
    repo_id = parse_repo_id(repo_id)
    if tag is not None:
        parse(f"{repo_id}@{tag}")  # a tag nobody could load by is refused before anything is sent
    opened = Bundle.open(local_path(bundle))
    beside, note = sibling_of(opened, bundle, sibling)
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
    if not dry_run:
        must_be_known(doing)
    try:
        with talking(doing, safe=UNTOUCHED) as api:
            there = look_if_there(api, repo_id)
            # A tag cannot be moved, so it is looked for before anything is sent.
            refs = [] if there is None or tag is None else api.list_repo_refs(repo_id).tags
            tagged = next((ref.target_commit for ref in refs if ref.name == tag), None)
    except DigerError as error:
        if not dry_run or (not isinstance(error, Unreachable) and current_token() is not None):
            raise
        said = f"the Hub could not be asked what is there: {error}"
        return replace(_plan(release, repo_id, None, public, (*notes, said)), exists=None)
    plan = _plan(release, repo_id, there, public, notes)
    if tagged is not None and (plan.send or plan.remove or there is None or tagged != there.commit):
        raise DigerError(
            f"{doing}: the tag {printable(str(tag), 40)} is there already, on commit "
            f"{tagged[:12]}: choose another. {UNTOUCHED}"
        )
    if dry_run:
        return plan
    made = _send(release, plan, there)
    if tag is not None and tagged is None:
        stands = f"The bundle is there, at commit {made[:12]}"
        with talking(f"tagging {repo_id}", safe=stands) as api:
            api.create_tag(repo_id, tag=tag, revision=made)
    return replace(plan, commit=made)


def _plan(
    release: Release, repo_id: str, there: Remote | None, public: bool, notes: tuple[str, ...]
) -> Change:
    return planned(
        repo_id,
        there,
        {name: entry.size for name, entry in sorted(release.entries.items())},
        release.content,
        public=public,
        what="a bundle",
        mark=schema.MANIFEST,
        ours=BUNDLE_FILES.__contains__,
        notes=notes,
    )


def _send(release: Release, plan: Change, there: Remote | None) -> str:
    """Carry out a plan; the commit that holds the release afterwards."""
    repo_id = plan.repo_id
    doing = f"publishing {repo_id}"
    if there is None:
        with talking(doing, safe=UNTOUCHED) as api:
            api.create_repo(repo_id, private=plan.private)
            there = look(api, Address(repo_id))
    if not plan.send and not plan.remove:
        return there.commit
    send = {name: release.content(name) for name in plan.send}
    return commit(repo_id, there, send, plan.remove, message="Publish a DIGER bundle", doing=doing)


# What of a bundle goes up: the same files, with the card for the Hub, and text only where it may.
#
# A release is a bundle again, with a manifest of its own: what others fetch is byte for byte this.
# The bundle on disk is never touched. The card is written anew because only now is it known where
# the bundle will be and what stands beside it.


@dataclass(frozen=True)
class Release:
    """Files to send, by name: their content, or the path of one that is sent as it is.

    entries: size and SHA-256 of each, the manifest among them. notes: what its owner should know.
    """

    files: Mapping[str, bytes | Path]
    entries: Mapping[str, FileEntry]
    notes: tuple[str, ...]

    def content(self, name: str) -> bytes:
        """A file's bytes; DigerError where it changed since the release was made."""
        source = self.files[name]
        data = source if isinstance(source, bytes) else source.read_bytes()
        if FileEntry.of(data) != self.entries[name]:
            raise DigerError(f"{name} changed while the bundle was being sent: run it again")
        return data


def make_release(
    bundle: Bundle,
    repo_id: str,
    *,
    sibling: Sibling | None = None,
    licence: str | None = None,
    keep_card: bool = False,
    without_text: bool = False,
) -> Release:
    """The release of a bundle, opened with every hash checked, to `repo_id`; see `publish`."""
    allowed = bundle.about.dataset.text_may_be_published
    files: dict[str, bytes | Path] = {n: bundle.path / n for n in bundle.manifest.files}
    notes = list(_local_paths(bundle.config))
    items = bundle.items
    if not allowed or without_text:
        items = _without_text(bundle, items, files)
        notes.insert(
            0,
            "item text stays here: "
            + ("as asked" if allowed else "the dataset's licence setting does not allow it to go"),
        )
    if not keep_card:
        files.pop(schema.PICTURE, None)
        card = model_card(
            bundle.config,
            bundle.metrics,
            items,
            codes=bundle.codes,
            sibling=sibling,
            complete=bundle.kind == "complete",
            licence=licence,
            repository=repo_id,
        )
        files[schema.CARD] = card.encode()
    with located(bundle.path, "be read"):
        entries = {
            name: FileEntry.of(source) if isinstance(source, bytes) else bundle.manifest.files[name]
            for name, source in sorted(files.items())
        }
        manifest = Manifest(schema.FORMAT_VERSION, bundle.kind, entries).to_bytes()
        release = Release(
            {**files, schema.MANIFEST: manifest},
            {**entries, schema.MANIFEST: FileEntry.of(manifest)},
            tuple(notes),
        )
        _refuse_secrets(release)
    return release


def _without_text(
    bundle: Bundle, items: pd.DataFrame | None, files: dict[str, bytes | Path]
) -> pd.DataFrame | None:
    """Take the text out of `files`; the items table as it goes."""
    files.pop(schema.EXAMPLES, None)
    if items is None:
        return None
    with_text = [column for column in schema.TEXT_COLUMNS if column in items.columns]
    if not with_text:
        return items
    items = items.drop(columns=with_text)
    files[schema.ITEMS] = to_parquet(items)
    return items


def _refuse_secrets(release: Release) -> None:
    """A token in a configuration or a card would be everybody's; tables and tensors hold none."""
    for name in (*schema.JSON_FILES, *schema.TEXT_FILES):
        if name in release.files:
            refuse_token(name, release.content(name))


def _local_paths(config: Mapping[str, Any]) -> Iterator[str]:
    """Notes on paths of this machine that the configuration would show."""
    found = sorted({place for place, value in leaves(config) if _LOCAL_PATH.fullmatch(str(value))})
    if found:
        yield (
            f"config.json shows paths of this machine ({printable(', '.join(found), 120)}), "
            "and they would be seen"
        )


# The bundle to set beside this one: the same data and backbone, static against joint training.


def sibling_of(
    bundle: Bundle, given: str | Path, named: str | Path | None
) -> tuple[Sibling | None, tuple[str, ...]]:
    """What the card sets `bundle` beside, and a note where it was found and not named.

    `given` is how the user called the bundle, `named` the sibling: a path, an address, or
    NO_SIBLING; None to find one.
    """
    if named is None:
        best = None if is_address(given) else _find_sibling(bundle)
        if best is None:
            return None, ()
        note = f"the card sets it beside {printable(best.path.name, 80)} (--sibling to choose)"
        return Sibling(best.config, best.metrics), (note,)
    if str(named) == NO_SIBLING:
        return None, ()
    other = Bundle.open(local_path(named))
    here, there = bundle.about, other.about
    for what, ours, theirs in (
        ("data", here.dataset.fingerprint, there.dataset.fingerprint),
        ("backbone", here.backbone, there.backbone),
    ):
        if ours != theirs:
            raise DigerError(
                f"{printable(named, 120)} is no sibling of {printable(bundle.name, 80)}: its "
                f"{what} is another ({printable(theirs, 16)}, not {printable(ours, 16)}), so "
                "their figures do not compare"
            )
    repository = parse(named).repo_id if is_address(named) else None
    return Sibling(other.config, other.metrics, repository), ()


def _find_sibling(bundle: Bundle) -> Bundle | None:
    """The best sibling among the bundles in the same folder; None where there is none.

    Of several, one with the same seed comes first, then by name.
    """
    about = bundle.about
    if about.arm.method not in SID_METHODS:
        return None
    wanted = "differentiable" if about.arm.method == "static" else "static"
    try:
        # Only the two documents are read, and reading them checks their hashes.
        neighbours = list_bundles(bundle.path.absolute().parent, verify=False)
    except DigerError:
        return None
    fitting = [
        other
        for other in neighbours
        if isinstance(other, Bundle)
        and other.about.arm.method == wanted
        and other.about.dataset.fingerprint == about.dataset.fingerprint
        and other.about.backbone == about.backbone
    ]
    return min(fitting, key=lambda o: (o.about.seed != about.seed, o.path.name), default=None)
