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

from diger.bundle import schema  # noqa: E402
from diger.bundle.reader import Bundle  # noqa: E402
from diger.tokenizer.suffix import assign_suffix  # noqa: E402

expect = playwright.expect
LAPTOP, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    bundles = app_toys.pair(tmp_path_factory.getbasetemp())
    blocks = serve(Library.open([str(bundles)]), Settings(sources=()), block=False)
    yield blocks.local_url
    blocks.close()


@pytest.fixture(scope="module")
def joint_from_static(tmp_path_factory):
    """A differentiable bundle that began with the codes of the static one beside it."""
    bundles = app_toys.pair(tmp_path_factory.getbasetemp())
    folder = tmp_path_factory.mktemp("joint")
    app_toys.copy_bundle(bundles / "toy-static-s0", folder / "toy-static-s0")

    def begin(_, items):
        codes = schema.numbered_columns(items, "code_")
        for column in codes:
            items[f"start_{column}"] = items[column]
        items.loc[:2, "code_1"] = (items.loc[:2, "code_1"] + 1) % 4
        items["suffix"] = assign_suffix(items[codes].to_numpy(), size=len(items)).astype("int32")
        items["start_suffix"] = items["suffix"]

    def joint(config, items):
        begin(config, items)
        config["name"] = "toy-differentiable-s0"
        config["arm"] = {**config["arm"], "method": "differentiable"}
        config["recipe"] = Bundle.open(bundles / "toy-differentiable-s0").config["recipe"]

    app_toys.copy_bundle(bundles / "toy-static-s0", folder / "toy-differentiable-s0", joint)
    blocks = serve(Library.open([str(folder)]), Settings(sources=()), block=False)
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

    def go(query="", url=url, **options):
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
          .filter((e) => !e.closest('.scroll, .example-list, .sr, .skip, .tab-wrapper'))
          .filter((e) => !e.closest('.zoom, pre, svg'))
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


def test_lists_of_an_older_history_never_pass_as_current(visit):
    page = visit("?history=i1,i2,i3")
    expect(page.locator(".rec")).to_have_count(20)
    held = []
    page.route(re.compile("/queue/join"), lambda route: held.append(route))  # answers wait
    rows = page.locator(".hist-list li")
    lists = page.locator(".compare-results.is-stale")
    rows.last.get_by_role("button", name=re.compile("Remove")).click()
    expect(rows).to_have_count(2)
    page.get_by_role("button", name="Paste a list").click()
    expect(page.get_by_label("Titles or ids, one a line")).to_be_visible()
    expect(lists.first).to_be_attached()
    rows.last.get_by_role("button", name=re.compile("Remove")).click()
    expect(rows).to_have_count(1)
    page.wait_for_timeout(300)
    late, held[:] = held[:1], held[1:]
    for one in late:  # the answer to two items, which nobody asks for any more
        one.continue_()
    page.wait_for_timeout(1500)
    expect(lists.first).to_be_attached()
    for one in held:
        one.continue_()
    page.unroute_all()
    expect(lists).to_have_count(0)
    assert page.locator(".banner .notice").count() <= 1


def test_an_empty_history_says_what_to_do(visit):
    page = visit()
    page.get_by_role("button", name="Clear").click()
    expect(page.locator(".compare-results .empty")).to_contain_text("Start with a history")


