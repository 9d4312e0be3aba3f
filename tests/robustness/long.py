"""Everything that goes wrong, often: the table of docs/robustness.md.

    python tests/robustness/long.py            # all that is not finished
    python tests/robustness/long.py users      # one part, and again

Each row is written as soon as it is there.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "robustness")]

import app_toys  # noqa: E402
import core_toys  # noqa: E402
import hostile  # noqa: E402
from apart import attempt, killed  # noqa: E402
from deeds import DEEDS, connected_command, writing  # noqa: E402
from hub_server import Hub  # noqa: E402
from rooms import full_disk  # noqa: E402

DOCUMENT = ROOT / "docs" / "robustness.md"
KILLS, SIZES, TIMES = 100, 20, 5
CALLS, QUERIES, IN_BROWSER = 10_000, 1_000, 100
OPEN = "\nNot finished.\n"
HEAD = "| what | tried | what happened |\n|---|---|---|\n"
Row = tuple[str, str, str]  # the fault, how often tried, what happened


def kills() -> Iterator[Row]:
    """`kill -9` at random moments, and the same again."""
    for name, deed in DEEDS.items():
        with tempfile.TemporaryDirectory() as place, Hub() as hub:
            folder = Path(place)
            (folder / "hub").write_text(hub.url)
            deed.prepare(folder)
            whole = attempt(deed.begin, folder)
            assert not whole.fault and not whole.refusal, whole
            left, ended, dead = deed.left(folder), 0, 0
            deed.prepare(folder)
            draw = random.Random(name)
            while dead < KILLS:
                died = killed(deed.begin, folder, after=draw.uniform(0, whole.seconds))
                dead += died
                deed.cut_off(folder)
                if died and dead % 4:  # gone on with, killed again, ...
                    continue
                if died:
                    _complete(deed, folder, left)
                assert deed.left(folder) == left
                ended += 1
                deed.prepare(folder)
        said = f"what was there stayed whole each time; carried to its end {ended} times, then"
        yield f"`kill -9` in {name}", f"{dead}", f"{said} equal to the byte but for clocks"


def _complete(deed: object, folder: Path, left: object) -> None:
    again = attempt(deed.begin, folder)  # type: ignore[attr-defined]
    assert not again.fault and not again.refusal, again
    assert deed.left(folder) == left  # type: ignore[attr-defined]


def room() -> Iterator[Row]:
    """A disk that is full, at many sizes, and folders that may only be read."""
    for name, deed in DEEDS.items():
        refused = done = 0
        with full_disk() as (folder, leave), Hub() as hub:
            leave(2**24)
            (folder / "hub").write_text(hub.url)
            deed.prepare(folder)
            assert not attempt(deed.begin, folder).refusal
            left = deed.left(folder)
            for step in range(SIZES):
                leave(2**24)
                deed.prepare(folder)
                leave(int(3_000 * 1.35**step))
                outcome = attempt(deed.begin, folder)
                assert not outcome.fault, outcome.fault
                assert not outcome.refusal or "No space left" in outcome.refusal, outcome
                refused, done = refused + bool(outcome.refusal), done + (not outcome.refusal)
                leave(2**24)
                deed.cut_off(folder)
                _complete(deed, folder, left)
        said = f"{refused} refused in one line, {done} found room; with room again all completed"
        yield f"a full disk (tmpfs) in {name}", f"{SIZES}", said
    with tempfile.TemporaryDirectory() as place, Hub() as hub:
        folder = Path(place)
        (folder / "hub").write_text(hub.url)
        DEEDS["training, static"].prepare(folder)
        DEEDS["pull"].prepare(folder)
        into = folder / "into"
        into.mkdir(mode=0o555)
        for name, arguments in writing(folder, into).items():
            outcome = attempt(connected_command, folder, *arguments, unprivileged=True)
            assert not outcome.fault and outcome.value.startswith("error: "), outcome
            assert outcome.value.count("\n") == 1 and not list(into.iterdir())
            yield f"a read-only folder for `{name}`", "1", "refused in one line, nothing left"


def bundles() -> Iterator[Row]:
    """Hostile bundles, each with its time and memory."""
    with tempfile.TemporaryDirectory() as place:
        good = app_toys.pair(Path(place)) / "toy-static-s0"
        attempt(hostile.use, good)  # the server's imports are no bundle's fault
        for name in hostile.CASES:
            bundle = hostile.make(name, good, Path(place))
            found = [attempt(hostile.use, bundle, memory=2**31) for _ in range(3)]
            assert all(not one.fault and one.refusal for one in found), found
            seconds, grown = max(o.seconds for o in found), max(o.grown for o in found)
            said = found[0].refusal.replace(str(place), "").removeprefix(f"/{bundle.name}")
            cell = said.strip("/: ").replace("|", "\\|").replace("`", "'")[:110]
            yield f"{name}", "3", f"{seconds:.1f} s, {grown / 2**20:.0f} MiB: {cell}"


def same() -> Iterator[Row]:
    """The same seed in new processes, under other hash seeds."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name in ("training, static", "training, joint", "writing a bundle"):
            code = (
                "import json, pathlib, deeds; "
                f"deed, folder = deeds.DEEDS[{name!r}], pathlib.Path({place!r}); "
                "deed.prepare(folder); deed.begin(folder); "
                "print(json.dumps(deed.left(folder), sort_keys=True))"
            )
            assert len(set(_said(code))) == 1
            yield f"{name}, the same seed", f"{TIMES}", "the same bits, clocks aside"
        code = (
            f"import diger; m = diger.load({str(core_toys.static_run(folder)[1])!r}); "
            "print([m.recommend([i], k=20, decoding=d) for i in m.item_ids for d in "
            "('beam', 'free', 'exact', 'telling')])"
        )
        assert len(set(_said(code))) == 1
        yield "decoding in four ways after each item", f"{TIMES}", "the same bits"


