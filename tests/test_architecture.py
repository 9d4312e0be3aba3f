"""The house: no room imports one that stands above it, and no imports run in a circle."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "diger"

# From the ground up; a room imports those before it. Rooms of one line know nothing of each other.
FLOORS = (
    ("errors", "memory"),
    ("text", "names", "files"),
    ("toml", "data", "content", "uncertainty", "tokenizer"),
    ("config",),
    ("recommender",),
    ("decoding",),
    ("evaluation",),
    ("bundle", "convert"),
    ("hub", "statistics", "training"),
    ("charts", "deploy", "model", "study"),
    ("explain", "benchmark"),
    ("cli",),
    ("__main__",),
)
# Of one floor, and yet one on the other: texts and behaviour are made of datasets, tokenizers are
# fitted to content.
BESIDE = {("content", "data"), ("tokenizer", "content"), ("convert", "data")}


def modules() -> dict[str, Path]:
    found = {}
    for path in ROOT.rglob("*.py"):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        found[".".join(parts).removesuffix(".__init__")] = path
    return found


MODULES = modules()


def imports(name: str) -> set[str]:
    """Modules of ours that `name` imports, inside functions too, but not for types alone."""
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found = set()
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in MODULES else node.module)
    return {name for name in found if name in MODULES}


def room(name: str) -> str:
    return name.split(".")[1] if "." in name else "diger"


def test_every_room_has_its_floor():
    known = {name for floor in FLOORS for name in floor}
    assert {room(name) for name in MODULES} - {"diger", "recipes"} == known


@pytest.mark.parametrize("name", sorted(MODULES))
def test_nothing_is_imported_from_above(name):
    if name == "diger":
        return
    height = {r: h for h, floor in enumerate(FLOORS) for r in floor} | {"recipes": 0}
    mine = room(name)
    for other in imports(name):
        theirs = room(other)
        if theirs in (mine, "diger") or (mine, theirs) in BESIDE:
            continue
        assert height[theirs] < height[mine], f"{name} imports {other}, which stands above it"


def test_no_module_imports_itself_by_way_of_others():
    done: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, " -> ".join((*above, name))
        if name not in done:
            # A package's own text is read first by whoever imports a part of it.
            for other in sorted(imports(name)):
                if other != "diger":
                    visit(other, (*above, name))
            done.add(name)

    for name in sorted(MODULES):
        if name != "diger":
            visit(name, ())


def test_the_plan_of_the_house_names_every_room():
    plan = (ROOT.parent / "docs" / "house.md").read_text(encoding="utf-8")
    assert [name for floor in FLOORS[:-1] for name in floor if f"`{name}`" not in plan] == []
