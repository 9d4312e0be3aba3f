"""`python -m diger embed`: content vectors for a dataset folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diger.content.models import DEFAULT_ENCODER, DEFAULT_MAX_TOKENS


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("embed")(embed)


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
    # Imported here so that other commands do not wait for pandas.
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
