"""Calls and query strings that hypothesis makes up, and what is checked of each answer."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import quote

import app_toys
import core_toys
import hostile
import httpx
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest
from toy_bundles import write_study

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "app")]
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["GRADIO_ANALYTICS_MAX_EVENTS"] = "1"  # as app/app.py has it

import gradio as gr  # noqa: E402
from diger_app.library import Library  # noqa: E402
from diger_app.page import Page  # noqa: E402
from diger_app.serve import serve  # noqa: E402
from diger_app.settings import Settings  # noqa: E402
from diger_app.view import View as AppView  # noqa: E402

from dashboard import pictures, sources  # noqa: E402
from dashboard.view import View as BoardView  # noqa: E402
from diger.bundle import schema  # noqa: E402
from diger.model import load_model  # noqa: E402

IDS = [f"i{row}" for row in range(core_toys.N_ITEMS)]
Row = tuple[str, str, str]

# ---- what is asked ------------------------------------------------------------------------------

HARM = [
    "<script>window.hurt=1</script>",
    "<img src=x onerror=window.hurt=1>",
    "{{window.hurt=1}} ${window.hurt=1} `",
    "\"' onmouseover=window.hurt=1 x='",
    "javascript:window.hurt=1",
    "../../etc/passwd",
    "\x00\x1b[31m\u202e\ud800",
    "x" * 5000,
    "9" * 400,
    "%00%zz&=;",
    "'; DROP TABLE items; --",
    "سفينة 🐟 é",
]
TEXT = st.one_of(st.text(max_size=30), st.sampled_from(HARM))
NAMES = st.sampled_from(["toy", "toy-static-s0", "toy-differentiable-s0", "Toy", "", "i3", "kite"])
LEAF = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.integers(-2, 120),
    st.floats(allow_nan=True),
    TEXT,
    NAMES,
)
ANY = st.recursive(
    LEAF,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
HISTORY = st.one_of(
    st.lists(st.sampled_from(IDS), min_size=1, max_size=12),
    st.lists(st.sampled_from(IDS), min_size=1, max_size=12),
    st.lists(st.one_of(st.sampled_from(IDS), TEXT), max_size=110),
    ANY,
)
NUMBER = st.one_of(st.integers(1, 20), ANY)
NAME = st.one_of(NAMES, ANY)
FLAG = st.one_of(st.booleans(), ANY)
HOW = st.one_of(st.sampled_from(["beam", "telling", "free"]), ANY)
WORDS = st.one_of(TEXT, ANY)
ARGUMENTS = {
    "datasets": st.tuples(),
    "no-such-function": st.tuples(),
    "search": st.tuples(WORDS, NAME, NUMBER),
    "recommend": st.tuples(HISTORY, NAME, NAME, NUMBER, NUMBER, FLAG, HOW, NAME),
    "item": st.tuples(st.one_of(st.sampled_from(IDS), WORDS), NAME),
    "beam_tree": st.tuples(HISTORY, NAME, NAME, NUMBER),
    "new_item": st.tuples(WORDS, WORDS, HISTORY, NAME, NAME, FLAG),
}
CALLS = st.sampled_from(list(ARGUMENTS)).flatmap(
    lambda name: st.tuples(st.just(name), st.one_of(ARGUMENTS[name], st.lists(ANY, max_size=9)))
)
APP_KEYS = [one.name for one in fields(AppView)]
APP_VALUES = st.one_of(
    TEXT,
    NAMES,
    st.lists(st.sampled_from(IDS), max_size=6).map(",".join),
    st.sampled_from(
        ["recommend", "think", "explore", "new", "share", "about", "free", "map", "browse", "moved"]
    ),
    st.integers(-1, 101).map(str),
    st.sampled_from(["1-2", "0", "1", "left", "right", "item", "999999-1"]),
)
BOARD_KEYS = [*(one.name for one in fields(BoardView)), "projector", "slide", "embed", "pages"]
BOARD_VALUES = st.one_of(
    TEXT, NAMES, st.integers(-1, 40).map(str), st.sampled_from(["ndcg@10", "recall@10", "true"])
)


def queries(keys: list[str], values: st.SearchStrategy[str]) -> st.SearchStrategy[list[Any]]:
    """Names and values of a query string."""
    return st.lists(st.tuples(st.one_of(st.sampled_from(keys), TEXT), values), max_size=7)


def written(pairs: list[Any]) -> str:
    """A query string as anybody may type it."""
    return "&".join(
        "=".join(quote(p.encode("utf-8", "replace"), safe="<>'") for p in pair) for pair in pairs
    )


def often(strategy: Any, times: int, check: Callable[[Any], None]) -> int:
    """Check so many examples, the same ones each time; hypothesis shrinks what fails."""
    made = 0

    @settings(
        max_examples=times,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def each(value: Any) -> None:
        nonlocal made
        made += 1
        check(value)

    each()
    return made


# ---- what is checked ----------------------------------------------------------------------------


class _Markup(HTMLParser):
    """HTML of ours that holds nothing that runs."""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "iframe", "object", "embed", "img", "base", "meta", "b2"), tag
        for name, value in attributes:
            assert not name.startswith("on"), attributes
            assert not (value or "").strip().lower().startswith("javascript:"), attributes


def harmless(html: str) -> None:
    """No markup of a stranger's, no trace, nothing that Gradio would take for a template."""
    _Markup().feed(html)
    assert "Traceback" not in html and "{{" not in html and "${" not in html
    assert "Something went wrong" not in html, html[:3000]


