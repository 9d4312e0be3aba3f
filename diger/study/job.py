"""What a training process of a study is told, and what it tells back: JSON lines, nothing else.

Every run is a process of its own, so that its peak memory is its own, and one that dies takes
nothing with it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from diger.config import Recipe, validate

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