def test_the_strip_plays_can_be_skipped_and_is_still_for_who_asked(visit):
    page = visit()
    strip = page.locator(".strip")
    expect(strip).to_have_class(re.compile("is-playing"))
    last = strip.locator(".slot-end").first
    assert last.evaluate("(e) => getComputedStyle(e).opacity") == "0", "not written yet"
    page.get_by_role("button", name="Skip").click()
    expect(strip).not_to_have_class(re.compile("is-playing"))
    assert last.evaluate("(e) => getComputedStyle(e).opacity") == "1"
    page.get_by_role("button", name="Play it again").click()
    expect(strip).to_have_class(re.compile("is-playing"))
    page.locator(".hist-list li").first.get_by_role("button", name=re.compile("Remove")).click()
    expect(page.locator(".is-stale")).to_have_count(0)
    expect(strip).not_to_have_class(re.compile("is-playing"))  # a new answer is not kept waiting
    expect(strip.locator(".strip-title")).to_have_text(
        page.locator(".hist-list li .hist-title").last.inner_text()
    )
    calm = visit(reduced_motion="reduce")
    expect(calm.locator(".slot-end").first).to_be_visible()
    assert calm.locator(".strip.is-playing").count() == 0
    assert calm.locator(".strip-play").first.is_hidden()
    assert (
        calm.locator(".strip").first.evaluate("(e) => e.getAnimations({ subtree: true }).length")
        == 0
    )


def test_any_bundle_stands_in_a_column_and_in_the_link(visit):
    page = visit("?history=i1,i2")
    page.get_by_label("Add a column").select_option("toy-sasrec-s0")
    expect(page.locator(".compare > .side")).to_have_count(3)
    chosen = page.get_by_label("Model of column 1").locator("option:checked")
    expect(chosen).to_have_text(re.compile("Fixed names · static"))
    expect(page).to_have_url(re.compile("third=toy-sasrec-s0"))
    page.get_by_label("Model of column 1").select_option("toy-popularity-s0")
    expect(page.locator(".side-head h3").first).to_contain_text("popularity")
    expect(page.locator(".rec")).to_have_count(30)
    tab(page, "Explore the SIDs")  # of the column that has any
    expect(page.locator(".map")).to_be_visible()
    tab(page, "Recommend")
    page.get_by_label("Model of column 2").select_option("")
    expect(page.locator(".compare > .side")).to_have_count(2)
    expect(page).to_have_url(re.compile("left=toy-popularity-s0&right=toy-sasrec-s0"))
    expect(page.locator(".headline")).to_contain_text("left out")
    page.get_by_label("Model of column 2").select_option("toy-differentiable-s0")
    expect(page).to_have_url(re.compile("right=toy-differentiable-s0"))
    page.get_by_label("Model of column 1").select_option("toy-static-s0")
    expect(page).to_have_url(re.compile("left=toy-static-s0"))
    expect(page.get_by_label("Model of column 2")).to_have_value("toy-differentiable-s0")


@pytest.mark.parametrize(
    ("query", "there"),
    [
        ("tab=think&history=i20,i9", ".thinking"),
        ("tab=explore&history=i20,i9&side=right", ".map[data-side=after]"),
        ("tab=explore&history=i20,i9&explore=item&item=i3", ".own-sid"),
        ("tab=new&history=i20,i9&title=Kite", "#new-title"),
        ("history=i20,i9&third=toy-sasrec-s0", ".compare-3"),
        ("tab=about&history=i20,i9", ".about .table"),
    ],
)
def test_a_shared_link_restores_the_tab_and_the_view_it_was_made_in(visit, query, there):
    page = visit(f"?{query}")
    expect(page.locator(there).first).to_be_visible()
    page.evaluate("document.querySelector('[role=tab][data-tab-id=share]').click()")
    link = page.locator("#share-link")
    expect(link).to_have_value(re.compile("history=i20,i9"))
    shared = link.input_value()
    again = visit(shared[shared.index("?") :])
    expect(again.locator(there).first).to_be_visible()
    assert set(query.split("&")) <= set(shared[shared.index("?") + 1 :].split("&"))


def test_an_example_fills_the_history(visit):
    page = visit()
    page.get_by_role("button", name=re.compile("A day at sea")).click()
    expect(page.locator(".hist-list li")).to_have_count(2)
    expect(page.locator(".reading tbody tr")).to_have_count(2)


