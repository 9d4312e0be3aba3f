"""The app in a real headless browser: what a person does, on a laptop, a phone and in the dark.

Needs playwright and a Chromium on the path (Debian: `apt-get install chromium`); skipped without.
"""

from __future__ import annotations

import csv
import os
import re
import shutil
import sys
from itertools import pairwise
from pathlib import Path

import app_toys
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "app"))
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
pytest.importorskip("gradio", reason="the web app's own requirement")
playwright = pytest.importorskip("playwright.sync_api", reason="browser tests need playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None:
    pytest.skip("browser tests need Chromium on the path", allow_module_level=True)

from diger_app.library import Library  # noqa: E402
from diger_app.serve import serve  # noqa: E402
from diger_app.settings import Settings  # noqa: E402

expect = playwright.expect
LAPTOP, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    bundles = app_toys.pair(tmp_path_factory.getbasetemp())
    blocks = serve(Library.open([str(bundles)]), Settings(sources=()), block=False)
    yield blocks.local_url
    blocks.close()


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as engine:
        started = engine.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


class Visit:
    """A page with what went wrong on it: script errors, and requests to elsewhere."""

    def __init__(self, browser, url, query="", size=LAPTOP, **options):
        self.context = browser.new_context(viewport=size, **options)
        self.page = self.context.new_page()
        self.page.set_default_timeout(60_000)
        expect.set_options(timeout=60_000)
        self.wrong: list[str] = []
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("request", self._request)
        self.url = url
        self.page.goto(url + query)
        expect(self.page.locator(".rec").first).to_be_attached()

    def _request(self, request):
        if not request.url.startswith((self.url, "data:", "blob:")):
            self.wrong.append(f"asked {request.url}")


@pytest.fixture
def visit(browser, url):
    visits = []

    def go(query="", **options):
        visits.append(Visit(browser, url, query, **options))
        return visits[-1].page

    yield go
    for one in visits:
        assert one.page.evaluate("window.hurt") is None, "text from data was run"
        assert one.wrong == []
        one.context.close()


TABS = {
    "recommend": "Recommend",
    "think": "Watch it think",
    "explore": "Explore the SIDs",
    "new": "A new item",
    "share": "Take it away",
    "about": "About",
}


def wide_free(page):
    """What reaches beyond the right edge of the window: nothing should."""
    return page.evaluate(
        """() => [...document.querySelectorAll('main *')]
          .filter((e) => e.checkVisibility() && e.children.length === 0)
          .filter((e) => !e.closest('.scroll, .example-list, .sr, .skip, .tab-wrapper, pre, svg'))
          .filter((e) => e.getBoundingClientRect().right > innerWidth + 1)
          .map((e) => e.outerHTML.slice(0, 100))
          .concat(document.documentElement.scrollWidth > innerWidth ? ['the page'] : [])"""
    )


def tab(page, name):
    page.get_by_role("tab", name=name).click()


def test_build_a_history_with_the_keyboard_and_recommend(visit):
    page = visit()
    page.get_by_role("button", name="Clear").click()
    expect(page.locator(".hist-none")).to_be_visible()
    search = page.get_by_role("combobox", name="Add an item")
    search.fill("red kite 3")
    expect(page.locator("#add-item-list [role=option]").first).to_have_text(
        re.compile("Red kite 3")
    )
    search.press("Enter")
    search.fill("zzqqxx")
    expect(page.locator(".combo li.none").first).to_contain_text("try a word of the title")
    search.press("Escape")
    expect(page.locator("#add-item-list")).to_be_hidden()
    search.fill("blue")
    expect(page.locator("#add-item-list [role=option]")).to_have_count(8)
    search.press("ArrowDown")
    search.press("Enter")
    rows = page.locator(".hist-list li")
    expect(rows).to_have_count(2)
    second = rows.nth(1).locator(".hist-title").inner_text()
    page.get_by_role("button", name=f"Move {second} earlier").click()
    expect(rows.first.locator(".hist-title")).to_have_text(second)
    expect(page.locator(".is-stale")).to_have_count(0)
    expect(page.locator(".rec")).to_have_count(20)
    assert page.locator(".reading tbody tr").count() == 2
    expect(page).to_have_url(re.compile(r"history=i\d+,i3(&|$)"))
    rows.first.get_by_role("button", name=re.compile("Remove")).click()
    expect(rows).to_have_count(1)


def test_lists_follow_every_change_and_the_last_one_counts(visit):
    page = visit("?history=i1,i2,i3,i4,i5,i6")
    expect(page.locator(".rec")).to_have_count(20)
    rows = page.locator(".hist-list li")
    for left in (5, 4, 3):  # faster than the answers come
        rows.last.get_by_role("button", name=re.compile("Remove")).click()
        expect(rows).to_have_count(left)
    expect(page.locator(".is-stale")).to_have_count(0)
    expect(page).to_have_url(re.compile(r"history=i1,i2,i3(&|$)"))
    page.get_by_role("button", name="Paste a list").click()
    page.get_by_label("Titles or ids, one a line").fill("Red kite 4")
    page.get_by_role("button", name="Add to the history").click()
    expect(page).to_have_url(re.compile(r"history=i1,i2,i3,i\d+(&|$)"))


def test_an_answer_to_an_older_history_does_not_pass_as_current(visit):
    page = visit("?history=i1,i2")
    expect(page.locator(".rec")).to_have_count(20)
    page.evaluate("window.diger.wanted = ['i1']; window.diger.stale(true)")
    page.evaluate("window.diger.arrived(document.querySelector('.compare-results'))")
    expect(page.locator(".compare-results.is-stale").first).to_be_attached()
    page.evaluate("window.diger.wanted = ['i1', 'i2']")
    page.evaluate("window.diger.arrived(document.querySelector('.compare-results'))")
    expect(page.locator(".is-stale")).to_have_count(0)


def test_an_empty_history_says_what_to_do(visit):
    page = visit()
    page.get_by_role("button", name="Clear").click()
    expect(page.locator(".compare-results .empty")).to_contain_text("Start with a history")


def test_an_example_and_a_shared_link_restores_the_view(visit):
    page = visit()
    page.get_by_role("button", name=re.compile("A day at sea")).click()
    expect(page.locator(".hist-list li")).to_have_count(2)
    expect(page.locator(".reading tbody tr")).to_have_count(2)
    tab(page, "Take it away")
    link = page.locator("#share-link")
    expect(link).to_have_value(re.compile("history=i20,i9"))
    shared = link.input_value()
    titles = page.locator(".rec .item").all_inner_texts()
    again = visit(shared[shared.index("?") :])
    expect(again.get_by_role("tab", name="Take it away")).to_have_attribute("aria-selected", "true")
    tab(again, "Recommend")
    expect(again.locator(".hist-list li")).to_have_count(2)
    assert again.locator(".rec .item").all_inner_texts() == titles


def test_watch_it_think_from_a_link_and_step_by_step(visit):
    page = visit("?tab=think&side=right&tree_beam=3")
    expect(page.locator(".think h3")).to_contain_text("differentiable")
    expect(page.locator(".node.kept.depth-1")).to_have_count(3)
    expect(page.locator(".branch .state").first).to_have_text("dropped")
    page.get_by_label("level 1").check()
    expect(page.locator(".depth-2").first).to_be_hidden()
    page.get_by_label("items").check()
    expect(page.locator(".depth-3").first).to_be_visible()
    page.get_by_label("● static").check()
    expect(page.locator(".think h3")).to_contain_text("static")
    expect(page).to_have_url(re.compile(r"tree_beam=3"))
    expect(page).not_to_have_url(re.compile("side="))


def test_explore_by_pressing_titles_codes_and_the_map(visit):
    page = visit()
    page.locator(".rec .item").first.click()
    expect(page.locator(".own-sid")).to_have_count(2)
    expect(page.get_by_role("tab", name="Explore the SIDs")).to_have_attribute(
        "aria-selected", "true"
    )
    page.get_by_label("Codes from the top").check()
    page.locator(".tile").first.click()
    expect(page.locator(".breadcrumb li")).to_have_count(2)
    page.locator(".tile").first.click()
    expect(page.locator(".names-wide .item").first).to_be_visible()
    page.get_by_role("button", name="all items").click()
    expect(page.locator(".breadcrumb li")).to_have_count(1)
    page.get_by_label("Map").check()
    box = page.locator(".map svg")
    expect(box).to_be_visible()
    points = page.evaluate(
        "JSON.parse(document.querySelector('.map').dataset.points).xy.slice(0, 2)"
    )
    frame = box.bounding_box()
    at = {
        "x": frame["width"] * points[0] / 1000,
        "y": frame["height"] * (1000 - points[1]) / 1000,
    }
    box.hover(position=at)
    expect(page.locator(".map-tip.is-on")).not_to_be_empty()
    box.click(position=at)
    expect(page.locator(".map .here")).to_be_attached()
    page.get_by_label("What moved").check()
    expect(page.locator(".moved tbody tr")).to_have_count(2)
    search = page.get_by_role("combobox", name="Look up an item")
    search.fill("boat 4")
    search.press("Enter")  # at once: what is still shown is not what was typed
    expect(page.locator(".item-head h3")).to_contain_text("Blue boat 4")
    expect(page).to_have_url(re.compile("item=i17"))


def test_paste_and_hostile_titles(visit):
    page = visit("?history=i9,i10,i11")
    expect(page.locator(".hist-title").first).to_have_text(app_toys.HOSTILE)
    page.get_by_role("button", name="Paste a list").click()
    page.get_by_label("Titles or ids, one a line").fill("Red kite 4\nRed kit 5 (1965)\n<b>🐟")
    page.get_by_role("button", name="Add to the history").click()
    expect(page.locator(".hist-list li")).to_have_count(4)
    page.locator(".offer").first.click()
    expect(page.locator(".hist-list li")).to_have_count(5)
    assert page.locator(".results img, .history img").count() == 0


def test_a_hostile_link_is_explained(visit):
    page = visit("?dataset=%3Cscript%3Ewindow.hurt%3D1%3C%2Fscript%3E&k=zz&history=nope&tab=x")
    expect(page.locator(".banner .notice").first).to_be_visible()
    assert "Traceback" not in page.inner_text("body")


def test_free_decoding_and_settings_go_into_the_link(visit):
    page = visit()
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("free, may invent SIDs").check()
    expect(page.locator(".footnote")).to_contain_text("Decoded freely")
    expect(page).to_have_url(re.compile("decoding=free"))


def test_downloads_and_copying(visit):
    page = visit()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    tab(page, "Take it away")
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download CSV").click()
    text = Path(waiting.value.path()).read_text(encoding="utf-8")
    lines = list(csv.DictReader(text.splitlines()))
    assert len(lines) == 20 and lines[0]["probability"]
    page.get_by_role("button", name="Copy link").click()
    assert (
        page.evaluate("navigator.clipboard.readText()") == page.locator("#share-link").input_value()
    )
    expect(page.locator("#share-code")).to_contain_text('api_name="/recommend"')


def test_a_new_item_answers_or_says_what_is_missing(visit):
    page = visit()
    tab(page, "A new item")
    page.get_by_label("Title", exact=True).fill("A green kite")
    button = page.get_by_role("button", name="Name it")
    if button.is_enabled():
        button.click()
        # Toy bundles were trained on made-up vectors, which no text can be turned into.
        expect(page.locator(".new-results .notice").first).to_contain_text("trainer's own")
    else:
        expect(page.locator(".notice").first).to_contain_text("diger-studio[text]")


def test_dark_mode_by_button_and_by_system(visit):
    page = visit()
    ground = "getComputedStyle(document.querySelector('.gradio-container')).backgroundColor"
    light = page.evaluate(ground)
    page.get_by_role("button", name="Switch to the dark theme").click()
    dark = page.evaluate(ground)
    assert dark != light
    page.reload()
    expect(page.get_by_role("button", name="Switch to the light theme")).to_be_visible()
    other = visit(color_scheme="dark")
    expect(other.get_by_role("button", name="Switch to the light theme")).to_be_visible()
    assert other.evaluate(ground) == dark


@pytest.mark.parametrize("width", [768, 3840])
def test_no_page_scrolls_sideways(visit, width):
    page = visit("?item=i3", size={"width": width, "height": 844})
    for name in ("think", "explore", "new", "share", "about", "recommend"):
        tab(page, TABS[name])
        page.wait_for_timeout(250)
        assert wide_free(page) == [], (name, width)


@pytest.mark.parametrize("name", TABS)
def test_the_narrowest_phone_sees_all_of_a_page(visit, name):
    page = visit(f"?tab={name}&item=i3", size={"width": 360, "height": 740})
    page.wait_for_timeout(400)
    assert wide_free(page) == []


def test_a_phone_gets_one_column_and_reaches_every_tab(visit):
    page = visit(size=PHONE)
    assert page.locator(".links").first.is_hidden()
    sides = [box.bounding_box() for box in page.locator(".compare > .side").all()]
    assert sides[1]["y"] > sides[0]["y"] + sides[0]["height"] - 1
    rows = [row.bounding_box() for row in page.locator(".rec").all()[:4]]
    assert all(a["y"] + a["height"] <= b["y"] + 1 for a, b in pairwise(rows))
    page.get_by_role("button", name=re.compile("more tabs|…|options", re.IGNORECASE)).or_(
        page.locator(".overflow-menu > button")
    ).first.click()
    page.locator(".overflow-dropdown button", has_text="About").click()
    expect(page.get_by_text("What a semantic ID is")).to_be_visible()
    expect(page.locator(".simulated, .about .table").first).to_be_attached()


def test_everything_pressable_has_a_name_and_text_has_contrast(visit):
    for scheme in ("light", "dark"):
        page = visit("?item=i3", color_scheme=scheme)
        for name in ("recommend", "think", "explore", "share"):
            page.evaluate(f"document.querySelector('[role=tab][data-tab-id={name}]').click()")
            page.wait_for_timeout(600)
            assert page.evaluate(NAMELESS) == [], name
            assert page.evaluate(CONTRAST) == [], (scheme, name)


NAMELESS = """() => [...document.querySelectorAll('button, input, select, textarea, a[href]')]
  .filter((e) => e.checkVisibility() && !e.closest('footer, [aria-hidden=true]'))
  .filter((e) => !(e.textContent.trim() || e.getAttribute('aria-label') || e.title
    || e.placeholder || (e.labels && e.labels.length) || e.getAttribute('aria-labelledby')))
  .map((e) => e.outerHTML.slice(0, 120))"""

# Text against the nearest painted ground behind it, by the formula of WCAG 2; 4.5, large text 3.
CONTRAST = """() => {
  const paint = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const rgba = (colour) => {
    paint.clearRect(0, 0, 1, 1); paint.fillStyle = colour; paint.fillRect(0, 0, 1, 1);
    return [...paint.getImageData(0, 0, 1, 1).data];
  };
  const light = (c) => {
    const [r, g, b] = c.slice(0, 3).map((v) => v / 255)
      .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const c = rgba(getComputedStyle(e).backgroundColor);
      if (c[3] > 250) return c;
    }
    return [255, 255, 255, 255];
  };
  const bad = new Set();
  const walk = document.createTreeWalker(document.querySelector('main'), NodeFilter.SHOW_TEXT);
  for (let n = walk.nextNode(); n; n = walk.nextNode()) {
    const e = n.parentElement;
    if (!n.textContent.trim() || !e.checkVisibility({ opacityProperty: true })) continue;
    if (e.closest('.mark, .sr, :disabled, svg, [aria-hidden=true]')) continue;
    const style = getComputedStyle(e), a = light(rgba(style.color)), b = light(ground(e));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.6 && Number(style.fontWeight) >= 700);
    if (ratio < (large ? 3 : 4.5)) bad.add(`${e.className || e.tagName} ${ratio.toFixed(2)}`);
  }
  return [...bad];
}"""