class Truth:
    """What the bundles themselves say, without the app."""

    def __init__(self, bundles: Path) -> None:
        self._models = {path.name: load_model(path) for path in bundles.iterdir()}
        first = next(iter(self._models.values()))
        self._rows = {str(item): row for row, item in enumerate(first.item_ids)}

    def check(self, name: str, arguments: Sequence[Any], answer: Any) -> None:
        """Every item of an answer exists, can be seen, and is the one that it says it is."""
        for one in _items_of(answer):
            assert one["item_id"] in self._rows, one
            assert one["title"].strip() and one["title"].isprintable(), one
        if name == "item":
            assert answer["item_id"] == arguments[0]
            for side in answer["sids"]:
                row = self._rows[arguments[0]]
                assert side["sid"] == self._models[side["bundle"]].sid_of(row)
        if name == "recommend":
            assert [one["item_id"] for one in answer["history"]] == list(arguments[0])
            for result in answer["results"]:
                self._check_list(answer["settings"], arguments[0], result)

    def _check_list(self, chosen: Any, history: Sequence[str], result: Any) -> None:
        model, listed = self._models[result["bundle"]], result["recommendations"]
        assert [one["rank"] for one in listed] == list(range(1, len(listed) + 1))
        named = [one for one in listed if one["item_id"] is not None]
        assert len({one["sid"] for one in listed}) == len(listed)
        shown = [self._rows[item] for item in history][-model.recipe.training.max_history :]
        exact = model.item_scores(torch.tensor([shown]), torch.tensor([len(shown)]))[0]
        for one in named:
            row = self._rows[one["item_id"]]
            assert one["sid"] == model.sid_of(row)
            assert abs(one["log_probability"] - float(exact[row])) < 1e-3, one
        if chosen["decoding"] != "telling":
            scores = [one["log_probability"] for one in listed]
            assert scores == sorted(scores, reverse=True)
        if chosen["decoding"] != "free":
            free = set(self._rows) - (set(history) if chosen["leave_out_seen"] else set())
            assert {one["item_id"] for one in named} <= free
            assert len(named) == len(listed) == min(chosen["k"], len(free))


def _items_of(answer: Any) -> Iterator[dict[str, Any]]:
    """Every item named anywhere within an answer."""
    if isinstance(answer, dict):
        if answer.get("item_id") is not None and "title" in answer:
            yield answer
        answer = list(answer.values())
    if isinstance(answer, list):
        for one in answer:
            yield from _items_of(one)


# ---- the windows --------------------------------------------------------------------------------


@contextlib.contextmanager
def served() -> Iterator[tuple[str, Page, Truth]]:
    """The app on the toy pair, one with a card of scripts, at a loopback address."""
    logging.getLogger("diger_app").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as place, contextlib.redirect_stderr(io.StringIO()):
        bundles = app_toys.pair(Path(place))
        card = "\n".join(HARM).encode("utf-8", "replace")
        hostile.write(bundles / "toy-static-s0", schema.CARD, card)
        library = Library.open([str(bundles)])
        blocks = serve(library, Settings(sources=()), block=False)
        try:
            yield blocks.local_url, Page(library), Truth(bundles)
        finally:
            blocks.close()


def ask(client: httpx.Client, name: str, arguments: Any) -> tuple[str, Any]:
    """`complete`, `error` or the HTTP status, and what came."""
    body = json.dumps({"data": list(arguments)}).encode("utf-8", "replace")
    call = f"gradio_api/call/{name}"
    reply = client.post(call, content=body, headers={"Content-Type": "application/json"})
    if reply.status_code == 200:
        reply = client.get(f"{call}/{reply.json()['event_id']}")
    if reply.status_code != 200:
        return str(reply.status_code), reply.text
    kinds = [line[7:] for line in reply.text.splitlines() if line.startswith("event: ")]
    data = [line[6:] for line in reply.text.splitlines() if line.startswith("data: ")]
    return kinds[-1], json.loads(data[-1])


