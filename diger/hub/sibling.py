"""The bundle to set beside this one: the same data and backbone, static against joint training."""

from __future__ import annotations

from pathlib import Path

from diger.bundle.card_results import Sibling
from diger.bundle.documents import entry
from diger.bundle.find import list_bundles
from diger.bundle.reader import Bundle
from diger.errors import DigerError
from diger.hub.address import is_address, parse
from diger.text import printable

_COUNTERPARTS = {
    "static": ("differentiable",),
    "differentiable": ("static",),
    "detached": ("static",),
    "ste": ("static",),
}


def named_sibling(bundle: Bundle, other: Bundle, given: str | Path) -> Sibling:
    """`other`, which the user named, as the sibling of `bundle`."""
    for what, path in (("data", ("dataset", "fingerprint")), ("backbone", ("backbone",))):
        ours, theirs = entry(bundle.config, *path), entry(other.config, *path)
        if ours != theirs:
            raise DigerError(
                f"{printable(given, 120)} is no sibling of {printable(bundle.name, 80)}: its "
                f"{what} is another ({printable(theirs, 16)}, not {printable(ours, 16)}), so "
                "their figures do not compare"
            )
    repository = parse(given).repo_id if is_address(given) else None
    return Sibling(other.config, other.metrics, repository)


def find_sibling(bundle: Bundle) -> tuple[Sibling, Path] | None:
    """The best sibling among the bundles in the same folder; None where there is none.

    Of several, one with the same seed comes first, then by name.
    """
    method = entry(bundle.config, "arm", "method")
    wanted = _COUNTERPARTS.get(str(method), ())
    try:
        # Only the two documents are read, and reading them checks their hashes.
        neighbours = list_bundles(bundle.path.absolute().parent, verify=False)
    except DigerError:
        return None
    fitting = [
        other
        for other in neighbours
        if isinstance(other, Bundle)
        and entry(other.config, "arm", "method") in wanted
        and entry(other.config, "dataset", "fingerprint")
        == entry(bundle.config, "dataset", "fingerprint")
        and other.config.get("backbone") == bundle.config.get("backbone")
    ]
    if not fitting:
        return None
    seed = bundle.config.get("seed")
    best = min(fitting, key=lambda other: (other.config.get("seed") != seed, other.path.name))
    return Sibling(best.config, best.metrics), best.path
