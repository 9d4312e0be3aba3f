"""The bundles served, by dataset; each is loaded once, when it is first needed.

Opening reads configurations only, so the first screen does not wait for weights. A bundle that
cannot be used is kept by name with its reason: a missing, broken or results-only one never takes
the others down.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from diger.bundle.documents import DatasetEntry
from diger.bundle.reader import BrokenBundle, Bundle, list_bundles
from diger.errors import DigerError, did_you_mean
from diger.hub.address import is_address
from diger.names import METHODS, writes_sids
from diger.text import printable
from diger_app.shelf import Shelf, Source


@dataclass
class Library:
    """Everything that is served.

    Attributes:
        shelves: one a dataset, by its key.
        problems: (what, why) of bundles and addresses that cannot be used.
    """

    shelves: dict[str, Shelf] = field(default_factory=dict)
    problems: list[tuple[str, str]] = field(default_factory=list)

    @classmethod
    def open(cls, sources: Sequence[str], catalogues: Sequence[str] = ()) -> Library:
        """Find the bundles of folders, single bundles and `hub://` addresses."""
        library = cls()
        for source in sources:
            try:
                library._add(source)
            except DigerError as error:
                library.problems.append((source, str(error)))
        for catalogue in catalogues:
            library._add_catalogue(catalogue)
        for shelf in library.shelves.values():  # as the methods are always listed, then by name
            order = sorted(shelf.sources.values(), key=lambda s: (METHODS.index(s.method), s.name))
            shelf.sources = {source.name: source for source in order}
        return library

    @property
    def datasets(self) -> list[str]:
        """Keys of the datasets with at least one model that writes SIDs here.

        Those come first that a stranger understands: real people's, with text to read.
        """
        keys = [key for key, shelf in self.shelves.items() if shelf.sid_sources]
        return sorted(keys, key=lambda key: self.shelves[key].rank)

    def shelf(self, dataset: str = "") -> Shelf:
        """The shelf of a dataset, the first one for an empty name.

        Raises:
            DigerError: no such dataset, or none at all.
        """
        keys = self.datasets
        if not keys:
            raise DigerError(self.nothing())
        if not dataset:
            return self.shelves[keys[0]]
        if dataset not in keys:
            raise DigerError(
                f"there is no dataset {printable(dataset, 60)!r} here"
                f"{did_you_mean(dataset, keys)}; here are: {', '.join(keys)}"
            )
        return self.shelves[dataset]

    def nothing(self) -> str:
        """Why there is nothing to show, in one sentence."""
        others = sorted({n for s in self.shelves.values() for n in (*s.sources, *s.results_only)})
        if others:
            return (
                "no bundle here writes SIDs (found: "
                + ", ".join(others)
                + "); train one: python -m diger train small --data data/made-up --out "
                "checkpoints/made-up-static-s0"
            )
        return (
            "there are no bundles here yet; train one (python -m diger train small --data "
            "data/made-up --out checkpoints/made-up-static-s0) or start the app with a folder of "
            "bundles"
        )

    def _add(self, source: str) -> None:
        if is_address(source):
            from diger.hub import local_path  # the Hub's client takes its time to import

            self._add_bundle(Bundle.open(local_path(source), verify=False), source)
            return
        path = Path(source)
        if (path / "manifest.json").exists():
            self._add_bundle(Bundle.open(path, verify=False), source)
            return
        if not path.is_dir():
            raise DigerError(f"there is no folder {printable(source)}")
        for found in list_bundles(path, verify=False):
            if isinstance(found, BrokenBundle):
                self.problems.append((found.path.name, found.reason))
            else:
                self._add_bundle(found, str(found.path))
        for file in sorted(path.glob("*.catalogue.*")):
            self._add_catalogue(f"{file.name.split('.catalogue.')[0]}={file}")

    def _add_bundle(self, bundle: Bundle, address: str) -> None:
        dataset = bundle.about.dataset
        if not dataset.name:
            self.problems.append((bundle.name, "config.json does not say what dataset it is of"))
            return
        shelf = self._shelf_for(dataset)
        method = bundle.about.arm.method
        if method not in METHODS:
            why = f"config.json: arm.method must be one of {', '.join(METHODS)}"
            self.problems.append((bundle.name, why))
            return
        shelf.runs.append(bundle)
        if bundle.kind != "complete":
            shelf.results_only.append(bundle.name)
        else:
            name = bundle.name
            if any(name in other.sources for other in self.shelves.values()):
                name = f"{name}@{bundle.hash[:7]}"
            if name not in shelf.sources:
                sids = writes_sids(bundle.about.backbone)
                shelf.sources[name] = Source(name, method, bundle, address, sids)

    def _shelf_for(self, dataset: DatasetEntry) -> Shelf:
        """The shelf of a dataset; another fingerprint under the same name is another dataset."""
        name, fingerprint = printable(dataset.name, 80), dataset.fingerprint
        key = name
        if key in self.shelves and self.shelves[key].fingerprint != fingerprint:
            key = f"{name}@{printable(fingerprint[:7])}"
        if key not in self.shelves:
            self.shelves[key] = Shelf(key, dataset)
        return self.shelves[key]

    def _add_catalogue(self, text: str) -> None:
        """`DATASET=FILE`, or `FILE` for every dataset that finds its items in it."""
        dataset, _, file = text.rpartition("=")
        if dataset and dataset not in self.shelves:
            self.problems.append((file, f"no bundle here is of dataset {dataset}"))
        for key, shelf in self.shelves.items():
            if dataset in ("", key):
                shelf.catalogues.append((Path(file), bool(dataset)))
