"""The app without a browser: links, search, pasted lists, the library, pages and the API."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import app_toys
import core_toys as toys
import numpy as np
import pytest
from toy_bundles import write_run

APP = Path(__file__).parent.parent / "app"
sys.path.insert(0, str(APP))
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
gradio = pytest.importorskip("gradio", reason="the web app's own requirement")

from diger_app import export, guard, service  # noqa: E402
from diger_app.library import Library  # noqa: E402
from diger_app.new_item import new_item  # noqa: E402
from diger_app.page import Page  # noqa: E402
from diger_app.panels import explore, new, recommend, think  # noqa: E402
from diger_app.pasted import read_pasted  # noqa: E402
from diger_app.render.about import about  # noqa: E402
from diger_app.render.text import chips, esc, percent  # noqa: E402
from diger_app.serve import serve, warm  # noqa: E402
from diger_app.settings import Settings, read_settings  # noqa: E402
from diger_app.title_index import TitleIndex, fold  # noqa: E402
from diger_app.verdict import verdict  # noqa: E402
from diger_app.view import View, from_query, to_query  # noqa: E402

from diger.errors import DigerError  # noqa: E402

STATIC, OTHER = "toy-static-s0", "toy-differentiable-s0"
HISTORY = ("i0", "i1", "i2")


@pytest.fixture(scope="session")
def bundles(tmp_path_factory):
    return app_toys.pair(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="session")
def library(bundles):
    return Library.open([str(bundles)])


@pytest.fixture(scope="session")
def shelf(library):
    return library.shelf("toy")


@pytest.fixture
def view():
    return View(dataset="toy", left=STATIC, right=OTHER, history=HISTORY, k=5, beam=20)


# ---- links -------------------------------------------------------------------------------------


def test_a_link_restores_the_view_whatever_the_ids_look_like():
    view = View(
        tab="explore",
        dataset="a b&c",
        history=("x,y", "50%", "%2C", "ü=&?#", "سفينة"),
        k=3,
        leave_out_seen=True,
        decoding="free",
        prefix=(12, 0, 7),
        description='<b>"\n',
    )
    query = to_query(view)
    assert re.fullmatch(r"[\w\-.~,%=&]+", query, re.ASCII)
    assert from_query("?" + query) == (view, [])
    assert to_query(View()) == "" and from_query("") == (View(), [])


@pytest.mark.parametrize(
    "query",
    [
        "?k=999&beam=-1&tab=admin&decoding=exact&prefix=1-x&leave_out_seen=yes&tree_beam=1e9",
        "?history=" + ",".join("a" * 3 for _ in range(101)),
        "?dataset=" + "d" * 5000,
        "?" + "x" * 40_000,
        "?" + "&".join(f"k={i}" for i in range(100)),
        "?k=" + "9" * 5000,
        "?k=٣&%zz=%zz&=&&;\x00",
        "?__class__=1&_readers=2&tab=about&tab=about",
    ],
)
def test_a_hostile_query_string_only_costs_its_own_values(query):
    view, _ = from_query(query)
    assert view in (View(), View(tab="about"))


def test_a_query_string_that_is_not_understood_is_said():
    _, notes = from_query("?k=999&history=" + ",".join(["a"] * 101))
    assert notes == [
        "The link's k must be a number from 1 to 20; the default is used.",
        "The link's history has 101 items, more than 100; the default is used.",
    ]


def test_settings_come_from_arguments_then_environment_then_the_usual_places(tmp_path):
    here = tmp_path / "app"
    here.mkdir()
    assert read_settings([], {}, here).sources == (str(tmp_path / "checkpoints"),)
    (here / "checkpoints").mkdir()
    assert read_settings([], {}, here).sources == (str(here / "checkpoints"),)
    environ = {"DIGER_BUNDLES": "a hub://o/n@1", "GRADIO_SERVER_PORT": "81", "DIGER_CATALOGUE": "c"}
    found = read_settings([], environ, here)
    assert (found.sources, found.port, found.catalogues) == (("a", "hub://o/n@1"), 81, ("c",))
    found = read_settings(["b", "--port", "82", "--mcp"], environ, here)
    assert (found.sources, found.port, found.mcp) == (("b",), 82, True)


# ---- search ------------------------------------------------------------------------------------


def make_index():
    titles = ["Amélie (2001)", "The Red Kite (1990)", "Kite Red (1991)", "Kite!", None, "Kite!"]
    return TitleIndex([f"t{i}" for i in range(6)], titles, np.array([1, 2, 9, 4, 5, 3]))


def test_found_by_makers_and_kinds_and_in_spite_of_typing_errors():
    titles = ["Aliens (1986)", "Alien (1979)", "Jaws (1975)", "Duel (1971)"]
    more = ["James Cameron Horror", "Ridley Scott Horror", "Steven Spielberg Horror", "Spielberg"]
    index = TitleIndex([f"t{i}" for i in range(4)], titles, np.array([4, 3, 2, 1]), more)
    assert index.find("spielberg") == [2, 3]
    assert index.find("spielberg 1971") == [3]
    assert index.find("horror") == [0, 1, 2]
    assert index.find("aleins")[0] == 0
    assert index.find("jwas 1975") == [2]
    assert index.find("speilberg horor") == [2]
    assert index.find("zzqqxx") == index.find("duet") == []  # like a title is not near enough
    assert index.find("rors") == [], "no word of a maker or a kind begins so"


def test_a_pasted_line_offers_the_best_kind_of_match_alone():
    titles = ["2001: A Space Odyssey (1968)", "Shrek (2001)", "Amélie (2001)", "Jaws (1975)"]
    more = [
        "Stanley Kubrick",
        "Andrew Adamson",
        "Jean-Pierre Jeunet Paris",
        "Steven Spielberg shark",
    ]
    index = TitleIndex(list("abcd"), titles, np.array([1, 9, 3, 2]), more)
    assert index.find("2001") == [0, 1, 2]  # typed, the films of that year follow
    offered = {"2001": [0], "1975": [3], "Kubrik": [0], "Shrekk": [1], "Sharc": []}
    for line, rows in offered.items():
        assert index.offers(line) == rows, line
    assert read_pasted("2001\nParis", index).offers == [("2001", [0]), ("Paris", [2])]


def test_search_folds_and_orders():
    index = make_index()
    assert fold("  ÅMÉLIE—x_y ") == "amelie x y"
    assert index.find("amel") == [0]
    assert index.find("kite") == [2, 3, 5, 1]  # beginnings first, then by popularity
    assert index.find("red ki") == [2, 1]
    assert index.find("t4") == [4] == index.find("t4", 1)
    assert index.find("") == [2, 4, 3, 5, 1, 0]
    assert index.find("mélie 2001") == [0]  # anywhere in the title
    assert index.find("ameile 2001")[0] == 0  # a slip of the finger
    assert index.find("🐟") == [] == index.find("zzzzqqqq")
    assert index.find("(.*+[") == [] or True
    assert len(index.find("k" * 100_000)) == 0


def test_exact_names_need_to_name_one_item():
    index = make_index()
    assert index.exact("amelie (2001)") == 0 == index.exact("Amélie")
    assert index.exact("t2") == 2
    assert index.exact("Kite!") is None  # two items
    assert index.exact("") is None and index.exact("no such") is None


def test_search_stays_a_scan_in_a_large_catalogue():
    n = 100_000
    titles = [f"Thing number {i} of the kind {i % 97}" for i in range(n)]
    index = TitleIndex([str(i) for i in range(n)], titles, np.arange(n))
    assert index.find("thing 99999 kind")[0] == 99_999
    assert index.find("thing", 3) == [99_999, 99_998, 99_997]
    assert len(index.close("Thimg numbr 500", 3)) == 3


def test_a_pasted_list_is_read_line_by_line():
    text = "1. Amélie\n- the red kite (1990)\nAmelie; Kite Red (1991)\nAmélei 2001\n🐟🐟🐟\n\n"
    found = read_pasted(text, make_index())
    assert found.rows == [0, 1, 0, 2]
    assert found.offers == [("Amélei 2001", [0])]
    assert found.unknown == ["🐟🐟🐟"]
    many = read_pasted("Amélie\n" * 10_000, make_index(), limit=100)
    assert (len(many.rows), many.cut) == (100, 9_900)


def test_an_id_is_found_as_it_is_typed_blanks_and_all():
    index = TitleIndex([" a", "a", "b "], ["One", "Two", "Three"], np.ones(3))
    assert read_pasted(" a\na\n  a\n- a\nb ", index).rows == [0, 1, 1, 1, 2]
    assert [index.find(typed)[0] for typed in (" a", "a", "a ", "b ")] == [0, 1, 1, 2]


# ---- the library -------------------------------------------------------------------------------


def test_the_library_pairs_static_with_differentiable(library, shelf):
    assert library.datasets == ["toy"] and library.problems == []
    assert shelf.pair() == (STATIC, OTHER)
    assert shelf.pair("no such", "neither") == (STATIC, OTHER)
    assert shelf.pair(OTHER, OTHER) == (OTHER, "")
    assert [one["name"] for one in shelf.examples[:2]] == ["A kite morning", "A day at sea"]
    with pytest.raises(DigerError, match="did you mean toy"):
        library.shelf("toi")
    with pytest.raises(DigerError, match="no bundle 'x' of toy"):
        shelf.load("x")


def test_one_bad_bundle_never_takes_the_others_down(bundles, tmp_path):
    folder = tmp_path / "mixed"
    folder.mkdir()
    shutil.copytree(bundles / STATIC, folder / "good")
    shutil.copytree(bundles / STATIC, folder / "damaged")
    (folder / "damaged" / "items.parquet").write_bytes(b"x")
    shutil.copytree(bundles / STATIC, folder / "newer")
    manifest = folder / "newer" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"format": 2', '"format": 99'))
    (folder / "empty").mkdir()
    found = Library.open([str(folder), str(tmp_path / "missing"), "hub://not a name"])
    assert found.datasets == ["toy"]
    reasons = dict(found.problems)
    assert "items.parquet" in reasons["damaged"] and "upgrade DIGER" in reasons["newer"]
    assert "no folder" in reasons[str(tmp_path / "missing")]
    assert len(reasons["hub://not a name"]) > 10
    page = about(found)
    assert all(esc(what) in page for what in reasons) and page.count("cannot be used") == 1


def test_a_hub_address_is_fetched_and_its_card_linked(bundles, monkeypatch):
    def local_path(address):
        if "static" not in address:
            raise DigerError(f"{address}: the Hub does not answer; try again")
        return bundles / STATIC

    monkeypatch.setattr("diger.hub.local_path", local_path)
    found = Library.open([f"hub://ann/{STATIC}@v1", "hub://ann/gone"])
    assert found.datasets == ["toy"]
    assert found.problems == [
        ("hub://ann/gone", "hub://ann/gone: the Hub does not answer; try again")
    ]
    assert f"https://huggingface.co/ann/{STATIC}/tree/v1" in about(found)


def test_results_only_and_models_without_sids_are_named_with_the_reason(bundles, tmp_path):
    def sasrec(config, items):
        config["name"], config["backbone"] = "toy-sasrec-s0", "sasrec"
        config["arm"] = {"method": "sasrec", "decay": "none", "noise": "none"}

    app_toys.copy_bundle(bundles / STATIC, tmp_path / "toy-sasrec-s0", sasrec)
    only = Library.open([str(tmp_path)])
    assert only.datasets == []
    with pytest.raises(DigerError, match=r"writes SIDs \(found: toy-sasrec-s0"):
        only.shelf()
    with pytest.raises(DigerError, match="there are no bundles here yet"):
        Library.open([]).shelf()


def test_a_damaged_weight_file_is_said_where_the_answer_would_be(bundles, tmp_path, view):
    shutil.copytree(bundles, tmp_path / "b")
    weights = tmp_path / "b" / OTHER / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    library = Library.open([str(tmp_path / "b")])
    html = recommend.show(library, view)
    assert "does not match the SHA-256" in html and html.count('class="recs"') == 1
    warm(library)  # neither does it stop the start


def test_a_catalogue_brings_text_to_a_bundle_without(bundles, tmp_path, view):
    def untitled(config, items):
        config["dataset"] = {**config["dataset"], "text_may_be_published": False}
        items.drop(columns=["title", "description", "brand", "categories"], inplace=True)

    folder = tmp_path / "b"
    folder.mkdir()
    source = tmp_path / "source"
    shutil.copytree(bundles / STATIC, source)
    manifest = json.loads((source / "manifest.json").read_text())
    (source / "examples.parquet").unlink()
    del manifest["files"]["examples.parquet"]
    (source / "manifest.json").write_text(json.dumps(manifest))
    app_toys.copy_bundle(source, folder / STATIC, untitled)
    bare = Library.open([str(folder)]).shelf()
    assert not bare.has_text and bare.title(3) == "i3" and bare.terms is None
    assert len(bare.examples) == 4  # a way in where none came along
    (folder / "toy.catalogue.csv").write_text("item_id,title\ni3,Third kite\n")
    found = Library.open([str(folder)])
    assert found.shelf().title(3) == "Third kite" and found.shelf().index.find("third") == [3]
    (folder / "toy.catalogue.csv").write_text("item_id,title\nz9,No\n")
    page = Page(Library.open([str(folder)]))
    banner = page._restore("")[page.banner]
    assert "none of the bundle&#x27;s items" in banner


# ---- what is shown -----------------------------------------------------------------------------


class Checked(HTMLParser):
    """Whether HTML is well nested, and which scripts or odd elements it holds."""

    VOID = frozenset(("path", "circle", "rect", "input", "img", "br", "hr"))

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.feed(html)
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        assert not any(name.startswith("on") for name, _ in attrs), attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag


def check_html(html: str) -> str:
    seen = Checked(html).seen
    assert not seen & {"script", "img", "iframe", "object", "b2"}, seen
    assert "{{" not in html and "${" not in html
    return html


def test_the_two_lists_say_what_the_models_say(library, shelf, view):
    html = check_html(recommend.show(library, view))
    for name in (STATIC, OTHER):
        side = service.recommend(shelf, name, view)
        model = shelf.load(name).model
        found = model.recommend(list(HISTORY), 20, beam=20, leave_out_seen=True)[:5]
        assert [shelf.ids[one.row] for one in side.listed] == [one.item_id for one in found]
        np.testing.assert_allclose(
            [one.probability for one in side.listed], [one.probability for one in found]
        )
        for one in side.listed:
            depths = [
                sum(np.cumprod(np.equal(one.sid[:-1], shelf.load(name).codes[r])))
                for r in (0, 1, 2)
            ]
            assert one.depth == max(depths)
            assert one.sharers == (
                tuple(i for i, d in enumerate(depths) if d == one.depth) if one.depth else ()
            )
        assert percent(side.listed[0].probability) in html
    assert "need not add up to 100 %" in html
    assert html.count('class="rec"') == 10


def test_the_true_next_item_has_its_rank_in_both(library, shelf, view):
    first = service.recommend(shelf, STATIC, view).listed[2]
    view = View(**{**view.__dict__, "target": shelf.ids[first.row]})
    assert service.recommend(shelf, STATIC, view).target_rank == 3
    html = check_html(recommend.show(library, view))
    assert "What really came next" in html and "<b>number 3</b>" in html


def test_the_item_level_head_reorders_what_the_beam_found(shelf, library, view):
    history = tuple(shelf.ids[:-20])  # so that all the others are listed
    plain = View(**{**view.__dict__, "k": 20, "history": history})
    head = View(**{**plain.__dict__, "decoding": "hybrid"})
    for name in shelf.sources:  # baselines, which have none, answer as ever
        ours, theirs = (service.recommend(shelf, name, one).listed for one in (head, plain))
        assert {one.row for one in ours} == {one.row for one in theirs}
    assert "reordered by the item-level head" in check_html(recommend.show(library, head))


def test_seen_items_can_be_left_out_and_free_decoding_marks_what_no_item_has(shelf, library, view):
    left_out = View(**{**view.__dict__, "leave_out_seen": True})
    rows = {one.row for one in service.recommend(shelf, STATIC, left_out).listed}
    assert not rows & {0, 1, 2} and len(rows) == 5
    free = View(**{**view.__dict__, "decoding": "free", "leave_out_seen": True, "beam": 60})
    side = service.recommend(shelf, STATIC, free)
    assert side.invalid > 0 and side.decoded == 60
    html = check_html(recommend.show(library, View(**{**free.__dict__, "k": 20})))
    if any(one.row is None for one in service.recommend(shelf, STATIC, free).listed):
        assert "no item has this SID" in html
    assert "Decoded freely" in html and "cannot leave out seen items" in html


def test_with_one_method_alone_the_other_column_says_what_to_do(bundles, view):
    library = Library.open([str(bundles / STATIC)])
    page = Page(library)
    html = check_html(recommend.show(library, View(**{**view.__dict__, "right": ""})))
    assert "No differentiable bundle of" in html and STATIC in html
    assert "Fixed names never move" in explore.show(library, View(explore="map"))
    restored = page._restore("?dataset=toy&right=toy-differentiable-s0")
    assert "which is not here" in restored[page.banner]
    assert restored[page.explore.side]["choices"] == [("● Fixed names · static", "left")]


def test_every_page_shows_hostile_text_as_text(library, shelf, view):
    hostile = shelf.rows["i9"]
    assert shelf.title(hostile) == app_toys.HOSTILE
    view = View(**{**view.__dict__, "history": ("i9", "i10", "i11", "i12"), "k": 20, "item": "i9"})
    pages = [recommend.show(library, view), think.show(library, view), about(library)]
    pages += [
        explore.show(library, View(**{**view.__dict__, "explore": what, "side": side}))
        for what in ("item", "browse", "map")
        for side in ("left", "right")
    ]
    pages += [recommend.examples(shelf), recommend.story(library, view)]
    for html in pages:
        check_html(html)
    assert esc(app_toys.HOSTILE) in pages[0] and "&lt;b&gt;rained" in pages[-2]
    assert esc(app_toys.RIGHT_TO_LEFT) in pages[0]


def test_the_tree_shows_kept_and_dropped_with_words(library, view):
    html = check_html(think.show(library, View(**{**view.__dict__, "tree_beam": 2})))
    assert html.count('class="branch kept d1"') == 4, "two beams of two models"
    assert '<span class="state">dropped</span>' in html
    assert 'class="words" dir' in html and "data-add=" in html
    nothing = think.show(library, View(dataset="toy", left=STATIC))
    assert "No history yet" in nothing


def test_explore_item_browse_map_and_moved(library, shelf, view):
    view = View(**{**view.__dict__, "item": "i3", "explore": "item"})
    html = check_html(explore.show(library, view))
    assert html.count('class="own-sid"') == 2 and "nearest in content" in html
    assert "kept its codes in joint training" in html
    top = check_html(explore.show(library, View(**{**view.__dict__, "explore": "browse"})))
    codes = np.unique(shelf.load(STATIC).codes[:, 0])
    assert top.count('class="tile ') == len(codes)
    full = tuple(shelf.load(STATIC).codes[3].tolist())
    deep = View(**{**view.__dict__, "explore": "browse", "prefix": full})
    assert "Red kite 3" in check_html(explore.show(library, deep))
    lost = View(**{**view.__dict__, "explore": "browse", "prefix": (99,)})
    assert explore.show(library, lost).count('class="tile ') == len(codes)
    joint = View(**{**view.__dict__, "explore": "map", "side": "right"})
    mapped = check_html(explore.show(library, joint))
    flying = mapped.count('circle class="fly" data-row')
    assert mapped.count("h0") + flying == toys.N_ITEMS and flying == 2
    assert f"2 of {toys.N_ITEMS} items moved" in mapped and "now beside" in mapped
    assert mapped.count("mark-history") == 3 and mapped.count("mark-listed") == 5
    unknown = explore.show(library, View(dataset="toy", explore="item", item="<b>"))
    assert "&lt;b&gt;" in unknown and "search by its title" in unknown


def test_bad_input_is_a_sentence(library, view):
    for changes in (
        {"history": ("no such item",)},
        {"history": ("i1",) * 101},
        {"dataset": "elsewhere"},
        {"left": "gone"},
    ):
        html = recommend.show(library, View(**{**view.__dict__, **changes}))
        assert "notice" in html or "empty" in html
        assert "Traceback" not in html and "Error" not in html
        check_html(html)
    assert "Start with a history" in recommend.show(library, View(dataset="toy", left=STATIC))


def test_a_fault_of_ours_is_a_sentence_too(library, view, monkeypatch):
    def broken(*_):
        raise RuntimeError("secret detail")

    monkeypatch.setattr(recommend.render, "compare", broken)
    html = recommend.show(library, view)
    assert "Something went wrong" in html and "secret" not in html


class Encoder:
    """Stands for the text encoder: the vector of the item whose number the text ends in."""

    def __init__(self, vectors):
        self.vectors = vectors

    def encode(self, texts):
        return np.stack([self.vectors[int(text.split()[-1])] for text in texts])


@pytest.fixture
def encoder(shelf, monkeypatch):
    from diger.bundle.reader import Bundle

    transform = shelf.load(STATIC).model.transform
    vectors = shelf.load(STATIC).model.bundle.tensors("content.safetensors")["vectors"]
    inverse = np.linalg.pinv(transform.projection) / transform.scale
    encoder = Encoder(vectors @ inverse + transform.mean)
    monkeypatch.setattr("diger.model._encoder", lambda *_: encoder)
    original = Bundle.tensor_metadata

    def of_text(self, name):
        return {**original(self, name), "encoder": "toy", "revision": "1"}

    monkeypatch.setattr(Bundle, "tensor_metadata", of_text)
    monkeypatch.setattr(new, "has_encoder", lambda: True)


def test_a_new_item_lands_where_its_text_says(library, shelf, view, encoder):
    view = View(**{**view.__dict__, "title": "another kite 3"})
    made = new_item(shelf, STATIC, view)
    loaded = shelf.load(STATIC)
    assert made.sid[:-1] == tuple(loaded.codes[3].tolist())
    assert 3 in made.beside[0][1] and made.near[0][0] == 3
    assert made.ranking is not None
    assert made.ranking.candidates == toys.N_ITEMS + 1 - len(set(view.history))
    html = check_html(new.show(library, view))
    assert html.count("Lands beside") == 2, html
    assert "another kite 3" in html
    cold = new_item(shelf, STATIC, View(**{**view.__dict__, "only_new": True}))
    assert cold.ranking.candidates == int((shelf.popularity == 0).sum()) + 1


def test_without_the_encoder_the_tab_says_how_to_get_it(library, view, monkeypatch):
    monkeypatch.setattr(new, "has_encoder", lambda: False)
    html = new.show(library, View(**{**view.__dict__, "title": "a kite"}))
    assert "pip install" in html


def test_a_press_with_empty_fields_says_what_to_do(library):
    html = check_html(Page(library).events.name_now("toy", *[None] * 11))
    assert "Type a title or a description" in html


def test_what_is_taken_away_is_what_is_shown(library, shelf, view):
    page = Page(library)
    made = page.events.take(["json", to_query(view)])
    document = json.loads(made["text"])
    sides = [service.recommend(shelf, name, view) for name in (STATIC, OTHER)]
    assert document == json.loads(json.dumps(export.document(shelf, view, sides)))
    lines = list(csv.DictReader(io.StringIO(page.events.take(["csv", to_query(view)])["text"])))
    assert len(lines) == 10 and lines[0]["method"] == "static" and lines[0]["rank"] == "1"
    assert float(lines[0]["probability"]) == pytest.approx(sides[0].listed[0].probability)
    document["results"][0]["recommendations"][0] |= {"item_id": "-0a\t", "title": "=1+1"}
    first = next(csv.DictReader(io.StringIO(export.as_csv(document), newline="")))
    assert (first["item_id"], first["title"]) == ("-0a\t", "'=1+1")  # ids join, titles are guarded
    assert page.events.take(["csv", "dataset=toy"])["error"].startswith(
        "Nothing is recommended yet"
    )
    assert "no item" in page.events.take(["csv", "dataset=toy&history=zz"])["error"]


def test_chips_are_read_out_as_a_sid():
    assert 'aria-label="SID 1-2-0"' in chips([1, 2, 0])
    assert "no item has it" in chips([1, 2, 0], invalid=True)


# ---- the page and its events -------------------------------------------------------------------


def test_a_link_sets_every_component_and_a_broken_one_is_explained(library, view):
    page = Page(library)
    asked = View(**{**view.__dict__, "tab": "think", "third": "toy-sasrec-s0", "tree_beam": 3})
    found = page._restore("?" + to_query(asked))
    assert set(found) == set(page._all_outputs())
    assert [one["id"] for one in found[page.rec.history]["items"]] == list(HISTORY)
    assert found[page.think.beam] == 3 and "branch kept" in found[page.think.out]
    assert found[page.rec.third] == "toy-sasrec-s0" and "SASRec" in found[page.rec.out]
    state = re.search(r'data-state="([^"]*)"', found[page.rec.out]).group(1)
    assert "i0,i1,i2" in state
    broken = page._restore("?dataset=<script>&left=x&history=nope&item=%00&k=0")
    banner = check_html(broken[page.banner])
    assert "&lt;script&gt;" in banner and "must be a number from 1 to 20" in banner
    assert broken[page.rec.history]["items"], "the start page has the first example"
    assert check_html(page._restore("?history=i1,nope")[page.banner]).count("notice") > 0
    assert set(page._restore(None)) == set(found)


def test_nothing_to_serve_is_a_page_that_says_so():
    page = Page(Library.open(["/no/such/folder"]))
    found = page._restore("")
    assert "There are no bundles here yet" in found[page.banner]
    assert set(found) == set(page._all_outputs())


def test_events_take_anything(library):
    page = Page(library)
    odd = [None, 7, [], {}, "x", {"items": [1, {"id": 2}, {"id": "i1"}]}, float("nan"), True]
    for value in odd:
        for html in (
            *page.events.recommend(*[value] * 9),
            page.events.think(*[value] * 10),
            page.events.explore(*[value] * 13),
            page.events.name(*[value] * 12),
        ):
            check_html(html)
        event = SimpleNamespace(
            _data={
                "prefix": "1-x",
                "row": 10**9,
                "example": value,
                "column": value,
                "bundle": value,
            }
        )
        page.events.press(event, *[value] * 13)
        page.events.example(event, *[value] * 9)
        page.events.choose(event, *[value] * 9)
        page.events.paste(value, value, value)
        page.events.offer(event, value, value)
    base = ("toy", STATIC, "", "", {"items": [{"id": "i1"}]}, 3, 20, False, "beam")
    _, kept = page.events.recommend(*base)
    assert kept.count('class="rec"') == 3 and "side-missing" not in kept


def test_an_example_and_a_press_on_a_title(library, shelf):
    page = Page(library)
    base = ("toy", STATIC, OTHER, "", None, 5, 20, False, "beam")
    history, strip, html = page.events.example(SimpleNamespace(_data={"example": 1}), *base)
    assert [one["id"] for one in history["items"]] == ["i20", "i9"] and 'class="rec"' in html
    assert "Fish" not in strip and esc(app_toys.HOSTILE) in strip
    sample = next(i for i, one in enumerate(shelf.examples) if one["target"] is not None)
    history, _, html = page.events.example(SimpleNamespace(_data={"example": sample}), *base)
    assert history["target"] and "What really came next" in html
    fields = (*base, "item", "left", {}, "")
    tab, what, look, prefix, html = page.events.press_elsewhere(
        SimpleNamespace(_data={"look": "i3"}), *fields
    )
    assert (tab["selected"], look["id"], prefix) == ("explore", "i3", "")
    assert what == gradio.skip(), "what is shown already stays as it is"
    assert 'class="own-sid"' in html
    what, _, prefix, html = page.events.press(SimpleNamespace(_data={"prefix": "1"}), *fields)
    assert (what, prefix) == ("browse", "1") and "treemap" in html


def test_any_bundle_stands_in_any_column(library, shelf, view):
    page = Page(library)
    base = ("toy", STATIC, OTHER, "", {"items": [{"id": i} for i in HISTORY]}, 5, 20, True, "free")

    def choose(column, bundle, base=base):
        event = SimpleNamespace(_data={"column": column, "bundle": bundle})
        return page.events.choose(event, *base)

    *columns, sides, strip, html = choose("third", "toy-popularity-s0")
    assert columns == [STATIC, OTHER, "toy-popularity-s0"]
    assert [value for _, value in sides["choices"]] == ["left", "right"], "what has SIDs to look at"
    check_html(html)
    check_html(strip)
    assert html.count('class="recs"') == 3 and "What everyone chooses" in html
    share = shelf.popularity.max() / shelf.popularity.sum()
    first = service.recommend(
        shelf, "toy-popularity-s0", View(**{**view.__dict__, "history": ("i1",)})
    )
    unseen = first.listed[0]
    assert unseen.probability == pytest.approx(
        shelf.popularity[unseen.row] / shelf.popularity.sum()
    )
    assert unseen.probability <= share and unseen.sid == ()
    assert list(choose("left", "toy-sasrec-s0")[:3]) == ["toy-sasrec-s0", OTHER, ""]
    assert list(choose("right", "")[:3]) == [STATIC, "", ""]
    assert choose("left", "no such")[0] == STATIC
    only = View(**{**view.__dict__, "left": "toy-sasrec-s0", "right": "toy-popularity-s0"})
    assert recommend.story(library, only) == "", "nothing is spelt without SIDs"
    for tab in (think.show, explore.show):  # what has no SIDs does not leave a tab empty
        assert "notice-error" not in check_html(tab(library, only))


def test_the_strip_spells_the_first_recommendation(library, shelf, view):
    html = check_html(recommend.story(library, view))
    assert "An item is text" in html  # these SIDs know nothing else
    for name in (STATIC, OTHER):
        first, written = service.spelling(shelf, name, view)
        assert first == service.recommend(shelf, name, view).listed[0]
        assert sum(one.step for one in written) == pytest.approx(first.log_p, abs=1e-4)
        assert written[-1].prefix == first.sid and written[-1].items == 1
        for one in written:
            better = [log_p for _, log_p in one.others if log_p > one.step]
            assert one.rank > len(better) or one.rank - 1 == len(better)
        assert esc(shelf.title(first.row)) in html
    assert shelf.title(2) in html and html.count('class="writing"') == 2
    assert recommend.story(library, View(dataset="toy")) == ""


def test_pasting_adds_offers_and_names_what_is_unknown(library):
    page = Page(library)
    held = {"items": [{"id": "i0", "title": "x"}]}
    history, report = page.events.paste("Red kite 4\nRed kit 5 (1965)\n🐟🐟\n<i>q</i>", held, "toy")
    assert [one["id"] for one in history["items"]] == ["i0", "i4"]
    assert 'data-offer="i5"' in check_html(report) and "🐟🐟" in report
    history = page.events.offer(SimpleNamespace(_data={"offer": "i5"}), history, "toy")
    assert [one["id"] for one in history["items"]] == ["i0", "i4", "i5"]
    _, report = page.events.paste("i1\n" * 10_000, None, "toy")
    assert "100 items; 9900 were left out" in report


# ---- served ------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def served(library):
    blocks = serve(library, Settings(sources=()), block=False)
    yield blocks.local_url
    blocks.close()


@pytest.fixture(scope="session")
def client(served):
    from gradio_client import Client

    return Client(served, verbose=False)


def test_the_api_is_documented_and_answers(client, shelf):
    endpoints = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    names = {"/datasets", "/search", "/recommend", "/item", "/beam_tree", "/new_item"}
    assert set(endpoints) == names, "the page's own events are not part of the API"
    assert client.predict(api_name="/datasets")[0]["bundles"][0]["bundle"] == STATIC
    assert client.predict(query="red kite 3", api_name="/search")[0]["item_id"] == "i3"
    found = client.predict(history=list(HISTORY), k=4, api_name="/recommend")
    assert [one["method"] for one in found["results"]] == ["static", "differentiable"]
    assert len(found["results"][0]["recommendations"]) == 4
    item = client.predict(item_id="i3", api_name="/item")
    assert item["sids"][0]["sid"] == shelf.load(STATIC).model.sid_of(3)
    tree = client.predict(history=list(HISTORY), beam=2, api_name="/beam_tree")
    assert tree["levels"][0]["kept"] == 2


def test_the_snippet_of_the_documents_runs_as_printed_on_every_dataset_with_weights():
    root = Path(__file__).parent.parent
    code = (root / "docs" / "app.md").read_text("utf-8").split("```python\n")[1].split("```")[0]
    assert "http://127.0.0.1:7860" in code
    shipped = Library.open([str(root / "checkpoints")])
    assert shipped.datasets
    for dataset in shipped.datasets:
        addresses = [one.address for one in shipped.shelf(dataset).sources.values()]
        blocks = serve(Library.open(addresses), Settings(sources=()), block=False)
        try:
            here = code.replace("http://127.0.0.1:7860", blocks.local_url)
            *before, last = here.strip().splitlines()
            names: dict[str, object] = {}
            exec("\n".join(before), names)
            answer = eval(last, names)
            assert answer["dataset"] == dataset
            assert {len(one["recommendations"]) for one in answer["results"]} == {5}
        finally:
            blocks.close()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"history": [], "api_name": "/recommend"}, "The history is empty"),
        ({"history": ["zz"], "api_name": "/recommend"}, "There is no item 'zz' in toy"),
        ({"history": ["i1"] * 10_000, "api_name": "/recommend"}, "has 10000 items"),
        (
            {"history": ["i1"], "k": 0, "api_name": "/recommend"},
            "The value of k must be a number from 1 to 20",
        ),
        ({"history": ["i1"], "dataset": "x", "api_name": "/recommend"}, "no dataset 'x'"),
        ({"item_id": "<b>", "api_name": "/item"}, "no item '<b>'"),
        ({"title": "", "api_name": "/new_item"}, "needs a title or a description"),
    ],
)
def test_the_api_says_what_was_wrong(client, call, message):
    with pytest.raises(Exception, match=re.escape(message)) as caught:
        client.predict(**call)
    assert "Traceback" not in str(caught.value)


def test_clients_at_once_get_their_own_answers(served):
    from concurrent.futures import ThreadPoolExecutor

    from gradio_client import Client

    def ask(client: Client, first: int) -> bool:
        """One person's clicks, one after another: a client is not made to be shared by threads."""
        items = [f"i{(first + step) % 20}" for step in range(0, 20, 4)]
        found = [client.predict(history=[i], k=1, api_name="/recommend") for i in items]
        return [answer["history"][0]["item_id"] for answer in found] == items

    clients = [Client(served, verbose=False) for _ in range(4)]
    with ThreadPoolExecutor(len(clients)) as pool:
        assert all(pool.map(ask, clients, range(len(clients))))


