"""`python -m diger study`: run a grid of datasets, arms and seeds, and sum it up."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from diger.cli.terminal import print_line, progress_bars
from diger.errors import DigerError, Stopped
from diger.text import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.progress import Progress

    from diger.study.config import Study
    from diger.study.grid import Run
    from diger.study.process import Event
    from diger.study.progress import Cell, Estimate
    from diger.study.run import Options, Outcome


def study(
    path: Annotated[Path, typer.Argument(metavar="STUDY.toml", help="See docs/study.md.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what is done and what is left; run nothing.")
    ] = False,
    table: Annotated[
        bool, typer.Option("--table", help="Work out the tables from the bundles; run nothing.")
    ] = False,
    write: Annotated[
        bool, typer.Option("--write", help="Also write the tables as CSV and JSON, by the bundles.")
    ] = False,
    only: Annotated[
        str, typer.Option(metavar="DATASET/ARM/SEED", help="Make this run alone, again if it is.")
    ] = "",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0 takes what torch takes.")] = 0,
    restart: Annotated[
        bool, typer.Option("--restart", help="Discard unfinished runs instead of going on.")
    ] = False,
) -> None:
    """Run what is left of a study, then print its tables.

    Stopped at any moment, the same command goes on where it was. To use several GPUs, or a
    machine's cores, start it more than once: each takes the next run that nobody is at.
    """
    from diger.study.config import load_study
    from diger.study.grid import grid, select
    from diger.study.progress import survey
    from diger.study.run import Options
    from diger.study.show import plan

    _refuse_torchrun()
    if table and (only or dry_run):
        raise DigerError("--table runs nothing; leave out --only and --dry-run")
    loaded = load_study(path)
    runs = grid(loaded)
    chosen = [select(runs, only)] if only else runs
    if not table:
        _wide_stdout().print(plan(survey(chosen if dry_run else runs)))
    if dry_run:
        return
    outcome = None
    if not table:
        options = Options(device, threads, restart, again=bool(only))
        outcome = _run(runs, chosen, options)
    _show_results(loaded, write)
    if outcome is not None:
        _say_what_is_left(outcome)


def _refuse_torchrun() -> None:
    from diger.training.launcher import number

    if number("WORLD_SIZE", 1) > 1:
        raise DigerError(
            "a study is not started by torchrun: start it once a GPU, with --device cuda:0, "
            "--device cuda:1, ...; each takes the next run that nobody is at"
        )


def _run(runs: Sequence[Run], chosen: Sequence[Run], options: Options) -> Outcome:
    from diger.study.run import Watcher, run_study

    with progress_bars("{task.fields[note]}") as progress:
        lines = _Lines(progress)
        watcher = Watcher(lines.began, lines.event, lines.ended, lines.say)
        try:
            return run_study(runs, chosen, options, watcher)
        except (Stopped, KeyboardInterrupt):
            raise Stopped("stopped; all is kept, run the same command to go on") from None


def _show_results(loaded: Study, write: bool) -> None:
    from diger.study.show import print_results
    from diger.study.table import collect, write_results

    with Console(stderr=True).status("reading bundles"):
        results = collect(loaded)
    console = _wide_stdout()
    console.print()
    print_results(console, loaded, results)
    for written in write_results(loaded, results) if write else ():
        print_line(console, f"wrote {written}")


def _wide_stdout() -> Console:
    """Standard output; where it is not a terminal, wide enough for every table."""
    console = Console()
    return console if console.is_terminal else Console(width=max(console.width, 120))


def _say_what_is_left(outcome: Outcome) -> None:
    """Say what was not done; a failure is an error, once everything else is through."""
    console = Console(stderr=True)
    for key in outcome.elsewhere:
        print_line(console, f"{key} is left to another process")
    for key, why in outcome.failed.items():
        print_line(console, f"{key} failed: {printable(why)}")
    if outcome.failed:
        count = len(outcome.failed)
        raise DigerError(
            f"{count} {'run' if count == 1 else 'runs'} failed; put that right and run the same "
            "command again"
        )


class _Lines:
    """Turns what a study tells into a progress bar and a line a run."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.bar = progress.add_task("", total=None, note="", visible=False)
        self.place = ""

    def say(self, text: str) -> None:
        """A line."""
        print_line(self.progress.console, text)

    def began(self, run: Run, number: int, total: int, left: Estimate) -> None:
        """A run begins."""
        self.place = f"{number}/{total} {run.key}"
        self.say(f"{self.place}{f'; {left} left' if str(left) else ''}")
        self.progress.reset(self.bar, description=self.place, total=None, note="", visible=True)

    def event(self, run: Run, event: Event) -> None:
        """The run goes on."""
        if event["event"] == "warning":
            self.say(f"{run.key}: {event['text']}")
        if "text" in event:
            return
        if event["event"] == "epoch":
            completed = event["epoch"] - 1 + event["done"] / event["total"]
            total, note = event["epochs"], f"epoch {event['epoch']}/{event['epochs']}"
            if (
                event["line"] and not self.progress.console.is_terminal
            ):  # a log has no bar to look at
                self.say(f"{self.place}: {event['line']}")
        else:
            completed, total, note = event["done"], event["total"], f"ranking {event['split']}"
        self.progress.update(
            self.bar, description=self.place, total=total, completed=completed, note=note
        )

    def ended(self, run: Run, cell: Cell | None, why: str) -> None:
        """The run is done, or is not."""
        from diger.study.show import ended

        self.progress.update(self.bar, visible=False)
        self.say(printable(f"{run.key}: {why}") if cell is None else ended(cell))
