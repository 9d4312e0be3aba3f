"""How fast the dashboard is with two hundred bundles.

    python docs/dashboard_speed.py [FOLDER]

Without a folder of bundles it writes 200 small ones to a temporary folder (four datasets, five
arms, ten seeds). It starts the dashboard on them as a process of its own, and times in a headless
Chromium: the first chart from the start of the process and in a new tab, every page, and a change
of the metric on each of them. On an otherwise idle machine, or the figures mean nothing.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ARMS = (
    ("static", 0.20),
    ("detached", 0.21),
    ("differentiable", 0.24),
    ("ste", 0.18),
    ("sasrec", 0.26),
)
PAGES = ("", "leaderboard", "where", "training", "codebook", "drift", "cost", "compare")
CHART = "[data-testid=stMain] svg.marks, [data-testid=stMain] canvas.marks"
TABLE = "[data-testid=stDataFrame], [data-testid=stTable]"


def main() -> None:
    """Make the bundles, start the dashboard, measure."""
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    from playwright.sync_api import sync_playwright
    from toy_bundles import write_run

    from dashboard.pictures import served

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as engine:
        given = sys.argv[1:2]
        for dataset in () if given else ("alpha", "beta", "gamma", "delta"):
            for method, quality in ARMS:
                for seed in range(10):
                    write_run(
                        Path(folder), dataset=dataset, method=method, seed=seed, quality=quality
                    )
        browser = engine.chromium.launch(
            executable_path=shutil.which("chromium") or shutil.which("chromium-browser"),
            args=["--no-sandbox"],
        )
        began = time.perf_counter()
        with served(*(given or [folder])) as address:
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            page.goto(address)
            page.locator(CHART).first.wait_for()
            print(
                f"first chart, from the start of the process  {time.perf_counter() - began:6.2f} s"
            )
            for path in PAGES:
                opened = time.perf_counter()
                page.goto(f"{address}/{path}")
                page.locator(f"{CHART}, {TABLE}").first.wait_for()
                opened = time.perf_counter() - opened
                _settle(page)
                changed = _change_metric(page)
                print(f"{path or 'verdict':<14} new tab {opened:5.2f} s   filter {changed:5.2f} s")
        browser.close()


def _settle(page) -> None:  # type: ignore[no-untyped-def]
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()
    page.wait_for_timeout(700)


def _change_metric(page) -> float:  # type: ignore[no-untyped-def]
    """Seconds from choosing another metric until the script has run and what it sent is drawn."""
    page.get_by_role("combobox", name="Metric").click()
    option = page.get_by_role("option", name="recall@5", exact=True)
    option.wait_for()
    began = time.perf_counter()
    option.click()
    page.get_by_text("metric: recall@5").first.wait_for()
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
