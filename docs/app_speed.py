"""How fast the web app is for a person, and for sixteen at once.

    python docs/app_speed.py [BUNDLES ...] [--catalogue FILE]

Starts the app with these arguments (none: all of checkpoints/) as a process of its own, and prints
the table of docs/app.md, from a headless Chromium and the API: something on the page, the first
recommendations, a change of the history until both lists are there, and sixteen people asking at
once. On an otherwise idle machine, or the figures mean nothing.
"""

from __future__ import annotations

import random
import shutil
import socket
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CLICKS, PEOPLE, ASKED_EACH = 30, 16, 12
CLICK = """async () => {
  const began = performance.now();
  [...document.querySelectorAll('.hist-tools button:last-child')].pop().click();
  while (document.querySelector('.is-stale')) await new Promise(requestAnimationFrame);
  return performance.now() - began;
}"""


def main() -> None:
    """Start the app, measure, stop it."""
    given = sys.argv[1:]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    from playwright.sync_api import sync_playwright

    with sync_playwright() as engine:
        browser = engine.chromium.launch(
            executable_path=shutil.which("chromium") or shutil.which("chromium-browser"),
            args=["--no-sandbox"],
        )
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        began = time.perf_counter()
        app = subprocess.Popen(
            [sys.executable, str(ROOT / "app" / "app.py"), "--port", str(port), *given],
            stdout=subprocess.DEVNULL,
        )
        try:
            url = f"http://127.0.0.1:{port}"
            _wait(url)
            listening = time.perf_counter()
            page.goto(url, wait_until="commit")
            page.locator("h1").first.wait_for()
            shown = time.perf_counter()
            page.locator(".rec").first.wait_for()
            start = time.perf_counter() - began
            print(f"| the app listens, from the start of the process | {listening - began:.1f} s |")
            print(f"| something on the page, from opening it | {shown - listening:.1f} s |")
            print(f"| first recommendations, from the start of the process | {start:.1f} s |")
            histories = _histories(url)
            _say(
                "a change of the history until both lists are there", _clicks(page, url, histories)
            )
            browser.close()
            _say("sixteen people asking at once, without a pause", _people(url, histories))
        finally:
            app.terminate()
            app.wait()


def _wait(url: str) -> None:
    for _ in range(600):
        try:
            urllib.request.urlopen(url, timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    sys.exit("the app did not start within a minute")


def _histories(url: str) -> list[list[str]]:
    """One history of five items a person, from what the search finds."""
    from gradio_client import Client

    client = Client(url, verbose=False)
    found = [
        one["item_id"]
        for letter in "aeiost"
        for one in client.predict(query=letter, api_name="/search")
    ]
    draw = random.Random(0)
    return [draw.sample(found, 5) for _ in range(PEOPLE)]


def _clicks(page, url: str, histories: list[list[str]]) -> list[float]:  # type: ignore[no-untyped-def]
    """Milliseconds from a removed item to both lists, over histories of several lengths."""
    times: list[float] = []
    for history in histories:
        page.goto(f"{url}/?history={','.join(history)}")
        page.locator(".rec").first.wait_for()
        page.wait_for_timeout(500)
        while page.locator(".hist-list li").count() > 1 and len(times) < CLICKS:
            page.wait_for_timeout(200)  # the link settles
            times.append(page.evaluate(CLICK))
    return times


def _people(url: str, histories: list[list[str]]) -> list[float]:
    """Milliseconds of each request of sixteen clients; every answer is checked to be one's own."""
    from gradio_client import Client

    clients = [Client(url, verbose=False) for _ in range(PEOPLE)]
    alone = [
        client.predict(history=history, k=10, api_name="/recommend")
        for client, history in zip(clients, histories, strict=True)
    ]
    times: list[float] = []
    wrong: list[str] = []
    start = threading.Barrier(PEOPLE)

    def person(number: int) -> None:
        start.wait()
        for _ in range(ASKED_EACH):
            began = time.perf_counter()
            answer = clients[number].predict(history=histories[number], k=10, api_name="/recommend")
            times.append(1000 * (time.perf_counter() - began))
            if answer != alone[number]:
                wrong.append(f"person {number} saw another answer")

    threads = [threading.Thread(target=person, args=(n,)) for n in range(PEOPLE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong or len(times) != PEOPLE * ASKED_EACH:
        sys.exit(f"{len(times)} of {PEOPLE * ASKED_EACH} answers; {wrong[:3]}")
    return times


def _say(what: str, milliseconds: list[float]) -> None:
    p95 = statistics.quantiles(milliseconds, n=20)[-1]
    print(f"| {what}, median / p95 | {statistics.median(milliseconds):.0f} / {p95:.0f} ms |")


if __name__ == "__main__":
    main()
