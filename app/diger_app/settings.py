"""What to serve and where: the command line, then the environment, then the usual places.

A Space has no command line, so everything can be said in environment variables too.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """How the app was started.

    Attributes:
        sources: folders of bundles, bundles, or `hub://owner/name@revision`.
        catalogues: files with item text that bundles may not carry, `FILE` or `DATASET=FILE`.
        host, port: where to listen; port 0 takes the first free one from 7860.
        root_path: the path under which a proxy serves the app.
        mcp: offer the API as MCP tools too.
        open_browser: open a browser window.
    """

    sources: tuple[str, ...]
    catalogues: tuple[str, ...] = ()
    host: str = "127.0.0.1"
    port: int = 0
    root_path: str = ""
    mcp: bool = False
    open_browser: bool = False


def read_settings(argv: Sequence[str], environ: Mapping[str, str], here: Path) -> Settings:
    """Settings from arguments and environment; `here` is the folder of `app.py`."""
    parser = argparse.ArgumentParser(
        prog="app.py",
        description="Try recommenders that write semantic IDs, in the browser.",
        epilog="Environment: DIGER_BUNDLES and DIGER_CATALOGUE (separated by spaces), "
        "GRADIO_SERVER_NAME, GRADIO_SERVER_PORT, GRADIO_ROOT_PATH.",
    )
    parser.add_argument(
        "sources",
        nargs="*",
        metavar="BUNDLES",
        help="folders of bundles, bundles, or hub://owner/name@revision (default: checkpoints/)",
    )
    parser.add_argument(
        "--catalogue",
        action="append",
        default=[],
        metavar="FILE",
        help="item text for bundles without: a dataset's items.parquet or items.jsonl[.gz]; "
        "DATASET=FILE where it is for one dataset only",
    )
    parser.add_argument("--host", default=environ.get("GRADIO_SERVER_NAME") or "127.0.0.1")
    parser.add_argument(
        "--port", type=int, default=_whole_number(environ.get("GRADIO_SERVER_PORT"))
    )
    parser.add_argument("--root-path", default=environ.get("GRADIO_ROOT_PATH") or "")
    parser.add_argument("--mcp", action="store_true", help="offer MCP tools (needs gradio[mcp])")
    parser.add_argument("--open", action="store_true", help="open a browser window")
    given = parser.parse_args(argv)
    sources = given.sources or environ.get("DIGER_BUNDLES", "").split()
    return Settings(
        sources=tuple(sources) or (str(_default_source(here)),),
        catalogues=tuple(given.catalogue or environ.get("DIGER_CATALOGUE", "").split()),
        host=given.host,
        port=given.port,
        root_path=given.root_path,
        mcp=given.mcp,
        open_browser=given.open,
    )


def _default_source(here: Path) -> Path:
    """`checkpoints/` beside app.py (a Space) or beside its folder (a checkout)."""
    beside = here / "checkpoints"
    return beside if beside.is_dir() else here.parent / "checkpoints"


def _whole_number(text: str | None) -> int:
    return int(text) if text and text.isdigit() else 0
