"""Start the demo: `python app/app.py [BUNDLES ...]`; see `--help` and docs/app.md."""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Nothing calls home; must be set before gradio and the Hub's client are imported.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
# Gradio would keep a note of each event, and go through ten thousand of them after each.
os.environ.setdefault("GRADIO_ANALYTICS_MAX_EVENTS", "1")
# A recommendation is small: more threads than one only get in one another's way.
os.environ.setdefault("OMP_NUM_THREADS", "1")
for folder in (HERE, HERE.parent):
    found = folder == HERE or importlib.util.find_spec("diger") is None
    if found and str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def main(argv: list[str] | None = None) -> None:
    """Open the bundles, build the page and serve it."""
    from diger_app.settings import read_settings

    settings = read_settings(sys.argv[1:] if argv is None else argv, os.environ, HERE)
    from diger_app.library import Library

    library = Library.open(settings.sources, settings.catalogues)
    for what, why in library.problems:
        print(f"warning: {what}: {why}", file=sys.stderr)
    warm = threading.Thread(target=_warm, args=(library,), daemon=True)
    warm.start()  # loads torch and the first models while Gradio is imported
    from diger_app.startup import no_type_stubs

    with no_type_stubs():
        import gradio  # noqa: F401
    from diger_app.serve import serve

    serve(library, settings)


def _warm(library: object) -> None:
    from diger_app.serve import warm

    warm(library)


if __name__ == "__main__":
    main()
