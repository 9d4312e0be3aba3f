"""`python -m diger evaluate`: full ranking of a split with a bundle's model."""

from __future__ import annotations

import json
import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import MofNCompleteColumn, track
from rich.table import Table

from diger.cli.terminal import progress_bars
from diger.errors import DigerError

if TYPE_CHECKING:
    import pandas as pd


def evaluate(
    bundle: Annotated[Path, typer.Argument(help="A checkpoint bundle.")],
    data: Annotated[
        Path | None,
        typer.Option(help="The dataset folder it was trained on; by default data/<dataset>."),
    ] = None,
    split: Annotated[str, typer.Option(help="validation or test.")] = "validation",
    decoding: Annotated[
        str,
        typer.Option(
            help="beam (within the catalogue), hybrid (reranked by the item-level head), free "
            "(without the catalogue), or exact; by default the recipe's."
        ),
    ] = "",
    beam: Annotated[int, typer.Option(min=0, help="Beams; 0 takes the recipe's.")] = 0,
    unseen: Annotated[
        bool, typer.Option("--unseen", help="Leave out what a user had: another protocol.")
    ] = False,
    sample: Annotated[
        int, typer.Option(min=0, help="Only so many users, drawn with seed 0; 0 takes all.")
    ] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with slices.")] = False,
) -> None:
    """Rank the whole catalogue for every user of a split and print the metrics."""
    import numpy as np

    from diger.data.dataset import Dataset
    from diger.evaluation.rankers import MODES
    from diger.evaluation.ranking import SPLITS, rank_split
    from diger.evaluation.slices import slice_metrics
    from diger.model import load_model
    from diger.training.environment import pick_device
    from diger.training.export import result

    for value, choices, name in ((split, SPLITS, "--split"), (decoding, MODES, "--decoding")):
        if value and value not in choices:
            raise DigerError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
    where = pick_device(device)
    model = load_model(bundle, where)
    folder = data or Path("data") / model.bundle.about.dataset.name
    dataset = Dataset.load(folder)
    model.check_dataset(dataset)
    ranker = model.ranker(decoding or None, beam or None)  # type: ignore[arg-type]
    users = None
    if sample:
        at = dataset.test_at if split == "test" else dataset.validation_at
        users = np.flatnonzero(at >= 0)
        chosen = np.random.default_rng(0).permutation(len(users))[:sample]
        users = np.sort(users[chosen])
    total = dataset.n_users if users is None else len(users)
    # The exact oracle holds the scores of the whole catalogue for each history.
    one_by_one = decoding == "exact" and model.sids is not None
    with progress_bars(MofNCompleteColumn()) as progress:
        task = progress.add_task(f"ranking {split}", total=total)
        ranks = rank_split(
            ranker,
            dataset,
            split,
            max_history=model.recipe.training.max_history,
            batch_size=1 if one_by_one else model.recipe.evaluation.batch_size,
            device=where,
            group=model.groups,
            users=users,
            unseen=unseen,
            on_batch=lambda done: progress.advance(task, done),
        )
    found = result(ranks, dataset)
    cut = slice_metrics(ranks.frame)
    if as_json:
        found = {**found, "slices": cut.to_dict("records")}
        found["beyond_accuracy"] = {
            k: v if math.isfinite(v) else None for k, v in found["beyond_accuracy"].items()
        }
        print(json.dumps(found, indent=2, allow_nan=False))
        return
    _print(found, cut)


