"""`python -m diger convert`: DIGER's released data and checkpoints into this project's files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from diger.cli.bars import file_bars

_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(_app, name="convert", help="Bring DIGER's released data and checkpoints in.")


@_app.command("data")
def data(
    folder: Annotated[
        Path, typer.Argument(help="Folder with NAME.train.jsonl, NAME.emb_map.json and a .npy.")
    ],
    out: Annotated[Path, typer.Option(help="Dataset folder to write, for example data/beauty.")],
    name: Annotated[
        str | None, typer.Option(help="Short name of the dataset. [default: the files' NAME]")
    ] = None,
    vectors: Annotated[
        Path | None, typer.Option(help="The .npy of text features, where there are several.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace an existing dataset folder.")
    ] = False,
) -> None:
    """Turn the processed data into a dataset folder, content vectors included."""
    from diger.convert.data import convert_data
    from diger.data.report import data_report, report_table

    out = out.resolve()
    with file_bars() as progress:
        dataset = convert_data(
            folder, out, name=name, vectors=vectors, force=force, progress=progress
        )
    Console().print(report_table(data_report(dataset), None))
    typer.echo(f"wrote {out} (fingerprint {dataset.info.fingerprint[:12]})")


@_app.command("rqvae")
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
