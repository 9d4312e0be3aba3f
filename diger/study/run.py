"""Working through a study: what is left, one run after another, whatever becomes of a single one.

A run whose bundle is there is skipped, one that was begun goes on, one that fails is named at the
end and does not hold up the others. Several processes may work on one study: each takes the next
run that nobody is at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from diger.bundle.strip import strip_weights
from diger.errors import Busy, DigerError, Stopped
from diger.study.estimate import Estimate, estimate
from diger.study.grid import Run
from diger.study.job import Event, Job, Tell
from diger.study.process import run_in_process
from diger.study.progress import Cell, dependents_done, look, survey

Execute = Callable[[Job, Tell], None]


@dataclass(frozen=True)
class Options:
    """How runs are made, beside what the study says.

    Attributes:
        device: by name, as on the command line.
        threads: of the CPU; 0 takes what torch takes.
        restart: discard what was begun instead of going on with it.
        again: make runs whose bundles are there, and replace these.
    """

    device: str = "auto"
    threads: int = 0
    restart: bool = False
    again: bool = False


@dataclass(frozen=True)
class Watcher:
    """Who is told how a study goes; by default nobody.

    Attributes:
        began: a run, its number, how many there are to do, and the time for what is left with it.
        event: of the run that goes on (`diger.study.job`).
        ended: a run, with its cell where it is done, else why it is not.
        say: a line about something else.
    """

    began: Callable[[Run, int, int, Estimate], None] = lambda run, number, total, left: None
    event: Callable[[Run, Event], None] = lambda run, event: None
    ended: Callable[[Run, Cell | None, str], None] = lambda run, cell, why: None
    say: Callable[[str], None] = lambda text: None


@dataclass
class Outcome:
    """What became of the runs that were to be made.

    Attributes:
        made: keys of runs made now.
        failed: why, by key.
        elsewhere: keys of runs that another process is at.
    """

    made: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    elsewhere: list[str] = field(default_factory=list)


def run_study(
    runs: Sequence[Run],
    chosen: Sequence[Run],
    options: Options,
    watcher: Watcher | None = None,
    execute: Execute = run_in_process,
) -> Outcome:
    """Make the `chosen` ones of a study's `runs`.

    Args:
        runs: the whole grid; it decides which weights somebody still needs.
        chosen: of it, in its order.
        options: how.
        watcher: who is told.
        execute: makes one run.

    Raises:
        DigerError: something is where a bundle of `chosen` would go (nothing is run then).
        Stopped: Ctrl-C; the same call goes on.
    """
    watcher = watcher or Watcher()
    cells = {cell.run.key: cell for cell in survey(runs)}
    _refuse([cells[run.key] for run in chosen], options)
    _tidy(cells, watcher)
    left = [run for run in chosen if options.again or cells[run.key].state != "done"]
    outcome = Outcome()
    total = len(left)
    for number, run in enumerate(left, 1):
        watcher.began(run, number, total, estimate(left[number - 1 :], list(cells.values())))
        _make(run, cells, options, watcher, execute, outcome)
    # What another process was at may be done by now, and what needs it can be made.
    for key in list(outcome.elsewhere):
        outcome.elsewhere.remove(key)
        _make(cells[key].run, cells, options, watcher, execute, outcome)
    return outcome


def _make(
    run: Run,
    cells: dict[str, Cell],
    options: Options,
    watcher: Watcher,
    execute: Execute,
    outcome: Outcome,
) -> None:
    """Make one run and note what became of it."""
    try:
        cell = _attempt(run, cells, options, watcher, execute, outcome)
    except Busy as busy:
        outcome.elsewhere.append(run.key)
        watcher.ended(run, None, str(busy))
    except Stopped:
        raise
    except DigerError as error:
        outcome.failed[run.key] = str(error)
        watcher.ended(run, None, str(error))
    else:
        cells[run.key] = cell
        outcome.made.append(run.key)
        watcher.ended(run, cell, "")
        _tidy(cells, watcher)


def _attempt(
    run: Run,
    cells: dict[str, Cell],
    options: Options,
    watcher: Watcher,
    execute: Execute,
    outcome: Outcome,
) -> Cell:
    """The cell of a run, made now or by another process in the meantime."""
    cell = cells[run.key]
    if cell.state == "no data":
        raise DigerError(cell.reason)
    if not options.again:
        cell = look(run, None)
        if cell.state == "done":
            return cell
    job = Job(
        recipe=run.recipe,
        data=run.data,
        out=run.out,
        seed=run.seed,
        device=options.device,
        threads=options.threads,
        half=run.half,
        force=options.again,
        restart=options.restart,
        sids_from=_source(run.sids_from, cells, outcome),
        start_from=_source(run.start_from, cells, outcome),
    )
    try:
        execute(job, lambda event: watcher.event(run, event))
    except (Busy, Stopped):
        raise
    except DigerError:
        # Another process may have finished it between our look and our start.
        if options.again or look(run, None).state != "done":
            raise
    done = look(run, None)
    if done.state != "done":
        raise DigerError(done.reason or f"no bundle at {run.out}")
    return done


def _source(key: str | None, cells: dict[str, Cell], outcome: Outcome) -> Path | None:
    """The bundle of the run that another one needs.

    Raises:
        DigerError: it is not there, or without weights.
    """
    if key is None:
        return None
    run = cells[key].run
    cell = cells[key] = look(run, None)
    if cell.bundle is None:
        if key in outcome.elsewhere:
            raise Busy(f"it needs {run.out.name}, which another process is making")
        became = "failed" if key in outcome.failed else "is not there yet"
        raise DigerError(f"it needs {run.out.name}, which {became}")
    if cell.bundle.kind != "complete":
        raise DigerError(
            f"it needs the weights of {run.out.name}, which holds results only; make that one "
            f"again with --only {key}, then this"
        )
    return run.out


def _refuse(cells: Sequence[Cell], options: Options) -> None:
    """Nothing is run beside bundles that were made otherwise: that would be no experiment."""
    wrong = [cell for cell in cells if cell.state == "in the way"]
    if options.again:
        wrong = [cell for cell in wrong if not (cell.run.out / "manifest.json").exists()]
    if wrong:
        others = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise DigerError(
            f"{wrong[0].reason}{others}; move it away, make it again with --only "
            f"{wrong[0].run.key}, or let the study say what was run"
        )


def _tidy(cells: dict[str, Cell], watcher: Watcher) -> None:
    """Drop the weights that are not kept and that no run of the study still needs."""
    for key, cell in cells.items():
        spare = cell.bundle is not None and cell.bundle.kind == "complete" and not cell.run.complete
        if spare and dependents_done(cell.run, cells):
            try:
                cells[key] = replace(cell, bundle=strip_weights(cell.run.out))
            except DigerError as error:
                watcher.say(f"weights kept: {error}")