def test_watch_both_think_level_by_level_and_add_what_they_find(visit):
    page = visit("?tab=think&tree_beam=3&history=i1,i2")
    expect(page.locator(".think h3")).to_have_count(2)
    room = page.locator(".thinking")
    expect(room).to_have_class(re.compile("is-playing"))
    expect(room).not_to_have_class(re.compile("is-playing"))  # it comes to its end
    expect(page.locator(".branch.kept.d1")).to_have_count(6)
    expect(page.locator(".branch .state").first).to_have_text("dropped")
    tree, box = page.locator(".tree").first, page.locator(".zoom").first
    inside, frame = tree.bounding_box(), box.bounding_box()
    assert inside["height"] <= frame["height"] + 1 and frame["y"] + frame["height"] <= 900
    page.get_by_role("button", name="larger").click()
    assert tree.bounding_box()["height"] > inside["height"]
    page.get_by_role("button", name="fit").click()
    page.wait_for_timeout(700)
    assert tree.bounding_box()["height"] == pytest.approx(inside["height"], abs=2)
    page.get_by_label("level 1").check()
    expect(page.locator(".branch.d2").first).to_be_hidden()
    page.get_by_label("items").check()
    page.locator("div.branch").first.hover()
    expect(page.locator(".tree-said")).to_contain_text("after the codes before it")
    leaf = page.locator("button.branch").first
    found = leaf.get_attribute("data-add")
    leaf.click()
    expect(page).to_have_url(re.compile(f"history=i1,i2,{found}(&|$)"))
    expect(page.locator(".crumbs")).to_contain_text(re.compile("→.*→"))
    expect(tree).to_have_attribute("style", re.compile("scale"))  # the new one is fitted too
    calm = visit("?tab=think", reduced_motion="reduce")
    expect(calm.locator(".branch.d3").first).to_be_visible()
    assert calm.locator(".is-playing").count() == 0


def test_explore_by_pressing_titles_and_codes(visit):
    page = visit()
    page.locator(".rec .item").first.click()
    expect(page.locator(".own-sid")).to_have_count(2)
    expect(page.get_by_role("tab", name="Explore the SIDs")).to_have_attribute(
        "aria-selected", "true"
    )
    page.get_by_role("button", name="Add to the history").click()
    expect(page.locator(".hist-list li")).to_have_count(4)
    page.get_by_label("Codes from the top").check()
    page.locator(".tile").first.click()
    expect(page.locator(".breadcrumb li")).to_have_count(2)
    page.locator(".tile").first.click()
    expect(page.locator(".names-wide .item").first).to_be_visible()
    page.get_by_role("button", name="all items").click()
    expect(page.locator(".breadcrumb li")).to_have_count(1)
    page.get_by_label("An item", exact=True).check()
    search = page.get_by_role("combobox", name="Look up an item")
    search.fill("boat 4")
    search.press("Enter")  # at once: what is still shown is not what was typed
    expect(page.locator(".item-head h3")).to_contain_text("Blue boat 4")
    expect(page).to_have_url(re.compile("item=i17"))


def test_the_map_zooms_pans_finds_and_what_moved_flies(visit):
    page = visit("?tab=explore")
    svg = page.locator(".map svg")
    frame = page.locator(".map").bounding_box()
    assert frame["y"] + frame["height"] <= 900, "all of it on one screen"
    expect(page.locator(".map-marks .mark-history")).to_have_count(3)

    def view():
        return [float(n) for n in svg.get_attribute("viewBox").split()]

    whole = view()
    at = {"x": frame["width"] * 0.25, "y": frame["height"] * 0.5}
    page.mouse.move(frame["x"] + at["x"], frame["y"] + at["y"])
    page.mouse.wheel(0, -600)
    page.wait_for_timeout(100)
    near = view()
    assert near[2] < whole[2] / 2
    under = [box[0] + box[2] * 0.25 for box in (whole, near)]
    assert under[0] == pytest.approx(under[1], abs=3), "what is under the pointer stays there"
    page.mouse.down()
    page.mouse.move(frame["x"] + at["x"] + 90, frame["y"] + at["y"], steps=4)
    page.mouse.up()
    assert view()[0] < near[0] and not page.locator(".here").count(), "a drag is no press"
    page.get_by_role("button", name="all", exact=True).click()
    page.wait_for_timeout(700)
    assert view() == pytest.approx(whole, abs=1)
    search = page.get_by_role("combobox", name="Look up an item")
    search.fill("boat 4")
    search.press("Enter")
    expect(page.locator(".map .here")).to_be_attached()
    page.wait_for_function(
        f"document.querySelector('.map svg').viewBox.baseVal.width < {whole[2] / 2}"
    )


