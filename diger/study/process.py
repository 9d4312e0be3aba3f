"""A run in a process of its own: started, listened to, and stopped without loss.

The process does not see the terminal's Ctrl-C itself; every press is passed on to it, the first to
finish the batch and save, a second to stop at once. When its parent dies it cannot tell anybody
any more, and ends at the next progress line.
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
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import diger
from diger.config import Recipe, validate
from diger.errors import Busy, DigerError, Stopped

# What a training process of a study is told, and what it tells back: JSON lines, nothing else.
#
# Every run is a process of its own, so that its peak memory is its own, and one that dies takes
# nothing with it.

# What a run tells while it goes: {"event": "say", "text"}, {"event": "epoch", "epoch", "epochs",
# "done", "total", "line"} (no line until the epoch's end), {"event": "ranked", "split", "done",
# "total"}. Its last line is {"event": "done"}, or "failed", "busy" or "stopped", with its "text".
Event = dict[str, Any]
Tell = Callable[[Event], None]


@dataclass(frozen=True)
class Job:
    """One call of `diger.training.run.train`; the fields are its arguments.

    Attributes:
        device: by name, as on the command line.
        threads: of the CPU; 0 takes what torch takes.
    """

    recipe: Recipe
    data: Path
    out: Path
    seed: int
    device: str
    threads: int
    half: bool
    force: bool
    restart: bool
    sids_from: Path | None
    start_from: Path | None

    def to_json(self) -> str:
        """One line."""
        values = asdict(self)
        values["recipe"] = self.recipe.model_dump(mode="json")
        return json.dumps(values, default=str)

    @classmethod
    def from_json(cls, line: str) -> Job:
        """The inverse of `to_json`."""
        values = json.loads(line)
        values["recipe"] = validate(Recipe, values["recipe"], "the job's recipe")
        for name in ("data", "out", "sids_from", "start_from"):
            values[name] = None if values[name] is None else Path(values[name])
        return cls(**values)


_STOPS = (130, -signal.SIGINT, -signal.SIGTERM)


def run_in_process(job: Job, tell: Tell) -> None:
    """Train what a job says in a new process.

    Raises:
        Stopped: Ctrl-C or SIGTERM; what was done is kept.
        Busy: another process is at the same bundle.
        DigerError: it failed. Where nobody foresaw how, what it said last is in a file that the
            message names.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "diger.study.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            encoding="utf-8",
            env=_environment(),
            start_new_session=True,
        )
        assert process.stdin is not None and process.stdout is not None
        last: dict[str, str] = {}
        with _passing_on(process):
            try:
                process.stdin.write(job.to_json() + "\n")
                process.stdin.close()
                for line in process.stdout:
                    event = json.loads(line)
                    if event["event"] in ("done", "failed", "busy", "stopped"):
                        last = event
                    else:
                        tell(event)
            except BrokenPipeError:
                pass  # it died before it read what to do
            except BaseException:
                process.kill()
                raise
            finally:
                code = process.wait()
                process.stdout.close()
        said.seek(0)
        _judge(code, last, said.read(), job.out)


def _environment() -> dict[str, str]:
    """Ours, and the place of the code that runs here: the process must run the same."""
    places = [str(Path(diger.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, places))}


def _judge(code: int, last: dict[str, str], said: str, out: Path) -> None:
    """Return where the process did its work, else raise what became of it."""
    text = last.get("text", "")
    notes = out.with_name(f"{out.name}.failed.txt")
    if last.get("event") == "done" and code == 0:
        notes.unlink(missing_ok=True)
        return
    if last.get("event") == "stopped" or code in _STOPS:
        raise Stopped(text or "stopped")
    if last.get("event") == "busy":
        raise Busy(text)
    if last.get("event") == "failed":
        raise DigerError(text)
    if code < 0:
        why = f"was killed by signal {-code}"
        if code == -signal.SIGKILL:
            why += ", perhaps for want of memory"
        raise DigerError(f"its process {why}; run the same command to go on")
    notes.parent.mkdir(parents=True, exist_ok=True)
    notes.write_text(said[-100_000:], encoding="utf-8")
    lines = said.strip().splitlines() or [f"exit status {code}"]
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
