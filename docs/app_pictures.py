"""Make the pictures of the web app from the bundles in checkpoints/.

    python docs/app_pictures.py             # those of the documents, into docs/images/
    python docs/app_pictures.py FOLDER      # every tab: laptop, phone, 4K, light and dark

Needs what the app needs, playwright, and a Chromium on the path. Only the films' bundles are shown:
their text may be published.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "docs" / "images"
LAPTOP, PHONE, WALL = (1440, 900), (390, 844), (3840, 2160)
SMALL, NOTEBOOK = (360, 740), (1366, 768)
MOST_BYTES = 400_000
THERE = ".tabitem:not([style*='none']) :is(.rec, .branch, .map, #new-title, #share-link, .about)"

# Name, window, colour scheme, query, what must be there before the picture is taken.
PICTURES = (
    ("app-recommend", LAPTOP, "light", "", ".rec"),
    ("app-recommend-dark", LAPTOP, "dark", "", ".rec"),
    ("app-recommend-phone", PHONE, "light", "", ".rec"),
    ("app-think", LAPTOP, "light", "?tab=think&tree_beam=4", ".branch"),
    ("app-codes", LAPTOP, "light", "?tab=explore&explore=browse", ".tile"),
    ("app-map-phone", PHONE, "dark", "?tab=explore&explore=map&item=alien-1979", ".map"),
)
EVERY = tuple(
    (f"{tab}-{named}-{scheme}", window, scheme, f"?tab={tab}", THERE)
    for tab in ("recommend", "think", "explore", "new", "share", "about")
    for named, window in (
        *(("laptop", LAPTOP), ("phone", PHONE), ("wall", WALL)),
        *(("small", SMALL), ("notebook", NOTEBOOK)),
    )
    for scheme in ("light", "dark")
)
MOMENTS = (1, 4, 7, 10, 13, 16, 19)  # seconds of the strip


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
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else OUT
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as engine:
        browser = engine.chromium.launch(
            executable_path=shutil.which("chromium") or shutil.which("chromium-browser"),
            args=["--no-sandbox"],
        )
        for picture in PICTURES if folder == OUT else EVERY:
            _picture(browser, blocks.local_url, folder, *picture)
        _film(browser, blocks.local_url, folder / "app-first-screen.png")
        browser.close()
    blocks.close()


def _picture(
    browser: Any,
    url: str,
    folder: Path,
    name: str,
    window: tuple[int, int],
    scheme: str,
    query: str,
    wanted: str,
) -> None:
    context = browser.new_context(
        viewport={"width": window[0], "height": window[1]},
        color_scheme=scheme,
        reduced_motion="reduce",  # the strip as it is when it has been told
    )
    page = context.new_page()
    page.goto(url + query)
    page.locator(wanted).first.wait_for()
    page.locator(".verdict-line b").first.wait_for()
    page.wait_for_timeout(1500)  # fonts, and the tree's entrance
    page.screenshot(path=folder / f"{name}.png")
    context.close()
    _keep(folder / f"{name}.png")


def _film(browser: Any, url: str, path: Path) -> None:
    """The strip of the first screen at several moments, one under another."""
    from PIL import Image

    page = browser.new_page(viewport={"width": LAPTOP[0], "height": LAPTOP[1]})
    page.goto(url)
    strip = page.locator(".strip.is-playing")
    strip.wait_for()
    frames = []
    for second in MOMENTS:  # each animation is put at the moment, whatever a picture takes
        page.evaluate(
            "(ms) => document.querySelector('.strip').getAnimations({ subtree: true })"
            ".forEach((a) => { a.pause(); a.currentTime = ms; })",
            1000 * second,
        )
        frames.append(Image.open(io.BytesIO(page.locator(".strip").screenshot())))
    page.close()
    width = max(one.width for one in frames)
    film = Image.new("RGB", (width, sum(one.height + 10 for one in frames)), "white")
    top = 0
    for one in frames:
        film.paste(one, (0, top))
        top += one.height + 10
    film.quantize(128).save(path, optimize=True)
    _keep(path)


def _keep(path: Path) -> None:
    size = path.stat().st_size
    print(f"{path.name}: {size // 1000} kB")
    if path.parent == OUT and size > MOST_BYTES:
        sys.exit(f"{path.name} is larger than {MOST_BYTES // 1000} kB")


if __name__ == "__main__":
    main()
