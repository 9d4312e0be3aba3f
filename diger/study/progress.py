"""Where a study stands: each run done, unfinished, to do, or something in its way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from diger.bundle.reader import Bundle
from diger.bundle.schema import MANIFEST
from diger.data.info import DatasetInfo
from diger.data.store import read_info
from diger.errors import DigerError
from diger.study.grid import Run
from diger.study.made_of import made_of_here, made_of_there, parts
from diger.study.match import mismatch

State = Literal["done", "unfinished", "to do", "in the way", "no data"]


@dataclass(frozen=True, eq=False)
class Cell:
    """A run and where it stands.

    Attributes:
        run: of the grid.
        state: "done", its bundle is there; "unfinished", something to go on from is; "to do";
            "in the way", where its bundle would go there is something else; "no data".
        reason: of the last two.
        bundle: where done.
    """

    run: Run
    state: State
    reason: str = ""
    bundle: Bundle | None = None


def survey(runs: Sequence[Run], *, data_needed: bool = True, verify: bool = False) -> list[Cell]:
    """Where each run stands.

    Args:
        runs: of the grid.
        data_needed: without, a dataset that is not there is no hindrance, and its bundles are
            measured against each other: the first one's data is taken for the study's.
        verify: check every hash of every bundle.
    """
    infos: dict[Path, DatasetInfo | DigerError] = {}
    for run in runs:
        if run.data not in infos:
            try:
                infos[run.data] = read_info(run.data)
            except DigerError as error:
                infos[run.data] = error
    seen: dict[tuple[str, str, str], str] = {}
    cells = []
    for run in runs:
        info = infos[run.data]
        # Of what is not there now, the first bundle that tells is the measure of the others.
        needed = {what: (run.dataset, what, which) for what, which in parts(run.recipe).items()}
        known = {what: seen[key] for what, key in needed.items() if key in seen}
        if not isinstance(info, DigerError):
            known |= made_of_here(run, info)
        cell = look(run, known, verify=verify)
        if cell.bundle is not None:
            told = made_of_there(cell.bundle.config)
            for what in needed.keys() & told.keys():
                seen.setdefault(needed[what], told[what])
        elif cell.state != "in the way" and data_needed and isinstance(info, DigerError):
            cell = Cell(run, "no data", str(info))
        cells.append(cell)
    return cells


def look(run: Run, made_of: Mapping[str, str] | None = None, *, verify: bool = False) -> Cell:
    """Where one run stands, on data with these hashes (see `diger.study.made_of`; None: any)."""
    if not (run.out / MANIFEST).exists():
        if run.out.is_dir() and any(run.out.iterdir()):
            return Cell(run, "in the way", f"{run.out} holds something that is not a bundle")
        begun = any(run.out.with_name(f"{run.out.name}.partial").glob("*.safetensors"))
        return Cell(run, "unfinished" if begun else "to do")
    try:
        bundle = Bundle.open(run.out, verify=verify)
    except DigerError as error:
        return Cell(run, "in the way", str(error))
    different = mismatch(bundle, run, made_of or {})
    if different:
        return Cell(run, "in the way", f"{run.out} was made otherwise: {different}")
    return Cell(run, "done", bundle=bundle)


def dependents_done(run: Run, cells: Mapping[str, Cell]) -> bool:
    """Whether every run that needs the bundle of `run` has its own."""
    return all(c.state == "done" for c in cells.values() if run.key in c.run.sources)