def _print(found: dict[str, Any], cut: pd.DataFrame) -> None:
    console = Console()
    console.print(
        f"{found['split']}: {found['users']:,} users, {found['decoding']}, full item-level ranking",
        highlight=False,
    )
    table = Table("metric", *(f"@{k}" for k in (1, 5, 10, 20)))
    for group, label in (("metrics", ""), ("collision_corrected", ", collision-corrected")):
        for metric in ("recall", "ndcg", "mrr"):
            values = (found[group][f"{metric}@{k}"] for k in (1, 5, 10, 20))
            table.add_row(metric + label, *(f"{v:.4f}" for v in values))
    for metric, label in (
        ("coverage", "catalogue coverage"),
        ("head_share", "share of head items"),
    ):
        values = (found["beyond_accuracy"].get(f"{metric}@{k}") for k in (1, 5, 10, 20))
        table.add_row(label, *("" if v is None or math.isnan(v) else f"{v:.4f}" for v in values))
    console.print(table)
    table = Table("slice", "", "users", "recall@10", "ndcg@10")
    for row in cut.to_dict("records"):
        figures = (f"{row[metric]:.4f}" for metric in ("recall@10", "ndcg@10"))
        table.add_row(row["slice"], row["label"], f"{row['users']:,}", *figures)
    console.print(table)


# `python -m diger latency`: how long one recommendation takes, for the dashboard.


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
    from diger.benchmark.latency import measure, merge
    from diger.model import load_model
    from diger.training.environment import hardware, pick_device

    where = pick_device(device)
    made_on = hardware(where)
    threads = made_on["threads"]
    words = f"{made_on['device']}, {made_on['cpu']}, {threads} thread{'s' * (threads != 1)}"
    measured = []
    for bundle in bundles:
        model = load_model(bundle, where)
        name = model.bundle.name
        watch = partial(track, description=name, console=Console(stderr=True), transient=True)
        times = measure(model, name, words, requests, watch)
        print(f"{name}: p50 {times.p50_ms:.1f} ms, p95 {times.p95_ms:.1f} ms, {words}")
        measured.append(times)
    if out is not None:
        merge(out, measured)


# `python -m diger bench`: speed on this machine, against the floor and the alternative.


def bench(
    data: Annotated[Path, typer.Argument(help="A dataset folder.")],
    recipe: Annotated[str, typer.Option(help="Whose model and batch size to time.")] = "fast",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
    alternative: Annotated[
        bool, typer.Option(help="Time the transformers library's T5 as well.")
    ] = True,
    largest: Annotated[
        int, typer.Option(help="Items of the largest generated catalogue; 0 for none.")
    ] = 10_000_000,
    out: Annotated[
        Path | None, typer.Option(help="Folder for speed.json, speed.md and speed.svg.")
    ] = None,
) -> None:
    """Time training and decoding; on an otherwise idle machine, or the figures mean nothing."""
    import importlib.util
    import itertools
    import os

    from diger.benchmark import library, report, scale, training
    from diger.bundle.writer import write_file
    from diger.charts.export import to_svg
    from diger.config import load_recipe
    from diger.data.dataset import Dataset
    from diger.training.environment import hardware, pick_device
    from diger.training.task import training_histories

    loaded = load_recipe(recipe)
    where = pick_device(device)
    dataset = Dataset.load(data)
    if alternative and importlib.util.find_spec("transformers") is None:
        raise DigerError("transformers is not installed; pip install it, or use --no-alternative")
    sizes = tuple(size for size in (10**4, 10**5, 10**6, 10**7) if size <= largest)
    about = {"dataset": dataset.name, "recipe": loaded.name, **hardware(where)}
    about["load average at the start"] = f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    parts = [training.training(loaded, dataset, where), scale.scale(loaded, sizes, where)]
    if alternative:
        longest = loaded.training.max_history
        examples = training_histories(True, dataset, longest, where).length.cpu().numpy() - 1
        parts.append(library.decoding(sizes, where))
        parts.append(library.training(examples.clip(max=longest), longest, where))
    console = Console()
    measured = []
    with Console(stderr=True).status("measuring"):
        for line in itertools.chain(*parts):
            of = "" if line.items is None else f"{line.items:,}"
            shown = f"{line.what:<38}{of:>11}{line.value:>11.3f} {line.unit:<14} {line.note}"
            console.print(shown, highlight=False)
            measured.append(line)
    found = report.document(measured, about)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        write_file((json.dumps(found, indent=2) + "\n").encode(), out / "speed.json")
        write_file(report.markdown(found).encode(), out / "speed.md")
        if sizes:
            write_file(to_svg(report.chart(found)).encode(), out / "speed.svg")