def _said(code: str) -> Iterator[str]:
    for seed in range(TIMES):
        environment = {
            "PYTHONHASHSEED": str(seed),
            "PYTHONPATH": os.pathsep.join(sys.path),
            "OMP_NUM_THREADS": "1",
        }
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, env=environment, capture_output=True, check=True, text=True)
        yield done.stdout


def calls() -> Iterator[Row]:
    """Generated calls."""
    from generated import api_calls

    yield from api_calls(CALLS)


def links() -> Iterator[Row]:
    """Generated query strings."""
    from generated import app_queries, dashboard_queries

    yield from app_queries(QUERIES, IN_BROWSER)
    yield from dashboard_queries(QUERIES, IN_BROWSER)


def users() -> Iterator[Row]:
    """16, 64 and 256 people at once."""
    from crowd import crowd

    yield from crowd((16, 64, 256), 200.0)


PARTS: dict[str, Callable[[], Iterator[Row]]] = {
    "kills": kills,
    "room": room,
    "bundles": bundles,
    "same": same,
    "calls": calls,
    "links": links,
    "users": users,
}
TITLES = {
    "kills": "Killed",
    "room": "Out of room, shut out",
    "bundles": "Hostile bundles",
    "same": "The same bits",
    "calls": "Generated calls",
    "links": "Generated links",
    "users": "Many at once",
}


def main() -> None:
    """Fill the tables: those of the parts named, or those that are not finished."""
    for name in sys.argv[1:] or [name for name in PARTS if OPEN in _around(name)[1]]:
        rows: list[Row] = []
        for row in PARTS[name]():
            rows.append(row)
            print(" | ".join(row), flush=True)
            _write(name, rows, OPEN)
        _write(name, rows, "")


def _around(name: str) -> tuple[str, str, str]:
    """The document before a part's table, the table, and what comes after."""
    before, title, rest = DOCUMENT.read_text("utf-8").partition(f"## {TITLES[name]}\n")
    table, following, after = rest.partition("\n## ")
    return before + title, table, following + after


def _write(name: str, rows: list[Row], note: str) -> None:
    before, _, after = _around(name)
    table = "".join("| " + " | ".join(row) + " |\n" for row in rows)
    DOCUMENT.write_text(f"{before}\n{HEAD}{table}{note}{after}", "utf-8")


if __name__ == "__main__":
    main()
