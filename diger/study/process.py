"""A run in a process of its own: `python -m diger train --json`, listened to, stopped without loss.

So its peak memory is its own, and one that dies takes nothing with it. The process does not see the
terminal's Ctrl-C itself; every press is passed on to it, the first to finish the batch and save, a
second to stop at once. When its parent dies it cannot tell anybody any more, and ends at the next
progress line.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from types import FrameType
from typing import Any

import diger
from diger.config import Recipe
from diger.errors import Busy, DigerError, Stopped

Event = dict[str, Any]  # a line of `train --json`, see `diger.cli.train`
Tell = Callable[[Event], None]
_STOPS = (130, -signal.SIGINT, -signal.SIGTERM)


@dataclass(frozen=True)
class Job:
    """One call of `train`; the fields are its arguments, as on the command line."""

    recipe: Recipe
    data: Path
    out: Path
    seed: int
    device: str
    threads: int  # of the CPU; 0 takes what torch takes
    half: bool
    force: bool
    restart: bool
    sids_from: Path | None
    start_from: Path | None

    def command(self, recipe: Path) -> list[str]:
        """The command line, with the recipe in a file; the other fields are options by name."""
        command = [sys.executable, "-m", "diger", "train", str(recipe), "--json"]
        for field in fields(self)[1:]:
            value, option = getattr(self, field.name), f"--{field.name.replace('_', '-')}"
            if isinstance(value, bool):
                command += [option] * value
            elif value is not None:
                command.append(f"{option}={value}")
        return command


def run_in_process(job: Job, tell: Tell) -> None:
    """Train what a job says in a new process.

    Raises `Stopped` after Ctrl-C or SIGTERM (what was done is kept), and `Busy` where another
    process is at the same bundle. Where it failed and nobody foresaw how, what it said last is in a
    file that the message names.
    """
    with (
        tempfile.TemporaryDirectory() as folder,
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said,
    ):
        recipe = Path(folder) / f"{job.recipe.name}.json"
        recipe.write_text(job.recipe.model_dump_json(), encoding="utf-8")
        # The process must run the same code as we do.
        places = [str(Path(diger.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, places))}
        process = subprocess.Popen(
            job.command(recipe),
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            encoding="utf-8",
            env=environment,
            start_new_session=True,
        )
        assert process.stdout is not None
        with _passing_on(process):
            try:
                for line in process.stdout:
                    tell(json.loads(line))
            except BaseException:
                process.kill()
                raise
            finally:
                code = process.wait()
                process.stdout.close()
        said.seek(0)
        _judge(code, said.read(), job.out)


def _judge(code: int, said: str, out: Path) -> None:
    """Return where the process did its work, else raise what became of it."""
    notes = out.with_name(f"{out.name}.failed.txt")
    lines = said.strip().splitlines() or [f"exit status {code}"]
    if code == 0:
        notes.unlink(missing_ok=True)
    elif code in _STOPS:
        raise Stopped(lines[-1])
    elif code in (2, 3):
        raise (DigerError if code == 2 else Busy)(lines[-1].removeprefix("error: "))
    elif code < 0:
        why = f"was killed by signal {-code}"
        if code == -signal.SIGKILL:
            why += ", perhaps for want of memory"
        raise DigerError(f"its process {why}; run the same command to go on")
    else:
        notes.parent.mkdir(parents=True, exist_ok=True)
        notes.write_text(said[-100_000:], encoding="utf-8")
        raise DigerError(f"it failed in a way nobody foresaw ({lines[-1].strip()}); see {notes}")


@contextmanager
def _passing_on(process: subprocess.Popen[str]) -> Iterator[None]:
    """Ctrl-C and SIGTERM go to the process, which knows what to save."""

    def pass_on(number: int, frame: FrameType | None) -> None:
        process.send_signal(number)

    try:
        before = {s: signal.signal(s, pass_on) for s in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread: signals go elsewhere
        yield
        return
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
