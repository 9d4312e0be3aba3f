"""Make the pictures of the documentation: `python dashboard/pictures.py [OUT]`.

Starts the dashboard on the bundles in `checkpoints/`, and nothing else, and photographs it in a
headless Chromium (playwright, and a `chromium` on the path or playwright's own).
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SIZE = {"width": 1440, "height": 900}
# Path and query, colour scheme, name of the picture.
PICTURES = (
    ("", "light", "dashboard-verdict"),
    ("", "dark", "dashboard-verdict-dark"),
    ("matrix", "light", "dashboard-ingredients"),
    ("leaderboard", "light", "dashboard-leaderboard"),
    ("training", "light", "dashboard-training"),
    ("codebook", "dark", "dashboard-codebook-dark"),
    ("?projector=true", "light", "dashboard-projector"),
)


@contextmanager
def served(*sources: str) -> Iterator[str]:
    """The dashboard on a free port, for as long as the block lasts; gives its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", str(ROOT / "dashboard" / "app.py")]
    command += ["--server.port", str(port), "--server.address", "127.0.0.1", "--", *sources]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{address}/_stcore/health", timeout=1).close()
                break
            except OSError:
                time.sleep(0.25)
        yield address
    finally:
        process.terminate()
        process.wait(timeout=20)


def main(out: Path) -> None:
    """Write every picture to `out`."""
    from playwright.sync_api import sync_playwright

    out.mkdir(parents=True, exist_ok=True)
    with served(str(ROOT / "checkpoints")) as address, sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        for path, scheme, name in PICTURES:
            page = browser.new_context(viewport=SIZE, color_scheme=scheme).new_page()  # type: ignore[arg-type]
            page.goto(f"{address}/{path}")
            page.wait_for_selector("h1", timeout=60_000)
            for busy in ("stStatusWidget", "stSkeleton"):
                page.wait_for_function(
                    f"!document.querySelector('[data-testid={busy}]')", timeout=120_000
                )
            page.wait_for_timeout(2500)
            page.screenshot(path=out / f"{name}.png")
            print(out / f"{name}.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "images")
