"""How fast the dashboard is, on the bundles that ship and on two hundred.

    python docs/dashboard_speed.py [FOLDER ...]

Without folders of bundles it takes `checkpoints/` and 200 made-up ones (four datasets, five arms,
ten seeds), and prints the table of docs/dashboard.md. On each it starts the dashboard as a process
of its own, first with nothing kept, then with what the first start kept, and times in a headless
Chromium until the first chart is there, and until what a change asked for is drawn: on each of a
few pages, several times, of which the middle one counts. On an otherwise idle machine, or the
figures mean nothing.
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
ARMS = {"static": 0.20, "detached": 0.21, "differentiable": 0.24, "ste": 0.18, "sasrec": 0.26}
PAGES = ("", "matrix", "leaderboard", "where", "training", "codebook", "drift", "cost")
CHART = "[data-testid=stMain] svg.marks, [data-testid=stMain] canvas"
DRAWN = "[data-testid=stApp][data-test-script-state=notRunning]"
METRICS = ("recall@10", "ndcg@5", "recall@5")


def main() -> None:
    """Measure every folder and print the table."""
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    from playwright.sync_api import sync_playwright

    columns = {}
    with tempfile.TemporaryDirectory() as made, sync_playwright() as engine:
        browser = engine.chromium.launch(
            executable_path=shutil.which("chromium") or shutil.which("chromium-browser"),
            args=["--no-sandbox"],
        )
        for folder in sys.argv[1:] or (str(ROOT / "checkpoints"), _made_up(made)):
            bundles = len(list(Path(folder).glob("*/manifest.json")))
            name = "made-up" if folder == made else Path(folder).name
            columns[f"{bundles} bundles ({name})"] = _measured(browser, folder)
        browser.close()
    print(f"| seconds | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    for row in next(iter(columns.values())):
        print(f"| {row} | {' | '.join(f'{values[row]:.2f}' for values in columns.values())} |")


def _made_up(folder: str) -> str:
    from toy_bundles import write_run

    for dataset in ("alpha", "beta", "gamma", "delta"):
        for method, quality in ARMS.items():
            for seed in range(10):
                write_run(Path(folder), dataset=dataset, method=method, seed=seed, quality=quality)
    return folder


def _measured(browser: Any, folder: str) -> dict[str, float]:
    from dashboard.pictures import served

    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as kept:
        os.environ["DIGER_CACHE"] = kept
        for start in ("nothing kept", "claims kept"):
            began = time.perf_counter()
            with served(folder) as address:
                page = _opened(browser)
                page.goto(address)
                page.locator(CHART).first.wait_for()
                found[f"first chart, from the start of the process, {start}"] = _since(began)
                page.locator(DRAWN).wait_for()
                if start == "claims kept":
                    _pages(browser, address, found)
                page.close()
    return found


def _pages(browser: Any, address: str, found: dict[str, float]) -> None:
    opened, again, metric, data = {}, {}, {}, {}
    for path in PAGES:
        page = _opened(browser)
        for times in (opened, again):  # the second time everything is remembered
            began = time.perf_counter()
            page.goto(f"{address}/{path}")
            page.locator(CHART).first.wait_for()
            times[path] = _since(began)
            _settle(page)
        # Every metric was asked for once before, so that claims are made and kept.
        for times in ({}, metric):
            times[path] = statistics.median(_choose(page, "Metric", one) for one in METRICS)
        data[path] = _filter(page)
        page.close()
    for what, times in {
        "first chart in a new tab": opened,
        "the same again": again,
        "change of the metric, all drawn": metric,
        "change of the datasets, all drawn": data,
    }.items():
        worst = max(times, key=lambda path: times[path])
        found[f"{what}, Verdict"] = times[""]
        found[f"{what}, slowest page"] = times[worst]
        print(what, {path or "verdict": round(value, 2) for path, value in times.items()})


def _opened(browser: Any) -> Any:
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.set_default_timeout(120_000)
    return page


def _settle(page: Any) -> None:
    page.locator(DRAWN).wait_for()
    page.wait_for_timeout(700)


def _choose(page: Any, box: str, value: str) -> float:
    """Seconds from choosing another value until the script has run and what it sent is drawn."""
    page.get_by_role("combobox", name=box).first.click()
    option = page.get_by_role("option", name=value, exact=True)
    option.wait_for()
    began = time.perf_counter()
    option.click()
    said = "metric" if box == "Metric" else "datasets"
    page.get_by_text(f"{said}: {value}").first.wait_for()
    page.locator(DRAWN).wait_for()
    found = _since(began)
    page.wait_for_timeout(500)
    return found


def _filter(page: Any) -> float:
    page.get_by_role("combobox", name="Datasets").first.click()
    page.get_by_role("option").last.wait_for()
    value = page.get_by_role("option").last.inner_text()
    page.keyboard.press("Escape")
    return _choose(page, "Datasets", value)


def _since(began: float) -> float:
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
