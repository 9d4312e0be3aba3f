"""`python -m diger latency`: how long one recommendation takes, for the dashboard."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(latency)


def latency(
    bundles: Annotated[list[Path], typer.Argument(help="Complete bundles.")],
    requests: Annotated[int, typer.Option(help="Recommendations timed, one by one.")] = 100,
    out: Annotated[
        Path | None,
        typer.Option(help="latency.json to write into; the dashboard reads checkpoints/'s."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "cpu",
) -> None:
    """Time single recommendations; on an otherwise idle machine, or the figures mean nothing."""
    from diger.latency import measure, merge
    from diger.model import load_model
    from diger.training.environment import hardware, pick_device

    where = pick_device(device)
    made_on = hardware(where)
    words = f"{made_on['device']}, {made_on['cpu']}, {made_on['threads']} threads"
    measured = []
    for bundle in bundles:
        model = load_model(bundle, where)
        name = model.bundle.name
        watch = partial(track, description=name, console=Console(stderr=True), transient=True)
        one = measure(model, name, words, requests, watch)
        print(f"{one.bundle}: p50 {one.p50_ms:.1f} ms, p95 {one.p95_ms:.1f} ms, {one.hardware}")
        measured.append(one)
    if out is not None:
        merge(out, measured)
