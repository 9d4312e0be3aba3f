"""`diger prepare`: turn interactions and item text into a dataset folder, and report on it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from diger.cli.bars import file_bars
from diger.errors import DigerError

MADE_UP = "made-up"


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("prepare")(prepare)


def prepare(
    source: Annotated[
        str,
        typer.Argument(
            help="Folder with the data files; films and the folder of a MovieLens 1M download; or "
            "made-up, the small dataset that comes along."
        ),
    ],
    folder: Annotated[str | None, typer.Argument(help="With films: the download.")] = None,
    *,
    out: Annotated[Path, typer.Option(help="Dataset folder to write, for example data/beauty.")],
    file_format: Annotated[
        str,
        typer.Option(
            "--format",
            help="simple (interactions.tsv + items.jsonl), amazon (2014 and 2018 reviews + "
            "metadata), recbole (NAME.inter + NAME.item), films, or auto: recognise it.",
        ),
    ] = "auto",
    name: Annotated[
        str | None, typer.Option(help="Short name of the dataset. [default: the folder's name]")
    ] = None,
    k_core: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Keep only users and items with this many events; 0 for no filter. "
            "[default: 5 for amazon, else 0]",
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="leave-one-out (each user's last two events are held out) or temporal (two cuts "
            "in time for everyone; needs timestamps). [default: leave-one-out]"
        ),
    ] = None,
    cuts: Annotated[
        str | None,
        typer.Option(
            help="Where a temporal split's validation and test begin: two quantiles of the event "
            "times, two dates (2014-01-01,2014-03-01, UTC) or two Unix times in seconds. "
            "[default: 0.8,0.9]"
        ),
    ] = None,
    drop_repeats: Annotated[
        bool, typer.Option("--drop-repeats", help="Keep only a user's first event with an item.")
    ] = False,
    publish_text: Annotated[
        bool | None,
        typer.Option(
            "--publish-text/--no-publish-text",
            help="Whether bundles trained on this data may carry its item text; needs --licence. "
            "[default: no]",
        ),
    ] = None,
    licence: Annotated[
        str | None, typer.Option(help="Terms of the data, for example CC-BY-4.0.")
    ] = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Replace an existing dataset folder, its vectors included."),
    ] = False,
) -> None:
    """Prepare a dataset: read, filter, order, split, check, and report."""
    # Imported here: reading parquet is of no use to the other commands' start.
    from diger.data.info import check_name
    from diger.data.prepare import DEFAULT_CUTS
    from diger.data.prepare import prepare as prepare_source
    from diger.data.readers import open_reader
    from diger.data.readers.made_up import FOLDER
    from diger.data.report import data_report, report_table
    from diger.data.store import check_dataset_target

    if folder is not None:
        if source != "films":
            raise DigerError(f"one source at a time: {source!r} and {folder!r} were given")
        source, file_format = folder, "films"
    if source == MADE_UP and not Path(source).exists():
        source, file_format = str(FOLDER), MADE_UP
    out = out.resolve()
    check_dataset_target(out, force=force)
    if publish_text and licence is None:
        raise DigerError("--publish-text needs --licence: say which terms allow publishing")
    if cuts is not None and split != "temporal":
        raise DigerError("--cuts belongs to a temporal split; add --split temporal")
    short_name = check_name(out.name if name is None else name)
    with file_bars() as progress:
        prepared = prepare_source(
            open_reader(source, file_format, progress),
            name=short_name,
            core=k_core,
            split=split or "leave-one-out",
            cuts=DEFAULT_CUTS if cuts is None else parse_cuts(cuts),
            drop_repeats=drop_repeats,
            publish_text=bool(publish_text),
            licence=licence or "unknown",
        )
    prepared.dataset.save(out, force=force)
    console = Console()
    console.print(report_table(data_report(prepared.dataset), prepared.counts))
    console.print(
        f"wrote {out} (fingerprint {prepared.dataset.info.fingerprint[:12]})",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def parse_cuts(text: str) -> tuple[float, float]:
    """Two numbers or ISO dates (UTC where no zone is given), separated by a comma."""
    parts = text.split(",")
    if len(parts) != 2:
        raise DigerError(f"--cuts {text!r}: give two values with a comma between, such as 0.8,0.9")
    validation, test = (_point(part.strip()) for part in parts)
    return validation, test


def _point(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        pass
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        raise DigerError(
            f"--cuts: {text!r} is neither a number nor a date such as 2014-01-31"
        ) from None
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
