"""Many people at once on the app: each asks, waits for both lists, reads, and asks again."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[2]
SESSIONS = 1000  # that the app keeps
READING = 1.0  # seconds on average between an answer and the next question
Row = tuple[str, str, str]


def crowd(sizes: tuple[int, ...], seconds: float) -> Iterator[Row]:
    """So many people, one crowd after another, on the films, in one process of the app."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    films = sorted(map(str, (ROOT / "checkpoints").glob("films-*s0")))
    with tempfile.TemporaryFile() as log:
        app = subprocess.Popen(
            [sys.executable, str(ROOT / "app" / "app.py"), "--port", str(port), *films],
            stdout=log,
            stderr=log,
        )
        try:
            url = f"http://127.0.0.1:{port}"
            ids = _wait(url)
            asyncio.run(_people(url, ids, 16, 10.0))  # all that is made once is made
            for _ in range(SESSIONS):  # and as many sessions kept as are kept
                httpx.post(f"{url}/gradio_api/call/datasets", json={"data": []}, timeout=60)
            before = _memory(app.pid)
            for size in sizes:
                times, ended = asyncio.run(_people(url, ids, size, seconds))
                times.sort()
                cuts = statistics.quantiles(times, n=100)
                wrong = ", ".join(f"{n} {what}" for what, n in ended.items() if what != "right")
                yield (
                    f"{size} people at once for {seconds:.0f} s",
                    f"{ended.total():,} recommendations",
                    f"median {cuts[49]:.2f} s, p95 {cuts[94]:.2f} s, p99 {cuts[98]:.2f} s, longest "
                    f"{times[-1]:.2f} s; {wrong or 'no error, no wrong answer'}",
                )
            time.sleep(5)
            after = _memory(app.pid)
            log.seek(0)
            traces = log.read().count(b"Traceback")
            yield (
                "memory of the app before and after",
                "1",
                f"{before / 2**20:.0f} MiB, {after / 2**20:.0f} MiB; {traces} traces in its log",
            )
        finally:
            app.terminate()
            app.wait()


def _wait(url: str) -> list[str]:
    """Until it answers; ids of some items."""
    for _ in range(1200):
        try:
            found = [httpx.get(f"{url}/config", timeout=5)]
            break
        except httpx.HTTPError:
            time.sleep(0.1)
    ids: dict[str, None] = {}
    for letter in "aeiostrnlm":
        event = httpx.post(
            f"{url}/gradio_api/call/search", json={"data": [letter, "", 50]}, timeout=60
        ).json()["event_id"]
        text = httpx.get(f"{url}/gradio_api/call/search/{event}", timeout=60).text
        data = next(line[6:] for line in text.splitlines() if line.startswith("data: "))
        ids |= dict.fromkeys(one["item_id"] for one in json.loads(data)[0])
    assert found
    return list(ids)


async def _people(
    url: str, ids: list[str], size: int, seconds: float
) -> tuple[list[float], Counter[str]]:
    """Seconds of each answer, and how many were right or what else."""
    times: list[float] = []
    ended: Counter[str] = Counter()
    until = time.perf_counter() + seconds
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    async with httpx.AsyncClient(timeout=600, limits=limits) as client:

        async def person(number: int) -> None:
            draw = random.Random(number)
            await asyncio.sleep(draw.uniform(0, READING))
            while time.perf_counter() < until:
                history = draw.sample(ids, 5)
                began = time.perf_counter()
                try:
                    ended[await _ask(client, url, history)] += 1
                except Exception as error:
                    ended[type(error).__name__] += 1
                times.append(time.perf_counter() - began)
                await asyncio.sleep(draw.uniform(0.5 * READING, 1.5 * READING))

        await asyncio.gather(*map(person, range(size)))
    return times, ended


async def _ask(client: httpx.AsyncClient, url: str, history: list[str]) -> str:
    call = f"{url}/gradio_api/call/recommend"
    posted = await client.post(call, json={"data": [history, "", "", 10, 50, True, "beam", ""]})
    if posted.status_code != 200:
        return f"status {posted.status_code}"
    answer = (await client.get(f"{call}/{posted.json()['event_id']}")).text
    if "event: complete" not in answer:
        return answer.splitlines()[-1][:80]
    data = [line[6:] for line in answer.splitlines() if line.startswith("data: ")]
    made = json.loads(data[-1])[0]
    mine = [one["item_id"] for one in made["history"]] == history
    full = all(len(one["recommendations"]) == 10 for one in made["results"])
    return "right" if mine and full else "wrong"


def _memory(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise ValueError(pid)
