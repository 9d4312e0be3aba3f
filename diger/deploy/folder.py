"""The folder that goes up: a window, the rooms of diger/ that it imports, bundles, front matter.

Bundles in folders are copied as publishing would send them, without text that may not go. Those on
the Hub are named by commit, so that what the Space shows cannot change behind its owner's back.
"""

from __future__ import annotations

import ast
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import diger
from diger.bundle import schema
from diger.bundle.reader import BrokenBundle, Bundle, list_bundles
from diger.deploy.window import Window
from diger.errors import DigerError
from diger.hub.address import Address, is_address, parse
from diger.hub.client import BUNDLE_FILES, look, talking
from diger.hub.commit import refuse_token
from diger.hub.publishing import make_release
from diger.text import printable

_TEMPLATES = Path(__file__).with_name("templates")
_SKIP = shutil.ignore_patterns("__pycache__", "*.pyc", ".*.tmp", "pictures.py")
_PACKAGE = Path(diger.__file__).parent
BUNDLES = "checkpoints"
BESIDE = ("latency.json", "kept.json")  # measured times; what bootstraps found


@dataclass(frozen=True)
class Pinned:
    """A bundle on the Hub at a commit: its files, and whether it takes a token to read them."""

    address: Address
    files: tuple[str, ...]
    private: bool


@dataclass(frozen=True)
class Built:
    """A Space's folder as it would go up.

    bundles: names of those copied and addresses, pinned, of those on the Hub. private: addresses
    that need a token to read. variables: of the Space's environment. notes: for its owner.
    """

    folder: Path
    bundles: tuple[str, ...]
    private: tuple[str, ...]
    variables: dict[str, str]
    notes: tuple[str, ...]

    def files(self) -> dict[str, Path]:
        """Every file by its name in the Space."""
        found = (p for p in sorted(self.folder.rglob("*")) if p.is_file())
        return {p.relative_to(self.folder).as_posix(): p for p in found}


def build(window: Window, sources: Sequence[str], folder: Path) -> Built:
    """Put a Space together in `folder`, which must be empty or not there.

    Args:
        window: the app or the dashboard.
        sources: folders of bundles, bundles, or `hub://owner/name@revision`; by default
            `checkpoints/` of the checkout.
        folder: where to.
    """
    root = _checkout()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DigerError(f"{folder} is there already: give a new folder")
    shutil.copytree(root / window.name, folder / window.into, ignore=_SKIP, dirs_exist_ok=True)
    for room in sorted(rooms_of(root / window.name)):
        _copy_room(room, folder / "diger")
    shutil.copytree(_TEMPLATES / window.name, folder, dirs_exist_ok=True)

    addresses: list[Address] = []
    bundles: list[Bundle] = []
    notes: list[str] = []
    for source in sources or (str(root / BUNDLES),):
        if is_address(source):
            addresses.append(parse(source))
        else:
            bundles += _bundles(Path(source), notes)
            for name in filter(lambda one: (Path(source) / one).is_file(), BESIDE):
                (folder / BUNDLES).mkdir(exist_ok=True)
                shutil.copy(Path(source) / name, folder / BUNDLES)
    for bundle in bundles:
        notes += _copy_bundle(bundle, folder / BUNDLES)
    pinned = [_look(address) for address in addresses]
    if not bundles and not pinned:
        raise DigerError("no bundle that the Space could show: name some with --checkpoints")
    (folder / BUNDLES).mkdir(exist_ok=True)
    _front_matter(folder / "README.md", window, pinned)
    remote = [str(one.address) for one in pinned]
    built = Built(
        folder,
        bundles=(*(b.path.resolve().name for b in bundles), *remote),
        private=tuple(str(one.address) for one in pinned if one.private),
        variables={"DIGER_BUNDLES": " ".join([BUNDLES] * bool(bundles) + remote)},
        notes=tuple(dict.fromkeys(notes)),
    )
    for name, path in built.files().items():
        if path.suffix not in (".safetensors", ".parquet"):  # tables and tensors hold none
            refuse_token(name, path.read_bytes())
    return built


