"""`python -m diger bench`: speed on this machine, against the floor and the alternative."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(bench)


def bench(
    data: Annotated[Path, typer.Argument(help="A dataset folder.")],
    recipe: Annotated[str, typer.Option(help="Whose model and batch size to time.")] = "fast",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
    alternative: Annotated[
        bool, typer.Option(help="Time a T5 over code tokens as well (needs transformers).")
    ] = True,
) -> None:
    """Time training and ranking; on an otherwise idle machine, or the figures mean nothing."""
    from diger.benchmark import benchmark
    from diger.config import load_recipe
    from diger.data.dataset import Dataset
    from diger.training.environment import hardware, pick_device

    loaded = load_recipe(recipe)
    where = pick_device(device)
    dataset = Dataset.load(data)
    console = Console()
    made_on = ", ".join(f"{k} {v}" for k, v in hardware(where).items())
    console.print(f"{dataset.name}, recipe {loaded.name}; {made_on}", highlight=False)
    with Console(stderr=True).status("measuring"):
        for one in benchmark(loaded, dataset, where, alternative):
            console.print(
                f"{one.what:<38}{one.value:>10.1f} {one.unit:<11} {one.note}", highlight=False
            )
