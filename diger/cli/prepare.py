"""`diger download, prepare, embed, convert`: from where data is given out to a dataset folder."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from diger.cli.terminal import file_bars, print_line
from diger.content.models import DEFAULT_ENCODER, DEFAULT_MAX_TOKENS
from diger.errors import DigerError

MADE_UP = "made-up"


def download(
    name: Annotated[
        str,
        typer.Argument(
            help="ml-100k, ml-1m, ml-10m, ml-20m, ml-25m, ml-32m, amazon-2023/CATEGORY, or diger."
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder to write. [default: downloads/NAME]")
    ] = None,
) -> None:
    """Download a public dataset by name; after a cut, the same command goes on.

    Its terms are its owner's: read them where it comes from (docs/data.md).
    """
    from diger.data.readers import recognised
    from diger.hub.datasets import download as fetch

    folder = fetch(name, Path("downloads") / name if out is None else out)
    found = [place for place in (folder, *sorted(folder.rglob("*"))) if recognised(place)]
    for place in found:
        typer.echo(f"python -m diger prepare {place} --out data/{name.rpartition('/')[2].lower()}")


def prepare(
    source: Annotated[
        str,
        typer.Argument(
            help="Folder with the data files; a .csv, .tsv or .parquet of events; films and the "
            "folder of a MovieLens 1M download; or made-up, the small dataset that comes along."
        ),
    ],
    folder: Annotated[str | None, typer.Argument(help="With films: the download.")] = None,
    *,
    out: Annotated[Path, typer.Option(help="Dataset folder to write, for example data/beauty.")],
    file_format: Annotated[
        str,
        typer.Option(
            "--format",
            help="simple, amazon, recbole, movielens, yelp, steam, letter, diger, columns (a "
            "table), films (docs/data.md says what they are), or auto: recognise it.",
        ),
    ] = "auto",
    columns: Annotated[
        str,
        typer.Option(
            help="Of a table: what its columns are called, such as user=visitor,item=sku,time=at; "
            "further keys: position, title, description, brand, categories."
        ),
    ] = "",
    items: Annotated[
        Path | None,
        typer.Option(help="Of a table: another with a row an item, for the items' text."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Short name of the dataset. [default: the folder's name]")
    ] = None,
    k_core: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Keep only users and items with this many events; 0 for no filter. "
            "[default: 5 for amazon, movielens, yelp, steam and films, else 0]",
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
    from diger.content.encoder import embed_items
    from diger.data.info import check_name
    from diger.data.prepare import DEFAULT_CUTS
    from diger.data.prepare import prepare as prepare_source
    from diger.data.readers import open_reader
    from diger.data.readers.columns import parse_columns
    from diger.data.readers.simple import FOLDER
    from diger.data.report import data_report, report_table
    from diger.data.store import ITEMS, check_dataset_target

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
    with file_bars() as progress:
        reader = open_reader(
            source, file_format, progress, columns=parse_columns(columns), items=items
        )
        prepared = prepare_source(
            reader,
            name=check_name(out.name if name is None else name),
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
    catalogue, counts = prepared.dataset.n_items, prepared.counts
    if reader.vectors is not None and not counts.item_records_unused:
        embed_items(prepared.dataset, str(reader.vectors), folder=out)
        print_line(console, f"vectors: {reader.vectors.name}")
    elif not reader.describes_items:
        print_line(
            console,
            "the items are bare ids; bring vectors of your own, row r for row r of "
            f"{out / ITEMS}: python -m diger embed {out} --encoder vectors.npy",
        )
    elif counts.items_without_record > catalogue / 2:
        print_line(
            console,
            f"{counts.items_without_record:,} of {catalogue:,} items have no record in the item "
            "file: are the ids the same there, byte for byte (blanks, case)?",
        )
    print_line(console, f"wrote {out} (fingerprint {prepared.dataset.info.fingerprint[:12]})")


def parse_cuts(text: str) -> tuple[float, float]:
    """Two numbers or ISO dates (UTC where no zone is given), separated by a comma."""
    parts = text.split(",")
    if len(parts) != 2:
        raise DigerError(f"--cuts {text!r}: give two values with a comma between, such as 0.8,0.9")
    validation, test = (_number_or_date(part.strip()) for part in parts)
    return validation, test


def _number_or_date(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        pass
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        wanted = "neither a number nor a date such as 2014-01-31"
        raise DigerError(f"--cuts: {text!r} is {wanted}") from None
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()


# `python -m diger embed`: content vectors for a dataset folder.


def embed(
    dataset_folder: Annotated[Path, typer.Argument(help="A folder made by `prepare`.")],
    encoder: Annotated[
        str,
        typer.Option(
            help="A sentence-transformers name, name@revision or folder; or a .npy of floats, "
            "one row an item."
        ),
    ] = DEFAULT_ENCODER,
    max_tokens: Annotated[
        int, typer.Option(help="Cut each text after so many tokens.")
    ] = DEFAULT_MAX_TOKENS,
) -> None:
    """Turn the items' text into vectors, kept in the dataset folder under content/."""
    from diger.content.encoder import embed_items
    from diger.data.dataset import Dataset

    dataset = Dataset.load(dataset_folder)
    content = embed_items(dataset, encoder, folder=dataset_folder, max_tokens=max_tokens)
    made_by = f"{content.encoder} at {content.revision[:15]}, from the {content.source}"
    if content.source == "file":
        made_by = content.encoder.removeprefix("file:")
    typer.echo(
        f"{dataset.name}: {len(content.vectors):,} items, {content.dim} numbers each ({made_by}); "
        f"{int(content.missing.sum()):,} without text"
    )


# `python -m diger convert`: DIGER's released checkpoints into this project's files.

convert_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@convert_app.command("rqvae")
def rqvae(
    checkpoint: Annotated[Path, typer.Argument(help="best_collision_model.pth of a release.")],
    out: Annotated[Path, typer.Option(help="The .safetensors file to write.")],
    sha256: Annotated[
        str | None,
        typer.Option(help="The hash the file must have. [default: a released checkpoint's]"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Turn an RQ-VAE checkpoint into safetensors; its hash is checked before it is opened."""
    from diger.convert.rqvae import convert_rqvae

    made = convert_rqvae(checkpoint, out, sha256=sha256, force=force)
    whose = f"released for {made.released}" if made.released else "not one of the released"
    typer.echo(
        f"wrote {out}: {made.levels} levels of {made.codebook_size} codewords, encoder "
        f"{'-'.join(map(str, made.widths))} (SHA-256 {made.sha256[:12]}..., {whose})"
    )