def rooms_of(code: Path) -> set[str]:
    """The rooms of diger/ that the code in a folder imports, by way of others too."""
    todo = {room for path in code.rglob("*.py") for room in _imported(path)}
    done: set[str] = set()
    while todo:
        room = todo.pop()
        done.add(room)
        for path in _files_of(room):
            todo |= {other for other in _imported(path) if other not in done}
    return done


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            first, _, rest = name.partition(".")
            room = rest.partition(".")[0]
            if first == "diger" and _files_of(room):
                yield room


def _files_of(room: str) -> list[Path]:
    file = _PACKAGE / f"{room}.py"
    return [file] if file.is_file() else sorted((_PACKAGE / room).rglob("*.py")) if room else []


def _copy_room(room: str, package: Path) -> None:
    package.mkdir(exist_ok=True)
    shutil.copy(_PACKAGE / "__init__.py", package)
    file = _PACKAGE / f"{room}.py"
    if file.is_file():
        shutil.copy(file, package)
    else:
        shutil.copytree(_PACKAGE / room, package / room, ignore=_SKIP)


def _checkout() -> Path:
    """The folder with the two windows, which are no part of an installed package."""
    for root in (_PACKAGE.parent, Path.cwd()):
        if (root / "app" / "app.py").is_file() and (root / "dashboard" / "app.py").is_file():
            return root
    raise DigerError("app/ and dashboard/ are not here: run it in a checkout of DIGER Studio")


def _bundles(source: Path, notes: list[str]) -> list[Bundle]:
    """Whole bundles of a source, with weights or without: the app reads what they measured."""
    if (source / schema.MANIFEST).exists():
        return [Bundle.open(source)]
    listed = list_bundles(source)
    notes += [f"left out: {b.reason}" for b in listed if isinstance(b, BrokenBundle)]
    return [b for b in listed if isinstance(b, Bundle)]


def _copy_bundle(bundle: Bundle, folder: Path) -> tuple[str, ...]:
    """Write a bundle as publishing would send it; notes for its owner."""
    target = folder / bundle.path.resolve().name
    if target.exists():
        raise DigerError(
            f"{printable(bundle.path, 120)}: there are two bundles of this name; rename one"
        )
    release = make_release(bundle, f"space/{BUNDLES}", keep_card=True)
    target.mkdir(parents=True)
    for name in release.files:
        (target / name).write_bytes(release.content(name))
    return release.notes


def _look(address: Address) -> Pinned:
    with talking(f"looking for {address}") as api:
        there = look(api, address)
    if not there.is_bundle:
        raise DigerError(f"{address} is on the Hub but is no DIGER bundle: it has no manifest.json")
    files = tuple(sorted(there.files.keys() & BUNDLE_FILES))
    return Pinned(Address(address.repo_id, there.commit), files, there.private)


def _front_matter(card: Path, window: Window, pinned: Sequence[Pinned]) -> None:
    """Name the bundles on the Hub in the Space's card; a Gradio Space fetches them as it is built.

    See https://huggingface.co/docs/hub/spaces-config-reference.
    """
    if not pinned:
        return
    lines = ["models:", *(f"  - {one.address.repo_id}" for one in pinned)]
    open_ones = [one for one in pinned if not one.private]  # building knows no secrets
    if window.sdk == "gradio" and open_ones:
        lines.append("preload_from_hub:")
        for one in open_ones:
            names = ",".join(one.files)
            lines.append(f"  - {one.address.repo_id} {names} {one.address.revision}")
    start, front, rest = card.read_text(encoding="utf-8").split("---\n", 2)
    front += "".join(f"{line}\n" for line in lines)
    card.write_text("---\n".join((start, front, rest)), encoding="utf-8")
