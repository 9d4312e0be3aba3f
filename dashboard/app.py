"""The entry point: `streamlit run dashboard/app.py [-- folder or hub:// address ...]`.

Without arguments it reads DIGER_BUNDLES, else `checkpoints/` beside this folder. While the first
visitor's browser is still loading, a thread opens the bundles and works out the first page, and the
same page in the other metrics afterwards.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:  # run as a script, the packages beside this folder are not found
    sys.path.insert(0, str(ROOT))

import streamlit as st  # noqa: E402

WARMING = "warming"
VISIT = 6.0  # seconds that the first visitor has the processor for


def warm() -> None:
    """Import what pages need, open the bundles and remember the first page, in every metric."""
    from dashboard.frame import first_page  # here: the server answers before all this is loaded
    from dashboard.sources import configured
    from dashboard.view import METRICS

    try:
        sources = configured(sys.argv[1:], ROOT / "checkpoints")
        first_page(sources, METRICS[0])
        time.sleep(VISIT)
        for metric in METRICS[1:]:
            first_page(sources, metric)
    except Exception:
        # Whatever it is, the visitor's own run meets it again, and says it in the window.
        logging.getLogger("diger.dashboard").debug("not warmed", exc_info=True)


@asynccontextmanager
async def warmed(_: st.App) -> AsyncIterator[None]:
    """Start the thread with the server."""
    # Streamlit warns of a cache that is used outside a visitor's run, which is what is meant here.
    log = logging.getLogger("streamlit.runtime.scriptrunner_utils.script_run_context")
    log.addFilter(lambda record: record.threadName != WARMING)
    threading.Thread(target=warm, name=WARMING, daemon=True).start()
    yield


app = st.App(Path(__file__).with_name("window.py"), lifespan=warmed)
