"""Make the pictures of the web app in docs/images/ from the bundles in checkpoints/.

    python docs/app_pictures.py

Needs what the app needs, playwright, and a Chromium on the path. Only the films' bundles are shown:
their text may be published.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "docs" / "images"
LAPTOP, PHONE = (1440, 900), (390, 844)
MOST_BYTES = 400_000

# Name, window, colour scheme, query, what must be there before the picture is taken.
PICTURES = (
    ("app-recommend", LAPTOP, "light", "", ".rec"),
    ("app-recommend-dark", LAPTOP, "dark", "", ".rec"),
    ("app-think", LAPTOP, "light", "?tab=think&tree_beam=4", ".branch"),
    ("app-codes", LAPTOP, "light", "?tab=explore&explore=browse", ".tile"),
    ("app-map-phone", PHONE, "dark", "?tab=explore&explore=map&item=alien-1979", ".map"),
)


def main() -> None:
    """Serve the films' bundles, visit each view, and keep a picture of it."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    sys.path[:0] = [str(ROOT / "app"), str(ROOT)]
    from diger_app.library import Library
    from diger_app.serve import serve, warm
    from diger_app.settings import Settings
    from playwright.sync_api import sync_playwright

    films = sorted(str(path) for path in (ROOT / "checkpoints").glob("films-*"))
    library = Library.open(films)
    warm(library)
    blocks = serve(library, Settings(sources=()), block=False)
    OUT.mkdir(exist_ok=True)
    with sync_playwright() as engine:
        browser = engine.chromium.launch(
            executable_path=shutil.which("chromium") or shutil.which("chromium-browser"),
            args=["--no-sandbox"],
        )
        for name, (width, height), scheme, query, wanted in PICTURES:
            context = browser.new_context(
                viewport={"width": width, "height": height},
                color_scheme=scheme,
                reduced_motion="reduce",  # the strip as it is when it has been told
            )
            page = context.new_page()
            page.goto(blocks.local_url + query)
            page.locator(wanted).first.wait_for()
            page.wait_for_timeout(1500)  # fonts, and the tree's entrance
            path = OUT / f"{name}.png"
            page.screenshot(path=path)
            size = path.stat().st_size
            print(f"{path.relative_to(ROOT)}: {size // 1000} kB")
            if size > MOST_BYTES:
                sys.exit(f"{path.name} is larger than {MOST_BYTES // 1000} kB")
            context.close()
        browser.close()
    blocks.close()


if __name__ == "__main__":
    main()
