"""Serving the page: queue, limits, and models loaded before anybody asks."""

from __future__ import annotations

import logging
import sys
from typing import Any

from diger.errors import DigerError
from diger_app.library import Library
from diger_app.settings import Settings
from diger_app.view import View

_log = logging.getLogger(__name__)


def warm(library: Library) -> None:
    """Load the first dataset's pair of models and run each once."""
    try:
        import torch

        torch.set_num_threads(1)
        from diger_app import service

        for dataset in library.datasets[:1]:
            shelf = library.shelf(dataset)
            _ = shelf.terms
            for name in (one for one in shelf.pair() if one):
                shelf.load(name)
                if shelf.examples:
                    history = tuple(shelf.ids[row] for row in shelf.examples[0]["history"])
                    service.recommend(shelf, name, View(dataset=dataset, history=history))
            shelf.index.warm()
    except DigerError as error:
        _log.warning("%s", error)  # the page says the same where it matters
    except Exception:
        _log.exception("loading the first models failed")


async def _no_such_function(request: Any, error: Exception) -> Any:
    """Gradio alone would answer with a 500, and a trace in the log."""
    from fastapi.responses import JSONResponse

    return JSONResponse({"detail": "There is no function of this name."}, status_code=404)


def serve(library: Library, settings: Settings, *, block: bool = True) -> Any:
    """Launch; returns the Blocks where `block` is false (tests)."""
    from gradio.route_utils import FnIndexInferError
    from starlette.middleware import Middleware

    from diger_app.guard import Guard
    from diger_app.page import Page
    from diger_app.theme import css, head, theme

    blocks = Page(library).blocks
    blocks.queue(default_concurrency_limit=8, max_size=256, api_open=False)  # nobody skips it
    mcp = settings.mcp
    if mcp:
        try:
            import mcp as _  # noqa: F401
        except ImportError:
            print('warning: --mcp needs an extra: pip install "gradio[mcp]"', file=sys.stderr)
            mcp = False
    blocks.launch(
        server_name=settings.host,
        server_port=settings.port or None,
        root_path=settings.root_path or None,
        theme=theme(),
        css=css(),
        head=head(),
        inbrowser=settings.open_browser,
        share=False,
        ssr_mode=False,
        mcp_server=mcp,
        show_error=False,
        footer_links=["api"],
        max_file_size="1kb",  # nothing is uploaded here
        prevent_thread_lock=True,
        quiet=True,
        state_session_capacity=1000,  # each call of a program leaves one behind, of 120 KB
        app_kwargs={
            "exception_handlers": {FnIndexInferError: _no_such_function},
            "middleware": [Middleware(Guard)],
        },
    )
    if block:
        print(f"DIGER Studio is at {blocks.local_url}; Ctrl-C ends it", flush=True)
        blocks.block_thread()
    return blocks
