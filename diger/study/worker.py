"""`python -m diger.study.worker`: one run of a study; a `Job` on stdin, events on stdout.

Started by `diger.study.process`, never by hand. Whatever libraries print goes to stderr.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from typing import TextIO

from diger.errors import Busy, DigerError, Stopped
from diger.study.process import Event, Job, Tell

SAY_EVERY_BATCHES = 20  # a progress bar needs no more


def main() -> None:
    """Train; exits 0, 2 (a person can put it right), 3 (left to another process) or 130."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def tell(event: Event) -> None:
        _write(channel, event)

    try:
        work(Job.from_json(sys.stdin.readline()), tell)
    except (KeyboardInterrupt, Stopped) as stop:
        tell({"event": "stopped", "text": str(stop)})
        sys.exit(130)
    except Busy as busy:
        tell({"event": "busy", "text": str(busy)})
        sys.exit(3)
    except DigerError as error:
        tell({"event": "failed", "text": str(error)})
        sys.exit(2)
    tell({"event": "done"})


def work(job: Job, tell: Tell) -> None:
    """Train what a job says in this process, telling how it goes."""
    import torch

    from diger.training.environment import pick_device
    from diger.training.loop import EpochEvent
    from diger.training.run import Listener, train

    def epoch(event: EpochEvent) -> None:
        if event.done % SAY_EVERY_BATCHES == 0 or event.row is not None:
            fields = ("epoch", "epochs", "done", "total", "line")
            tell({"event": "epoch"} | {name: getattr(event, name) for name in fields})

    if job.threads:
        torch.set_num_threads(job.threads)
    warnings = _Warnings(tell)
    log = logging.getLogger("diger")
    log.addHandler(warnings)
    try:
        train(
            job.recipe,
            job.data,
            job.out,
            seed=job.seed,
            device=pick_device(job.device),
            half=job.half,
            force=job.force,
            restart=job.restart,
            sids_from=job.sids_from,
            start_from=job.start_from,
            listener=Listener(
                epoch=epoch,
                ranked=lambda split, done, total: tell(
                    {"event": "ranked", "split": split, "done": done, "total": total}
                ),
            ),
        )
    finally:
        log.removeHandler(warnings)


class _Warnings(logging.Handler):
    """Passes on what is named in the log while it happens: a collapse, codes that stand still."""

    def __init__(self, tell: Tell) -> None:
        super().__init__(logging.WARNING)
        self.tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        self.tell({"event": "say", "text": record.getMessage()})


def _write(channel: TextIO, event: Event) -> None:
    channel.write(json.dumps(event) + "\n")
    channel.flush()


if __name__ == "__main__":
    main()
