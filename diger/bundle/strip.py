"""From a complete bundle to a results-only one, in the same place."""

from __future__ import annotations

from pathlib import Path

from diger.bundle import schema
from diger.bundle.card import model_card
from diger.bundle.reader import Bundle
from diger.bundle.writer import BundleWriter


def strip_weights(path: Path) -> Bundle:
    """Drop weights and vectors of the bundle at `path`, and say so on its card.

    The results stay as they are, to the byte. A results-only bundle is left alone. Whatever
    happens, the path holds a whole bundle of one kind or the other.
    """
    bundle = Bundle.open(path)
    if bundle.kind == "results-only":
        return bundle
    files = bundle.manifest.files
    with BundleWriter(path, force=True) as writer:
        writer.json(schema.CONFIG, bundle.config)
        writer.json(schema.METRICS, bundle.metrics)
        for name in schema.TABLES:
            if name in files:
                writer.frame(name, bundle.frame(name))
        codes = None
        if schema.PICTURE in files:
            codes = bundle.codes
            writer.text(schema.PICTURE, (path / schema.PICTURE).read_text(encoding="utf-8"))
        card = model_card(bundle.config, bundle.metrics, bundle.items, codes=codes, complete=False)
        writer.text(schema.CARD, card)
    return Bundle.open(path)
