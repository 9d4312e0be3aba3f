"""Working through a study: what is left, one run after another, whatever becomes of a single one.

A run whose bundle is there is skipped, one that was begun goes on, one that fails is named at the
end and does not hold up the others. Several processes may work on one study: each takes the next
run that nobody is at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from diger.bundle import schema
from diger.bundle.writer import strip_weights
from diger.errors import Busy, DigerError, Stopped
from diger.study.grid import Run
from diger.study.process import Event, Job, Tell, run_in_process
from diger.study.progress import Cell, Estimate, dependents_done, estimate, look, survey

Execute = Callable[[Job, Tell], None]


@dataclass(frozen=True)
class Options:
    """How runs are made, beside what the study says."""

    device: str = "auto"  # by name, as on the command line
    threads: int = 0  # of the CPU; 0 takes what torch takes
    restart: bool = False  # discard what was begun instead of going on with it
    again: bool = False  # make runs whose bundles are there, and replace these


@dataclass(frozen=True)
class Watcher:
    """Who is told how a study goes; by default nobody."""

    # A run, its number, how many there are to do, and the time for what is left with it.
    began: Callable[[Run, int, int, Estimate], None] = lambda run, number, total, left: None
    # Of the run that goes on, see `diger.study.process`.
    event: Callable[[Run, Event], None] = lambda run, event: None
    # A run, with its cell where it is done, else why it is not.
    ended: Callable[[Run, Cell | None, str], None] = lambda run, cell, why: None
    # A line about something else.
    say: Callable[[str], None] = lambda text: None


@dataclass
class Outcome:
    """What became of the runs that were to be made, by their keys."""

    made: list[str] = field(default_factory=list)  # now
    failed: dict[str, str] = field(default_factory=dict)  # and why
    elsewhere: list[str] = field(default_factory=list)  # another process is at it


def run_study(
    runs: Sequence[Run],
    chosen: Sequence[Run],
    options: Options,
    watcher: Watcher | None = None,
    execute: Execute = run_in_process,
) -> Outcome:
    """Make the `chosen` ones of a study's `runs`, in their order, each by `execute`.

    The whole grid decides which weights somebody still needs. Nothing is run where something else
    is in the place of a chosen one's bundle. Ctrl-C raises `Stopped`, and the same call goes on.
    """
    cells = {cell.run.key: cell for cell in survey(runs)}
    work = _Work(cells, options, watcher or Watcher(), execute)
    work.refuse(chosen)
    work.tidy()
    left = [run for run in chosen if options.again or cells[run.key].state != "done"]
    for number, run in enumerate(left, 1):
        time_left = estimate(left[number - 1 :], list(cells.values()))
        work.watcher.began(run, number, len(left), time_left)
        work.make(run)
    # What another process was at may be done by now, and what needs it can be made.
    for key in list(work.outcome.elsewhere):
        work.outcome.elsewhere.remove(key)
        work.make(cells[key].run)
    return work.outcome


@dataclass
class _Work:
    """A study being worked through."""

    cells: dict[str, Cell]  # where each run stands, by key; kept up to date
    options: Options
    watcher: Watcher
    execute: Execute
    outcome: Outcome = field(default_factory=Outcome)

    def make(self, run: Run) -> None:
        """Make one run and note what became of it."""
        try:
            cell = self._attempt(run)
        except Busy as busy:
            self.outcome.elsewhere.append(run.key)
            self.watcher.ended(run, None, str(busy))
        except Stopped:
            raise
        except DigerError as error:
            self.outcome.failed[run.key] = str(error)
            self.watcher.ended(run, None, str(error))
        else:
            self.cells[run.key] = cell
            self.outcome.made.append(run.key)
            self.watcher.ended(run, cell, "")
            # What was made of its former bundle may not be done any more, and need its weights.
            for other, made in self.cells.items():
                if run.key in made.run.sources and made.state == "done":
                    self.cells[other] = look(made.run)
            self.tidy()

    def _attempt(self, run: Run) -> Cell:
        """The cell of a run, made now or by another process in the meantime."""
        again = self.options.again
        cell = self.cells[run.key]
        if cell.state == "no data":
            raise DigerError(cell.reason)
        if not again:
            cell = look(run)
            if cell.state == "done":
                return cell
        job = Job(
            recipe=run.recipe,
            data=run.data,
            out=run.out,
            seed=run.seed,
            device=self.options.device,
            threads=self.options.threads,
            half=run.half,
            force=again,
            restart=self.options.restart,
            sids_from=self._source(run.sids_from),
            start_from=self._source(run.start_from),
        )
        try:
            self.execute(job, lambda event: self.watcher.event(run, event))
        except (Busy, Stopped):
            raise
        except DigerError:
            # Another process may have finished it between our look and our start.
            if again or look(run).state != "done":
                raise
        done = look(run)
        if done.state != "done":
            raise DigerError(done.reason or f"no bundle at {run.out}")
        return done

    def _source(self, key: str | None) -> Path | None:
        """The bundle of the run that another one needs."""
        if key is None:
            return None
        run = self.cells[key].run
        cell = self.cells[key] = look(run)
        if cell.bundle is None:
            if key in self.outcome.elsewhere:
                raise Busy(f"it needs {run.out.name}, which another process is making")
            became = "failed" if key in self.outcome.failed else "is not there yet"
            raise DigerError(f"it needs {run.out.name}, which {became}")
        if cell.bundle.kind != "complete":
            raise DigerError(
                f"it needs the weights of {run.out.name}, which holds results only; make that one "
                f"again with --only {key}, then this"
            )
        return run.out

    def refuse(self, chosen: Sequence[Run]) -> None:
        """Nothing is run beside bundles that were made otherwise: that would be no experiment."""
        wrong = [c for c in (self.cells[run.key] for run in chosen) if c.state == "in the way"]
        if self.options.again:
            wrong = [cell for cell in wrong if not (cell.run.out / "manifest.json").exists()]
        if wrong:
            others = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
            raise DigerError(
                f"{wrong[0].reason}{others}; move it away, make it again with --only "
                f"{wrong[0].run.key}, or let the study say what was run"
            )

    def tidy(self) -> None:
        """Drop what is not kept: weights that no run of the study still needs, and lists."""
        for key, cell in self.cells.items():
            bundle, run = cell.bundle, cell.run
            if bundle is None or run.complete or not dependents_done(run, self.cells):
                continue
            spare_lists = not run.lists and schema.TOPK in bundle.manifest.files
            if bundle.kind == "complete" or spare_lists:
                try:
                    self.cells[key] = replace(cell, bundle=strip_weights(run.out, run.lists))
                except DigerError as error:
                    self.watcher.say(f"weights kept: {error}")