def test_between_start_and_end_what_moved_flies(visit, joint_from_static):
    page = visit("?tab=explore&history=i1", url=joint_from_static)
    one = page.locator(".flies .fly").first
    expect(page.locator(".map")).to_have_attribute("data-side", "before")
    place = "(e) => getComputedStyle(e).transform"
    before = one.evaluate(place)
    page.get_by_role("button", name="Watch them move").click()
    expect(page.locator(".map")).to_have_attribute("data-side", "after")
    expect(page.get_by_label("▲ Learned names · differentiable")).to_be_checked()
    page.wait_for_timeout(2200)
    assert one.evaluate(place) != before
    assert one.bounding_box()["width"] > 5, "what is drawn anew is seen as large as before"
    expect(page.locator(".map-moved li").first).to_contain_text("now beside")
    page.locator(".move-name").first.click()
    page.wait_for_function("document.querySelector('.map svg').viewBox.baseVal.width < 500")


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
    if page.get_by_role("button", name="Name it").is_enabled():
        page.get_by_role("button", name="Name it").click()
        expect(page.locator(".new-results .notice").first).to_contain_text("Type a title")
    page.get_by_label("Title", exact=True).fill("A green kite")
    button = page.get_by_role("button", name="Name it")
    if button.is_enabled():
        button.click()
        # Toy bundles were trained on made-up vectors, which no text can be turned into.
        expect(page.locator(".new-results .notice").first).to_contain_text("trainer's own")
    else:
        expect(page.locator(".notice").first).to_contain_text("pip install")


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


@pytest.mark.parametrize("name", ["think", "explore"])
def test_a_wall_shows_the_trees_and_the_map_on_one_screen(visit, name):
    page = visit(f"?tab={name}", size={"width": 3840, "height": 2160}, reduced_motion="reduce")
    frame = page.locator(".zoom, .map").first
    page.wait_for_timeout(400)
    box = frame.bounding_box()
    assert box["y"] + box["height"] <= 2160


@pytest.mark.parametrize("size", [LAPTOP, PHONE])
def test_the_lists_come_before_the_examples(visit, size):
    page = visit(size=size)
    lists, examples = (page.locator(name).first for name in (".compare-results", ".examples"))
    follows = "(lists) => lists.compareDocumentPosition(document.querySelector('.examples')) & 4"
    assert lists.evaluate(follows), "in the document, whatever the size"
    one, other = lists.bounding_box(), examples.bounding_box()
    if size is PHONE:
        assert other["y"] >= one["y"] + one["height"]
    else:
        history = page.locator(".block.history").first.bounding_box()
        assert other["x"] == history["x"] < one["x"]
        assert 0 < other["y"] - history["y"] - history["height"] < 40


@pytest.mark.parametrize("name", TABS)
def test_the_narrowest_phone_sees_all_of_a_page(visit, name):
    page = visit(f"?tab={name}&item=i3", size={"width": 360, "height": 740})
    page.wait_for_timeout(400)
    assert wide_free(page) == []


def test_a_phone_gets_one_column_and_reaches_every_tab(visit):
    page = visit(size=PHONE)
    assert page.locator(".links").first.is_hidden()
    strip = page.locator(".strip").bounding_box()
    assert strip["y"] + strip["height"] <= 1.5 * PHONE["height"]
    chooser = page.get_by_label("Model of column 2")
    assert chooser.evaluate("(e) => e.scrollWidth <= e.clientWidth"), "its name is not cut"
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
