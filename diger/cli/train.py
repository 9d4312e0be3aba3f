"""`python -m diger train`: from a dataset folder to a checkpoint bundle."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diger.cli.terminal import print_line, progress_bars

if TYPE_CHECKING:
    from rich.progress import Progress

    from diger.training.loop import EpochEvent

TELL_EVERY_BATCHES = 20  # a progress bar needs no more


def train(
    recipe: Annotated[str, typer.Argument(help="A recipe's name, or the path of your own .toml.")],
    data: Annotated[Path, typer.Option(help="Dataset folder made by `prepare`.")],
    out: Annotated[Path, typer.Option(help="Where the bundle goes.")],
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of everything random.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0 takes what torch takes.")] = 0,
    half: Annotated[
        bool, typer.Option("--half", help="Keep the weights in half precision.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a bundle at --out.")] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Discard an unfinished run at --out.")
    ] = False,
    sids_from: Annotated[
        Path | None, typer.Option(help="Take tokenizer and SIDs from this bundle.")
    ] = None,
    start_from: Annotated[
        Path | None, typer.Option(help="Start from this bundle's recommender (and its SIDs).")
    ] = None,
    json_lines: Annotated[
        bool, typer.Option("--json", help="For programs: tell how it goes in lines of JSON.")
    ] = False,
) -> None:
    """Train a recipe on a dataset and leave a checkpoint bundle.

    Stopped at any moment (Ctrl-C, kill -9), the same command goes on where it was. On several GPUs:
    torchrun --nproc-per-node 4 -m diger train ..., with the same batch size in all.
    """
    from diger.config import load_recipe

    loaded = load_recipe(recipe)  # a misspelt key should not wait for torch
    import torch

    from diger.training.distributed import is_first, joined
    from diger.training.run import Listener
    from diger.training.run import train as run

    if threads:
        torch.set_num_threads(threads)
    with (
        joined(device) as where,
        progress_bars("{task.fields[note]}", shown=not json_lines and is_first()) as progress,
    ):
        watch = _Teller() if json_lines else _Watch(progress)
        run(
            loaded,
            data,
            out,
            seed=seed,
            device=where,
            half=half,
            force=force,
            restart=restart,
            sids_from=sids_from,
            start_from=start_from,
            listener=Listener(say=watch.say, epoch=watch.epoch, ranked=watch.ranked),
        )
        if json_lines or not is_first():
            return
    from diger.cli.recommend import show

    show(out)


class _Watch:
    """Turns what a run tells into a progress bar and one line an epoch."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.bar = progress.add_task("starting", total=None, note="")
        self.began = 0.0
        self.first: float | None = None

    def say(self, text: str) -> None:
        """A step began or ended."""
        print_line(self.progress.console, text)

    def epoch(self, event: EpochEvent) -> None:
        """A batch or an epoch is done."""
        done = event.epoch - 1 + event.done / event.total
        if self.first is None:  # a resumed run does not begin at 0, nor any with its first batch
            self.first, self.began = done, time.monotonic()
        self.progress.update(
            self.bar,
            description=f"epoch {event.epoch}/{event.epochs}",
            total=event.epochs,
            completed=done,
            note=f"best epoch {event.best_epoch or '-'}" if event.row is not None else "",
        )
        if event.row is None:
            return
        left = ""
        if done > self.first:  # nothing is known after the first batch alone
            spent = (time.monotonic() - self.began) / (done - self.first)
            left = f"  at most {_minutes(spent * (event.epochs - event.epoch))} left"
        self.say(f"{event.line}{left}")

    def ranked(self, split: str, done: int, total: int) -> None:
        """Users of a split are ranked."""
        self.progress.update(
            self.bar, description=f"ranking {split}", total=total, completed=done, note=""
        )


class _Teller(logging.Handler):
    """Tells programs, one JSON object a line.

    `{"event": "say" or "warning", "text"}`; `{"event": "epoch", "epoch", "epochs", "done", "total",
    "line"}`, with no line until the epoch's end; `{"event": "ranked", "split", "done", "total"}`.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        logging.getLogger("diger").addHandler(self)

    def tell(self, event: str, **values: object) -> None:
        """A line."""
        print(json.dumps({"event": event} | values), flush=True)

    def emit(self, record: logging.LogRecord) -> None:
        """What is named in the log while it happens: a collapse, codes that stand still."""
        self.tell("warning", text=record.getMessage())

    def say(self, text: str) -> None:
        """A step began or ended."""
        self.tell("say", text=text)

    def epoch(self, event: EpochEvent) -> None:
        """A batch or an epoch is done."""
        if event.done % TELL_EVERY_BATCHES == 0 or event.row is not None:
            names = ("epoch", "epochs", "done", "total", "line")
            self.tell("epoch", **{name: getattr(event, name) for name in names})

    def ranked(self, split: str, done: int, total: int) -> None:
        """Users of a split are ranked."""
        self.tell("ranked", split=split, done=done, total=total)


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
