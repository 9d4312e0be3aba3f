"""A bundle from the Hub as a plain folder of one's own."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from diger.bundle import schema, swap
from diger.bundle.manifest import located
from diger.bundle.reader import Bundle
from diger.errors import DigerError
from diger.hub.address import Address, parse
from diger.hub.client import Say, say_on_stderr
from diger.hub.fetch import fetch


@dataclass(frozen=True)
class Pulled:
    """A pulled bundle: where it is, which commit it is, and whether it was there already."""

    address: Address
    path: Path
    commit: str
    was_there: bool


def pull(
    address: str | os.PathLike[str],
    out: str | Path | None = None,
    *,
    force: bool = False,
    say: Say = say_on_stderr,
) -> Pulled:
    """Fetch a bundle, check every byte, and put it at `out`, whole or not at all.

    Args:
        address: `owner/name`, `owner/name@revision`, or the same with `hub://`.
        out: the folder to write; by default `checkpoints/<name>`.
        force: replace another bundle that is there.
        say: gets notes for people.

    Raises:
        DigerError: it cannot be had, is not what its manifest says, or `out` is taken.
    """
    wanted = parse(address)
    target = Path("checkpoints") / wanted.name if out is None else Path(out)
    folder = fetch(wanted, again=True, say=say)
    fetched = Bundle.open(folder)
    if _is_same(target, fetched):
        return Pulled(wanted, target, folder.name, was_there=True)
    with located(target, "be written"):
        absolute = target.absolute()
        swap.finish_swap(absolute)
        swap.sweep(absolute)
        swap.check_target(absolute, force=force)
        staging = swap.Staging(absolute)
        try:
            for name in (*fetched.manifest.files, schema.MANIFEST):
                # A copy: what people do to their folder must not reach the cache.
                shutil.copyfile(folder / name, staging.folder / name)
            if Bundle.open(staging.folder).hash != fetched.hash:
                raise DigerError("its manifest changed while it was copied; run it again")
            staging.publish()
        except BaseException:
            staging.discard()
            raise
    return Pulled(wanted, target, folder.name, was_there=False)


def _is_same(target: Path, fetched: Bundle) -> bool:
    """Whether `target` holds this very bundle, every byte of it."""
    try:
        return Bundle.open(target).hash == fetched.hash
    except DigerError:
        return False
