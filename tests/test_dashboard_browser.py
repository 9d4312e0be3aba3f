"""The dashboard in a real browser: main paths, the URL, the keyboard, and nobody called."""

import re
import shutil
import sys
from pathlib import Path

import pytest
from toy_bundles import damage, write_broken, write_run

pytest.importorskip("streamlit", reason="the dashboard needs it")
play = pytest.importorskip("playwright.sync_api", reason="needs playwright")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs a chromium on the path")

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from dashboard.pictures import served  # noqa: E402

# Height of what there is to see, and the smallest type on the chart and around it, in pixels.
SIZES = """() => {
  const seen = [...document.querySelectorAll('h1, [data-testid=stCaptionContainer] p')]
  const around = seen.map(e => parseFloat(getComputedStyle(e).fontSize))
  const svg = document.querySelector('svg.marks'), scale = svg.getScreenCTM().a
  const words = [...svg.querySelectorAll('text')]
  const chart = words.map(e => parseFloat(getComputedStyle(e).fontSize) * scale)
  const tall = document.querySelector('[data-testid=stMain]').scrollHeight
  return [tall, Math.min(...around, ...chart)]
}"""
PATIENCE = 60_000  # milliseconds; machines that run tests may be busy


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles")
    for dataset in ("alpha", "beta"):
        for method, quality in (("static", 0.2), ("differentiable", 0.4)):
            for seed in range(3):
                write_run(folder, dataset=dataset, method=method, seed=seed, quality=quality)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIGER_CACHE", str(tmp_path_factory.mktemp("cache")))
        with served(str(folder)) as url:
            yield url


@pytest.fixture(scope="module")
def browser():
    with play.sync_playwright() as started:
        one = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield one
        one.close()


@pytest.fixture
def page(browser, address):
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    one = context.new_page()
    one.set_default_timeout(PATIENCE)
    one.asked = []
    one.on("request", lambda request: one.asked.append(request.url))
    yield one
    local = (address, address.replace("http", "ws", 1), "data:", "blob:")
    assert [url for url in one.asked if not url.startswith(local)] == []
    context.close()


def settled(page, text):
    page.get_by_text(text).first.wait_for()
    assert page.locator('[data-testid="stException"]').count() == 0


def test_the_verdict_is_the_first_thing_seen_and_pages_open(page, address):
    page.goto(f"{address}/verdict")  # the first page by its own name
    settled(page, "Differentiable is better than static on both datasets compared (ndcg@10)")
    page.locator("svg.marks, canvas").first.wait_for()
    page.get_by_role("link", name="Codebook health").click()
    settled(page, "Are the codebooks healthy?")
    assert page.url.endswith("/codebook")


def test_a_filter_is_in_the_url_and_survives_a_change_of_page_and_a_new_tab(page, address):
    page.goto(f"{address}/leaderboard?data=beta&metric=recall%405")
    settled(page, "datasets: Beta")
    settled(page, "Every arm by recall@5")
    page.get_by_role("link", name="Cost").click()
    settled(page, "Is it worth its cost?")
    settled(page, "datasets: Beta")
    # Polled: the address changes without a page load, some time after the text does.
    page.wait_for_function("location.pathname.endsWith('/cost')")
    page.wait_for_function("location.search.includes('data=beta')")
    page.goto(f"{address}/training?dataset=beta")
    settled(page, "ndcg@10 on Beta")
    page.get_by_role("combobox", name="Dataset").last.click()
    page.get_by_role("option", name="Alpha").click()
    settled(page, "ndcg@10 on Alpha")
    page.wait_for_function("location.search.includes('dataset=alpha')")


def test_slides_go_on_and_back_by_the_keyboard(page, address):
    page.goto(f"{address}/?projector=true")
    settled(page, "Leave")
    page.get_by_text("1 of ").wait_for()
    page.keyboard.press("ArrowRight")
    page.wait_for_url("**slide=2.1*")
    page.get_by_text("2 of ").wait_for()
    page.locator("svg.marks").wait_for()
    for width, height in ((1280, 720), (1366, 768), (1920, 1080), (3840, 2160)):
        page.set_viewport_size({"width": width, "height": height})
        tall, type_size = page.evaluate(SIZES)
        assert tall <= height and type_size > 27.9
    said = page.locator("[role=graphics-document]").first.get_attribute("aria-label")
    assert "(ndcg@10)" in said, "named for screen readers"
    settled(page, "(ndcg@10)")
    page.keyboard.press("PageUp")
    page.wait_for_url("**slide=1.1*")
    page.keyboard.press("Escape")
    settled(page, "Every comparison with its numbers")
    settled(page, "Codebook health")  # the navigation is back


def test_damaged_duplicate_and_foreign_bundles_leave_the_rest_standing(browser, tmp_path):
    for seed in range(2):
        path = write_run(tmp_path, seed=seed)
    damage(path)
    shutil.copytree(path, tmp_path / "copy")
    write_broken(tmp_path)
    with served(str(tmp_path)) as url:
        one = browser.new_page()
        one.set_default_timeout(PATIENCE)
        one.goto(f"{url}/training")
        one.locator("svg.marks, canvas").first.wait_for()
        settled(one, "history.parquet")
        settled(one, "5 bundles left out")
        one.get_by_role("link", name="Bundles", exact=True).click()
        settled(one, "2 bundles read, 5 left out")
        one.locator("[data-testid=stDataFrame]").first.wait_for()
        one.close()


def test_a_phone_has_no_sideways_scroll(browser, address):
    context = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme="dark")
    one = context.new_page()
    one.set_default_timeout(PATIENCE)
    one.goto(f"{address}/where")
    settled(one, "Where does it win, and who pays?")
    one.locator("svg.marks, canvas").first.wait_for()
    width = one.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth")
    assert width <= 390
    context.close()


def test_the_report_is_one_file_that_opens_offline(page, address, browser, tmp_path):
    pytest.importorskip("vl_convert", reason="drawing needs vl-convert-python")
    page.goto(f"{address}/report?pages=Verdict")
    page.get_by_role("button", name="Make the report").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download the report").click()
    file = tmp_path / "report.html"
    download.value.save_as(file)
    context = browser.new_context(offline=True)
    one = context.new_page()
    asked = []
    one.on("request", lambda request: asked.append(request.url))
    one.goto(file.as_uri())
    assert one.locator("svg").count() >= 2
    pages = re.findall(rb"/Type\s*/Page\b", one.pdf(prefer_css_page_size=True))
    assert len(pages) <= 2, "a brief"
    assert asked == [file.as_uri()]
    context.close()