def test_what_is_too_large_or_too_often_is_not_let_in(served):
    import http.client
    import urllib.error
    import urllib.request

    def status(size: int, **headers: str) -> tuple[int, dict[str, str]]:
        asked = urllib.request.Request(
            served + "gradio_api/call/datasets",
            data=json.dumps({"data": [], "more": "x" * size}).encode(),
            headers={"Content-Type": "application/json", **headers},
        )
        try:
            with urllib.request.urlopen(asked) as answer:
                return answer.status, dict(answer.headers)
        except urllib.error.HTTPError as error:
            return error.code, dict(error.headers)

    code, headers = status(10)
    assert code == 200 and "object-src 'none'" in headers["content-security-policy"]
    assert status(guard.MAX_BODY)[0] == 413
    line = http.client.HTTPConnection(served.split("/")[2])
    codes = []
    for _ in range(2 * int(guard.BURST)):
        line.request("DELETE", "/nothing", headers={"X-Forwarded-For": "8.8.8.8"})
        answer = line.getresponse()
        answer.read()
        codes.append(answer.status)
    assert set(codes[:500]) == {404} and codes[-1] == 429 and status(10)[0] == 200
    now = 0.0
    bucket = guard.Bucket(lambda: now)
    assert [bucket.take("a") for _ in range(501)] == [True] * 500 + [False] and bucket.take("b")
    now = 1.0
    assert [bucket.take("a") for _ in range(51)] == [True] * 50 + [False]
    for number in range(2 * guard.MAX_ADDRESSES):
        bucket.take(str(number))
    assert len(bucket._left) == guard.MAX_ADDRESSES


