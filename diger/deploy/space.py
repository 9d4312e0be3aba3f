"""From a built folder to a Space on the Hub, in one commit."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace

from diger.deploy.folder import BUNDLES, Built
from diger.deploy.window import Window
from diger.errors import DigerError
from diger.hub.address import Address
from diger.hub.client import Remote, Unreachable, look, talking
from diger.hub.commit import UNTOUCHED, Change, commit, look_if_there, must_be_known, planned

# Folders that are ours in a Space: what is in them and not in ours is of an earlier window.
_OURS = ("diger/", f"{BUNDLES}/", "diger_app/", "dashboard/")


def secrets_by_name(names: Sequence[str]) -> dict[str, str]:
    """Values of the environment's variables, for a Space's secrets; they are never shown."""
    missing = [name for name in names if not os.environ.get(name)]
    if missing:
        raise DigerError(f"the secret {missing[0]} is not in the environment: set it there first")
    return {name: os.environ[name].strip() for name in names}


def deploy(
    built: Built,
    window: Window,
    repo_id: str,
    secrets: Mapping[str, str],
    *,
    public: bool = False,
    hardware: str | None = None,
    dry_run: bool = False,
) -> Change:
    """Create or update the Space `repo_id` from a built folder.

    Args:
        built: from `build`.
        window: which one it is of.
        repo_id: `owner/name`.
        secrets: of the Space's environment, by name.
        public: for everybody to see. Without it a new Space is private, and one that is public
            already is refused.
        hardware: what it runs on, in the Hub's words; by default what it has, cpu-basic if new.
        dry_run: change nothing, tell what would be done.
    """
    doing = f"deploying {repo_id}"
    if built.private and "HF_TOKEN" not in secrets:
        raise DigerError(
            f"{built.private[0]} is private: give the Space a token that may read it, with "
            "--secret HF_TOKEN, or copy the bundle (pull it and name its folder)"
        )
    if (hardware or "").startswith("zero"):
        raise DigerError(
            f"{hardware} lends its GPU only to functions made for it, and neither window has one: "
            "leave --hardware out, for a recommendation takes some ms on a CPU, or name another"
        )
    contents = {name: path.read_bytes() for name, path in built.files().items()}
    if not dry_run:
        must_be_known(doing)
    try:
        with talking(doing, safe=UNTOUCHED) as api:
            there = look_if_there(api, repo_id, "space")
        plan = _plan(built, repo_id, contents, there, public)
    except Unreachable as error:
        if not dry_run:
            raise
        plan = _plan(built, repo_id, contents, None, public)
        said = f"the Hub could not be asked what is there: {error}"
        return replace(plan, exists=None, notes=(*plan.notes, said))
    if dry_run:
        return plan
    there = _prepare(there, plan, window, repo_id, built.variables, secrets, hardware)
    if not plan.send and not plan.remove:
        return replace(plan, commit=there.commit)
    made = commit(
        repo_id,
        there,
        {name: contents[name] for name in plan.send},
        plan.remove,
        message=f"Deploy the {window.name} of DIGER Studio",
        doing=doing,
        kind="space",
    )
    return replace(plan, commit=made)


def _plan(
    built: Built, repo_id: str, contents: Mapping[str, bytes], there: Remote | None, public: bool
) -> Change:
    return planned(
        repo_id,
        there,
        {name: len(data) for name, data in contents.items()},
        contents.__getitem__,
        public=public,
        what="a window of DIGER Studio",
        mark="diger/__init__.py",
        ours=lambda name: name.startswith(_OURS),
        harmless=("app.py", "Dockerfile"),  # of a Space made on the web page
        kind="space",
        notes=built.notes,
    )


def host_of(repo_id: str) -> str:
    """Where a Space's window itself answers, which its share links begin with."""
    words = "".join(c if c.isalnum() else " " for c in repo_id).lower().split()
    return f"https://{'-'.join(words)}.hf.space"


def _prepare(
    there: Remote | None,
    plan: Change,
    window: Window,
    repo_id: str,
    variables: Mapping[str, str],
    secrets: Mapping[str, str],
    hardware: str | None,
) -> Remote:
    """Make the Space where there is none, and set its variables, secrets and hardware."""
    with talking(f"deploying {repo_id}", safe=UNTOUCHED) as api:
        if there is None:
            api.create_repo(repo_id, repo_type="space", space_sdk=window.sdk, private=plan.private)
            there = look(api, Address(repo_id), "space")
    stands = "No file of the Space was changed; the same command goes on"
    with talking(f"setting up {repo_id}", safe=stands) as api:
        for name, value in variables.items():
            api.add_space_variable(repo_id, name, value)
        for name, value in secrets.items():
            api.add_space_secret(repo_id, name, value)
        if hardware is not None:
            api.request_space_hardware(repo_id, hardware)  # type: ignore[arg-type]
    return there