def api_calls(times: int) -> Iterator[Row]:
    """Calls over HTTP, each answer compared with the models themselves."""
    seen: Counter[str] = Counter()
    with served() as (url, _, truth), httpx.Client(base_url=url, timeout=60) as client:

        def check(call: Any) -> None:
            name, arguments = call
            kind, answer = ask(client, name, arguments)
            said = json.dumps(answer)
            assert not kind.startswith("5"), (kind, said)
            for trace in ("Traceback", "Something went wrong", 'File \\"', str(ROOT)):
                assert trace not in said, said
            seen[kind] += 1
            if kind == "error":
                assert len(answer["error"]) > 10, (call, answer)
            if kind == "complete":
                truth.check(name, arguments, answer[0])

        often(CALLS, times, check)
    names = {"complete": "answered", "error": "refused in a sentence"}
    told = ", ".join(f"{count:,} {names.get(kind, kind)}" for kind, count in seen.most_common())
    said = f"{told}; no stack trace, no 500, each item the right one with its SID and probability"
    yield "calls to the app's API, over HTTP", f"{seen.total():,}", said


def app_queries(times: int, in_browser: int) -> Iterator[Row]:
    """Links of the app: what the page is filled with, and a real browser, which would run it."""
    strategy = queries(APP_KEYS, APP_VALUES)
    with served() as (url, page, _), httpx.Client(base_url=url, timeout=60) as client:

        def check(pairs: Any) -> None:
            query = written(pairs)
            reply = client.get(f"/?{query}")
            assert reply.status_code == 200 and "window.hurt" not in reply.text
            for shown, value in page._restore("?" + query).items():
                if isinstance(shown, gr.HTML) and isinstance(value, str):  # others show plain text
                    harmless(value)

        check([("tab", "about")])  # the cards
        made = often(strategy, times, check)
        said = "always a page; no markup of the link's, or of a bundle's card, in it"
        yield "query strings of the app", f"{made:,}", said
        if in_browser:
            yield _in_a_browser("app", url, strategy, in_browser, ".rec, .notice, .empty")


def dashboard_queries(times: int, in_browser: int) -> Iterator[Row]:
    """Links of the dashboard, over its pages."""
    made, strategy = 0, queries(BOARD_KEYS, BOARD_VALUES)
    logging.getLogger("streamlit").setLevel(logging.CRITICAL)
    entry = str(ROOT / "dashboard" / "window.py")
    with tempfile.TemporaryDirectory() as place:
        write_study(place, seeds=2, users=120, epochs=3)
        os.environ[sources.VARIABLE], sys.argv = place, ["streamlit"]
        pages = sorted(AppTest.from_file(entry, default_timeout=120).run()._registered_pages)

        def check(pairs: Any) -> None:
            nonlocal made
            fresh = AppTest.from_file(entry, default_timeout=120)
            for name, value in pairs:
                name, value = (p.encode("utf-8", "replace").decode() for p in (name, value))
                if name:
                    fresh.query_params[name] = value
            fresh._page_hash = pages[made % len(pages)]
            made += 1
            fresh.run()
            assert not fresh.exception, fresh.exception
            for element in (*fresh.markdown, *fresh.get("html")):
                text = getattr(element, "value", None) or element.proto.body
                assert not getattr(element, "allow_html", True) or "window.hurt" not in text

        often(strategy, times, check)
        said = "always a page, no exception, no HTML of the link's"
        yield f"query strings of the dashboard, over {len(pages)} pages", f"{made:,}", said
        if in_browser:
            with pictures.served(place) as url:
                ready = '[data-testid="stMain"] h1, [data-testid="stMain"] h2'
                yield _in_a_browser("dashboard", url, strategy, in_browser, ready)


def _in_a_browser(window: str, url: str, strategy: Any, times: int, ready: str) -> Row:
    from playwright.sync_api import sync_playwright

    links = ["tab=about"]
    often(strategy, times, lambda pairs: links.append(written(pairs)))
    with sync_playwright() as engine:
        browser = engine.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page()
        for query in links:
            page.goto(f"{url.rstrip('/')}/?{query}")
            page.locator(ready).first.wait_for(state="attached", timeout=120_000)
            assert not page.evaluate("window.hurt"), query
            assert not page.locator('[data-testid="stException"]').count(), query
        browser.close()
    return f"query strings of the {window} in Chromium", f"{len(links):,}", "nothing was executed"