@pytest.mark.parametrize(
    ("peer", "forwarded", "counted"),
    [
        ("127.0.0.1", "", None),
        ("127.0.0.1", "1.1.1.1, 8.8.8.8", "8.8.8.8"),
        ("10.0.0.1", "8.8.8.8", "8.8.8.8"),
        ("9.9.9.9", "127.0.0.1", "9.9.9.9"),
    ],
)
def test_whose_request_it_is(peer, forwarded, counted):
    assert guard.address_of(peer, {b"x-forwarded-for": forwarded.encode()}) == counted


def test_the_page_calls_nobody_and_shows_no_title_unasked(served):
    import urllib.request

    page = urllib.request.urlopen(served).read().decode()
    config = urllib.request.urlopen(served + "config").read().decode()
    assert "googleapis" not in config and "fonts.gstatic" not in page.replace("preconnect", "")
    assert "Blue boat 7" not in page and "Blue boat 7" not in config


def test_gradio_is_imported_without_type_stubs_and_nothing_stays_changed():
    import inspect

    import gradio
    from diger_app.startup import no_type_stubs

    before = inspect.getfile
    with no_type_stubs():
        with pytest.raises(OSError, match="no type stubs"):
            inspect.getfile(gradio.Button)
        assert inspect.getfile(Path) == before(Path)
    assert inspect.getfile is before
    with pytest.raises(ZeroDivisionError), no_type_stubs():
        _ = 1 / 0
    assert inspect.getfile is before


def test_the_measured_verdict_is_one_sentence(tmp_path):
    for method, quality in (("static", 0.3), ("differentiable", 0.5)):
        for seed in range(3):
            write_run(tmp_path, method=method, seed=seed, quality=quality, users=300)
    library = Library.open([str(tmp_path)])
    (shelf,) = library.shelves.values()
    said = verdict(library, shelf)
    assert "better than static" in said and "[+" in said and "3 seeds" in said
    assert "<script" not in said
