"""A bundle, or a list of bundles, as tables for the terminal.

Whatever came from data is shown with its control characters escaped and without markup. A value
that was not measured is blank.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from diger.bundle import documents, tables
from diger.bundle.card import count
from diger.bundle.documents import Config, is_number
from diger.bundle.reader import BrokenBundle, Bundle
from diger.text import printable


def print_bundle(console: Console, bundle: Bundle) -> None:
    """Print all there is to say of one bundle."""
    console.print(facts(bundle))
    console.print()
    console.print(metrics_table(bundle.metrics) or "No metrics.")
    used = codebooks(bundle)
    if used is not None:
        console.print(Text(f"\nCodebooks at {used[1]}"))
        console.print(used[0])
    console.print()
    console.print(files(bundle))


def listing(found: list[Bundle | BrokenBundle]) -> Group:
    """One row a bundle; below the table, why each broken one is broken."""
    table = plain_table(
        "bundle", "dataset", "arm", "seed", "test\nrecall@10", "test\nndcg@10", "state"
    )
    for column in table.columns[1:2] + table.columns[3:]:
        column.no_wrap = True  # a narrow terminal folds the long names, not the numbers
    broken = []
    for bundle in found:
        name = _shown(bundle.path.name)
        if isinstance(bundle, BrokenBundle):
            table.add_row(name, "", "", "", "", "", Text("broken", style="red"))
            broken.append(Text(f"{name}: {bundle.reason}", style="red"))
            continue
        tested = documents.headline(bundle.metrics, "test")
        values = tested["metrics"] if tested else {}
        table.add_row(
            name,
            _shown(bundle.about.dataset.name),
            _shown(_arm(bundle.about)),
            _shown(bundle.about.seed),
            _metric(values.get("recall@10")),
            _metric(values.get("ndcg@10")),
            bundle.kind,
        )
    return Group(table, *([Text()] if broken else []), *broken)


def facts(bundle: Bundle) -> Table:
    """What it is: dataset, arm, training, cost."""
    about, dataset = bundle.about, bundle.about.dataset
    sizes = {key: count(getattr(dataset, key)) for key in ("users", "items", "events")}
    table = Table.grid(padding=(0, 2))
    for label, value in (
        ("name", bundle.name),
        ("kind", bundle.kind),
        ("identity", bundle.hash),
        ("dataset", dataset.label),
        ("", ", ".join(f"{size} {key}" for key, size in sizes.items() if size)),
        ("data", "simulated" if dataset.simulated else None),
        ("fingerprint", dataset.fingerprint),
        ("arm", _arm(about)),
        ("backbone", about.backbone),
        ("recipe", about.recipe.get("name")),
        ("seed", about.seed),
        ("parameters", count(about.parameters)),
        ("selected epoch", about.selected_epoch),
        ("seconds", _pairs(about.seconds)),
        ("peak memory", _size(about.peak_memory_bytes) if about.peak_memory_bytes else None),
        ("hardware", _pairs(about.hardware.model_dump())),
        ("code version", about.code_version),
    ):
        if value not in (None, ""):
            table.add_row(Text(label, style="bold"), _shown(value))
    return table


def metrics_table(metrics: dict[str, Any]) -> Table | None:
    """Metrics down, one column a result; None where nothing was measured."""
    results = list(documents.results(metrics))
    names = list(dict.fromkeys(name for result in results for name in result["metrics"]))
    if not names:
        return None
    headers = [f"{printable(r['split'])}\n{printable(r.get('decoding', ''))}" for r in results]
    table = plain_table("metric", *headers)
    for name in names:
        table.add_row(_shown(name), *(Text(_metric(r["metrics"].get(name))) for r in results))
    table.add_row("users", *(count(r.get("users")) for r in results))
    return table


def codebooks(bundle: Bundle) -> tuple[Table, str] | None:
    """Use of each level at the selected epoch (else the last), and a line about collisions."""
    if bundle.codes is None or bundle.codes.empty:
        return None
    epoch, levels = tables.code_use(bundle.codes, bundle.about.selected_epoch)
    table = plain_table("level", "codes used", "effective codes", "largest code")
    for use in levels:
        shares = (f"{use.effective:.1f}", f"{use.largest:.1%}")
        table.add_row(f"{use.level}", f"{use.used}", *shares)
    return table, f"epoch {epoch}{_collisions(bundle.items)}"


def files(bundle: Bundle) -> Table:
    """Names, sizes and SHA-256; the bundle was opened with every hash checked."""
    table = plain_table("file", "size", "SHA-256 (checked)")
    for name, file in sorted(bundle.manifest.files.items()):
        table.add_row(name, _size(file.size), f"{file.sha256[:16]}…")
    return table


def _collisions(items: pd.DataFrame | None) -> str:
    shares = None if items is None else tables.sid_shares(items)
    if shares is None:
        return ""
    alone, moved = shares
    other = "" if moved is None else f", {moved:.1%} with codes other than at the start"
    return f"; {alone:.1%} of items alone on their codes{other}"


def plain_table(*headers: str) -> Table:
    """An empty table without lines, under bold headers."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for header in headers:
        table.add_column(Text(header), overflow="fold")
    return table


def _shown(value: object) -> Text:
    return Text("" if value is None else printable(value, 200))


def _arm(about: Config) -> str:
    return " / ".join(part for part in about.arm.parts if part not in ("", "none"))


def _pairs(value: dict[str, Any]) -> str:
    shown = ((k, f"{v:,.1f}" if isinstance(v, float) else v) for k, v in value.items())
    return ", ".join(f"{key} {v}" for key, v in shown if v not in (None, ""))


def _metric(value: object) -> str:
    return f"{value:.4f}" if is_number(value) else ""


def _size(size: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
