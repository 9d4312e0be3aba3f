"""The dashboard: every page with good, empty and broken inputs; the view, sources and report."""

import itertools
import json
import re
import shutil
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from toy_bundles import damage, write_broken, write_run, write_runs, write_study

pytest.importorskip("streamlit", reason="the dashboard needs it")
pytest.importorskip("altair", reason="the dashboard needs it")

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from streamlit.testing.v1 import AppTest  # noqa: E402
from streamlit.web.server.app_discovery import discover_asgi_app  # noqa: E402

from dashboard import projector, sources  # noqa: E402
from dashboard.analysis import claims  # noqa: E402
from dashboard.app import warm  # noqa: E402
from dashboard.frame import load  # noqa: E402
from dashboard.glossary import TERMS  # noqa: E402
from dashboard.kept import VARIABLE, Kept  # noqa: E402
from dashboard.library import Library  # noqa: E402
from dashboard.pages import PAGES  # noqa: E402
from dashboard.panel import Lens, Panel, build  # noqa: E402
from dashboard.panels.curves import in_words  # noqa: E402
from dashboard.published import published  # noqa: E402
from dashboard.report import report  # noqa: E402
from dashboard.serving import latencies  # noqa: E402
from dashboard.show import to_csv  # noqa: E402
from dashboard.view import View  # noqa: E402
from diger.bundle import BrokenBundle  # noqa: E402
from diger.charts import lift  # noqa: E402
from diger.errors import DigerError  # noqa: E402
from diger.memory import Memory  # noqa: E402

APP = ROOT / "dashboard" / "window.py"
ALL_PAGES = [*(page.key for page in PAGES), "report", "bundles", "glossary"]
NASTY = "<script>alert(1)</script> :red[x] $y$ ![i](http://x/y.png)"


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv(VARIABLE, str(folder))
        yield folder


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return write_study(tmp_path_factory.mktemp("study"), seeds=3, users=250, epochs=4)


def opened(folder):
    return Library.of(sources.opened([folder]))


@pytest.fixture(scope="module")
def library(study):
    return opened(study)


def lens(library, **view):
    return Lens(library, View(**view))


def panels(library, **view):
    one = lens(library, **view)
    found = {b.__name__: build(b, one) for page in PAGES for b in page.builders}
    assert not any("could not be drawn" in panel.missing for panel in found.values())
    return found


def app_of(monkeypatch, folder):
    monkeypatch.setenv(sources.VARIABLE, str(folder))
    monkeypatch.setattr(sys, "argv", ["streamlit"])
    return AppTest.from_file(str(APP), default_timeout=60)


def open_page(monkeypatch, folder, key):
    """One page of the whole app, run by AppTest."""
    app = app_of(monkeypatch, folder).run()
    if key != PAGES[0].key:
        known = app._registered_pages.items()  # AppTest has no public way to a callable page
        app._page_hash = next(h for h, info in known if info.get("url_pathname") == key)
        app.run()
    assert not app.exception
    return app


def words(app):
    kinds = ("title", "markdown", "caption", "info", "warning", "error", "success")
    return " ".join(str(e.value) for kind in kinds for e in app.get(kind))


@pytest.mark.parametrize("key", ALL_PAGES)
def test_every_page_with_a_whole_study_with_nothing_and_with_broken_bundles_only(
    monkeypatch, study, tmp_path, key
):
    app = open_page(monkeypatch, study, key)
    assert len(app.title) == 1
    if key in ("verdict", "where", "training", "codebook", "drift", "cost", "compare"):
        assert len(app.get("vega_lite_chart")) >= 2
        assert "could not be drawn" not in words(app)
    app = open_page(monkeypatch, tmp_path, key)
    if key in {page.key for page in PAGES}:
        assert app.title[0].value == "No runs yet"
    app = open_page(monkeypatch, write_broken(tmp_path), key)
    if key == "bundles":
        assert "0 bundles read, 4 left out" in words(app)


def test_a_folder_that_is_not_there_is_a_sentence(monkeypatch, tmp_path):
    assert "nowhere" in words(open_page(monkeypatch, tmp_path / "nowhere", "verdict"))


def test_broken_bundles_do_not_hurt_the_rest(monkeypatch, tmp_path):
    write_broken(tmp_path)
    write_run(tmp_path, seed=1)
    shown = words(open_page(monkeypatch, tmp_path, "leaderboard"))
    assert "4 bundles left out" in shown
    assert "Every arm by ndcg" in shown


def test_findings_state_the_numbers(library):
    found = panels(library)
    assert found["main_metric"].finding == (
        "Differentiable: better than static on 1 of 3 datasets, no difference shown on 2 (ndcg@10)"
    )
    assert found["simulated"].finding.startswith(
        "Simulated data, not counted, differentiable against static on Demo (simulated): better"
    )
    assert found["effective"].finding.startswith("Collapse: ste keeps")
    assert "detached none" in found["gradients"].finding
    assert re.search("static 9.* ndcg@10 on Alpha: better", found["seconds"].finding)
    cost = found["seconds"].figures[0].table.set_index("method")["cost"]
    assert cost["popularity"] == 0 and 9 <= cost["static"] <= 10  # the fastest of each run


def test_every_panel_is_whole(library):
    for name, panel in panels(library, a="alpha-static-s0", b="alpha-ste-s0").items():
        assert isinstance(panel, Panel), name
        assert bool(panel.figures) != bool(panel.missing), name
        assert panel.finding or panel.missing
        assert set(panel.hashes) <= set(library.bundles), name
        assert all(f.chart is not None or f.table is not None for f in panel.figures)
        assert set(panel.terms) <= {*TERMS, "memory", "seconds", "parameters"}, name


def test_ingredients_are_compared_alike_and_claim_nothing(library):
    found = panels(library)
    tables = {f.title: f.table.set_index("title") for f in found["training"].figures}
    verdict = found["main_metric"].figures[0].table.set_index("title")
    declared = tables["differentiable against static"].loc["Alpha, text"]
    assert declared["label"] == verdict.loc["Alpha", "label"], "one source of claims"
    labels = {label for one in tables.values() for label in one["label"]} - set(verdict["label"])
    labels -= set(found["simulated"].figures[0].table["label"])
    assert not [one for one in labels if re.search("better|worse", one)]
    rows = found["cells"].figures[0].table.set_index("name")
    assert rows.loc["behaviour: static", "note"] == "not run" and rows["value"].notna().sum() >= 5
    listed = found["comparisons"].figures[0].table
    assert (listed["why blank"] != "").any() and found["content"].missing


def test_filters_hold_everywhere(library):
    one = lens(library, data=("alpha",), arms=("static", "sasrec"))
    assert set(one.runs["dataset"]) == {"alpha"} and set(one.summary["arm"]) == {"static", "sasrec"}
    found = panels(library, data=("alpha",), arms=("static", "sasrec"))
    assert "Alpha: no differentiable runs" in found["main_metric"].missing
    simulated = panels(library, data=("demo",))
    assert "no real data" in simulated["main_metric"].missing
    assert "Demo (simulated)" in simulated["simulated"].finding
    table = found["table"].figures[0].table
    assert set(table["arm"]) == {"static", "sasrec"}


def test_datasets_out_of_sight_stay_in_the_family_of_claims(library):
    every = {c.dataset: c for c in claims(lens(library), "ndcg@10", simulated=False)}
    alone = claims(lens(library, data=("alpha",)), "ndcg@10", simulated=False)
    assert len(every) == 3 and alone == [every["alpha"]]


def test_variants_are_shown_when_asked_for(monkeypatch, tmp_path):
    write_runs(tmp_path, "static")
    write_runs(tmp_path, "differentiable", decay="frqud")
    for decay in ("sdud", "cosine", "tau-anneal"):
        write_run(tmp_path, method="differentiable", decay=decay)
    write_run(tmp_path, recipe="other", name="other")
    library = opened(tmp_path)
    assert set(lens(library).summary["arm"]) == {"static", "differentiable (frqud)"}
    assert len(lens(library).with_variants) == len(lens(library, variants=True).runs) == 8
    chosen = lens(library, arms=("differentiable (sdud)",))
    assert list(chosen.summary["arm"]) == ["differentiable (sdud)"]

    app = open_page(monkeypatch, tmp_path, "drift")
    assert "4 of 8 runs" in words(app) and "4 variants not shown" in words(app)
    app.toggle(key="variants").set_value(True).run()
    assert not app.exception
    assert "8 of 8 runs" in words(app) and "arms: all" in words(app).replace("\\", "")


def test_headings_name_every_arm_of_a_few_and_the_ends_of_many():
    few = pd.Series({"static": 0.0, "ste": 0.25})
    assert in_words(few, "{:.0%}".format) == "static 0%, ste 25%"
    many = pd.Series({f"arm {i}": i / 10 for i in range(9)})
    assert in_words(many, "{:.0%}".format) == "from 0% (arm 0) to 80% (arm 8), of 9 arms"


def test_one_seed_says_so_and_has_no_interval(tmp_path):
    write_runs(tmp_path, "static", "differentiable", seeds=1)
    found = panels(opened(tmp_path))
    assert "one seed" in found["main_metric"].finding
    table = found["main_metric"].figures[0].table
    assert table["low"].isna().all() and "one seed" in table["label"].iloc[0]
    assert re.search("too few seeds|no slice has 200 users", found["by_popularity"].finding)


def test_unlike_data_is_refused_with_the_reason_and_the_cell_stays_blank(tmp_path):
    write_runs(tmp_path, "static")
    write_runs(tmp_path, "differentiable", fingerprint="0" * 64)
    write_runs(tmp_path, "static", "differentiable", dataset="others")
    found = panels(opened(tmp_path))
    assert "different data" in " ".join(found["main_metric"].blank)
    table = found["details"].figures[0].table
    row = table[table["dataset"] == "Toys"].iloc[0]
    assert row["lift"] == "" and "different data" in row["why blank"]
    assert any("different data" in reason for reason in found["beside"].blank)


@pytest.mark.parametrize(
    ("missing", "panel", "words"),
    [
        ("items ranks", "main_metric", "no ranks.parquet"),
        ("history levels", "validation", "no run here recorded"),
        ("codes topk", "usage", "no run here recorded the use of codes"),
    ],
)
def test_a_missing_file_costs_its_panels_and_no_others(tmp_path, missing, panel, words):
    without = [f"{name}.parquet" for name in missing.split()]
    write_runs(tmp_path, "static", "differentiable", leave_out=without, users=60, epochs=3)
    found = panels(opened(tmp_path))
    assert found["table"].figures
    assert words in found[panel].missing


def test_runs_without_joint_columns_or_without_sids(tmp_path):
    write_run(tmp_path, method="differentiable", joint=False)
    write_runs(tmp_path, "popularity", "sasrec", seeds=1)
    found = panels(opened(tmp_path))
    assert "joint training" in found["noise"].missing
    assert found["over_epochs"].missing and found["by_level"].figures


def test_a_fault_of_ours_is_a_message_and_is_logged(library, caplog):
    def faulty(_lens):
        raise ZeroDivisionError("secret")

    panel = build(faulty, lens(library))
    assert panel.missing == "this chart could not be drawn (ZeroDivisionError)"
    assert "faulty failed" in caplog.text


def test_a_panel_is_built_again_only_for_what_it_reads(library):
    built = []

    def panel_of(one):
        built.append(one.view.metric)
        level = one.view.level if one.view.metric == "recall@5" else ""
        return Panel(key="p", finding=f"{one.view.metric} {level}")

    def shown(**changes):
        return build(panel_of, lens(library, **changes)).finding.strip()

    assert [shown(), shown(level=2), shown(seed=3, epoch=1)] == ["ndcg@10"] * 3
    assert len(built) == 1, "the level is not read yet"
    assert shown(metric="recall@5") == "recall@5 1" and shown(metric="recall@5", level=2)[-1] == "2"
    assert shown() == "ndcg@10"  # once more, now that what it reads is known
    times = len(built)
    assert [shown(seed=1), shown(metric="recall@5", level=2)] == ["ndcg@10", "recall@5 2"]
    assert len(built) == times


def test_a_file_damaged_without_a_change_of_size_is_a_reason(tmp_path):
    write_runs(tmp_path, "static")
    damage(write_runs(tmp_path, "differentiable"), "ranks.parquet")
    found = panels(opened(tmp_path))
    assert "does not match the SHA-256" in found["main_metric"].missing
    assert found["table"].figures


def test_a_damaged_history_costs_the_line_of_its_run_and_is_named(tmp_path):
    for seed in range(2):
        path = write_run(tmp_path, seed=seed)
    damage(path)
    found = panels(opened(tmp_path))
    assert set(found["validation"].figures[0].table["seed"]) == {0}
    for name in ("validation", "loss"):
        assert any(path.name in reason for reason in found[name].blank)
    assert found["memory"].figures


def test_damaged_duplicate_and_foreign_bundles_are_named_and_cost_nothing_else(
    monkeypatch, tmp_path
):
    for seed in range(2):
        path = write_run(tmp_path, seed=seed)
    damage(path)
    shutil.copytree(path, tmp_path / "copy")
    write_run(tmp_path, seed=0, name="again", memory=1 << 20)
    write_broken(tmp_path)
    app = open_page(monkeypatch, tmp_path, "training")
    assert len(app.get("vega_lite_chart")) >= 2
    assert re.search(r"Blank: .*history\\?\.parquet.*does not match", words(app))
    app = open_page(monkeypatch, tmp_path, "bundles")
    assert "2 bundles read, 6 left out" in words(app)
    reasons = dict(app.dataframe[0].value[["bundle", "reason"]].to_numpy())
    assert "same bundle" in reasons[path.name] and "a seed counts once" in reasons["toys-static-s0"]
    assert {"foreign", "newer", "no-manifest", "changed"} <= set(reasons)


def test_claims_are_kept_by_what_they_were_made_from(library, cache, tmp_path):
    (one,) = [c for c in claims(lens(library), "ndcg@10", simulated=True) if c.difference]
    bare = replace(one, outcome="not compared", adjusted_p=None)
    calls = []

    def make():
        calls.append(1)
        return bare

    kept = Kept()
    assert [kept.claim(key, make) for key in ("a", "a", "b")] == [bare] * 3 and len(calls) == 2
    for file in (cache / "claims").iterdir():
        file.write_text('{"difference": 3}')
    assert kept.claim("a", make) == bare and len(calls) == 3
    (tmp_path / "kept.json").write_text(json.dumps(kept.used))
    assert Kept.beside([tmp_path]).claim("b", make) == bare and len(calls) == 3
    (tmp_path / "kept.json").write_text("[" * 100_000)
    assert Kept.beside([tmp_path]).shipped == {}
    frame = pd.DataFrame({"label": ["few", "many"], "low": [0.1, None], "users": [3, 4]})
    twice = [kept.frame("c", lambda: frame), kept.frame("c", lambda: 1 / 0)]
    assert all(one.equals(frame) for one in twice)


def test_the_metric_changes_the_verdict_or_the_panel_says_that_it_does_not(library):
    found = panels(library, metric="recall@5")
    assert "(recall@5)" in found["second_metric"].finding
    for name in ("decision", "main_metric"):
        assert found[name].notes[0].startswith("Always ndcg@10")


def test_the_leaderboard_has_ranks_and_the_best_of_a_dataset_in_bold(library):
    figure = panels(library)["table"].figures[0]
    alpha = figure.table[figure.table["dataset"] == "Alpha"]
    assert list(alpha["rank"]) == sorted(alpha["rank"]) and alpha["rank"].iloc[0] == 1
    best = figure.best.loc[alpha.index, "ndcg@10"]
    assert list(best) == [True, *[False] * (len(alpha) - 1)]


def test_a_repeated_seed_is_left_out_and_listed(tmp_path):
    write_run(tmp_path, name="first")
    write_run(tmp_path, name="second", memory=1 << 20)
    found = opened(tmp_path)
    assert len(found.runs) == 1
    assert [b.path.name for b in found.broken] == ["second"]
    assert "a seed counts once" in found.broken[0].reason


def test_results_are_remembered_by_hash_and_failures_are_not():
    memory, calls = Memory(most=2), itertools.count(1)
    found = [memory.get(name, lambda: next(calls)) for name in "aabca"]
    assert found == [1, 1, 2, 3, 4], "the third of two pushes the first out"
    with pytest.raises(ZeroDivisionError):
        memory.get("d", lambda: 1 / 0)
    assert memory.get("d", lambda: 7) == 7


def test_what_one_thread_is_making_another_waits_for():
    memory, calls, begun, go = Memory(), itertools.count(1), threading.Event(), threading.Event()

    def slow():
        begun.set()
        go.wait(5)
        return next(calls)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(memory.get, "a", slow)
        begun.wait(5)
        second = pool.submit(memory.get, "a", slow)
        assert memory.get("b", lambda: "another key waits for nobody") and not second.done()
        go.set()
        assert first.result() == second.result() == 1


def test_the_server_has_opened_the_bundles_before_anybody_comes(monkeypatch, study, tmp_path):
    assert discover_asgi_app(APP.with_name("app.py")).import_string == "app:app"
    source = tmp_path / "study"
    source.symlink_to(study)
    monkeypatch.setattr("dashboard.app.VISIT", 0)
    monkeypatch.setattr(sys, "argv", ["app.py", str(source)])
    warm()
    with monkeypatch.context() as patch:
        patch.setattr(Library, "of", None)  # nothing is opened a second time
        assert len(load((str(source),)).runs)
    monkeypatch.setattr(sys, "argv", ["app.py", str(tmp_path / "nothing")])
    warm()  # the visitor's own run says what is wrong


def test_a_rewritten_bundle_is_noticed(tmp_path):
    write_run(tmp_path, name="x", quality=0.2)
    before = sources.signature([tmp_path])
    assert sources.signature([tmp_path]) == before
    write_run(tmp_path, name="y")
    assert sources.signature([tmp_path]) != before


def test_the_view_comes_from_the_url_and_passes_over_nonsense():
    view = View.of({"data": ["a", "b"], "metric": "recall@10", "epoch": "3", "seed": "x"})
    assert (view.data, view.metric, view.epoch, view.seed) == (("a", "b"), "recall@10", 3, None)
    assert View.of({"metric": "wealth@1", "challenger": "?", "level": None}) == View()
    assert View.of({"arms": "static"}).arms == ("static",)
    assert View.of({"variants": "True"}).variants and not View.of({"variants": "maybe"}).variants


def test_filters_are_in_the_url(monkeypatch, study):
    app = app_of(monkeypatch, study)
    app.query_params["data"] = "alpha"
    app.query_params["metric"] = "recall@5"
    app.run()
    assert app.multiselect(key="data").value == ["alpha"]
    assert app.selectbox(key="metric").value == "recall@5"
    assert "datasets: Alpha" in words(app).replace("\\", "")


def test_sources_from_arguments_variable_and_default(monkeypatch):
    monkeypatch.delenv(sources.VARIABLE, raising=False)
    assert sources.configured([], Path("c")) == ("c",)
    monkeypatch.setenv(sources.VARIABLE, "a, b hub://o/n")
    assert sources.configured([], Path("c")) == ("a", "b", "hub://o/n")
    assert sources.configured(["x", "y"], Path("c")) == ("x", "y")


def test_hub_addresses_and_collections_are_fetched_and_failures_listed(tmp_path):
    def fetch(address):
        if "gone" in address:
            raise DigerError("it is not there")
        return tmp_path / address.rsplit("/", 1)[1]

    def members(slug):
        if slug != "o/c-1":
            raise DigerError("no such collection")
        return ["hub://o/one", "hub://o/gone"]

    asked = ["here", "hub://o/two@v1", "hub://collections/o/c-1", "hub://collections/o/c-2"]
    folders, failed = sources.fetched(asked, fetch, members)
    assert folders == (Path("here"), tmp_path / "two@v1", tmp_path / "one")
    assert [b.reason for b in failed] == ["it is not there", "no such collection"]


def test_a_bundle_in_two_places_is_opened_once(tmp_path):
    path = write_run(tmp_path)
    assert len(sources.opened([tmp_path, path])) == 1
    shutil.copytree(path, tmp_path / "copy")
    found = {one.path.name: one for one in sources.opened([tmp_path, path])}
    copies = [one for one in found.values() if isinstance(one, BrokenBundle)]
    assert len(found) == 2 and "same bundle" in copies[0].reason
    missing = sources.opened([tmp_path / "nowhere"])
    assert isinstance(missing[0], BrokenBundle)


def test_the_report_is_one_dated_file_that_loads_and_runs_nothing(tmp_path):
    pytest.importorskip("vl_convert", reason="drawing needs vl-convert-python")
    write_runs(tmp_path, "static", "differentiable", users=60, title=NASTY)
    one = lens(opened(tmp_path))
    pages = [p for p in PAGES if p.key in ("verdict", "leaderboard")]
    parts = {p.question: [build(b, one) for b in p.builders] for p in pages}
    seen = []
    text = report(NASTY, parts, one, progress=seen.append)
    assert seen[-1] == 1.0
    assert "<script" not in text.lower() and "onerror" not in text.lower()
    assert not re.search(r'(?:src|href|xlink:href)="(?!#)', text)
    assert "@import" not in text and "url(http" not in text
    assert "default-src 'none'" in text
    assert text.startswith("<!doctype html>") and text.rstrip().endswith("</html>")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert all(digest in text for digest in one.runs["hash"])
    assert re.search(r"\d\d \w+ 20\d\d", text)
    assert text.count("<svg") >= 2 and "@page" in text


def test_csv_runs_no_formula():
    frame = pd.DataFrame({"=cmd": ["=1+1", "-1"], "n": [-1, 2]})
    assert to_csv(frame).splitlines() == ["'=cmd,n", "'=1+1,-1", "'-1,2"]


def test_text_from_a_bundle_is_shown_as_text(monkeypatch, tmp_path):
    write_runs(tmp_path, "static", "differentiable", seeds=1, title=NASTY)
    shown = words(open_page(monkeypatch, tmp_path, "leaderboard"))
    assert "<script>" not in shown and ":red[" not in shown and "![" not in shown


def test_latency_files_are_read_and_nonsense_is_named(tmp_path):
    path = tmp_path / "latency.json"
    path.write_text('[{"bundle": "a", "p50_ms": 3, "p95_ms": 5}, {"bundle": 4}, "x"]')
    frame, wrong = latencies([str(tmp_path), str(tmp_path / "no")])
    assert frame[["bundle", "p50_ms", "p95_ms"]].to_numpy().tolist() == [["a", 3.0, 5.0]]
    assert "2 entries" in wrong[0]
    for text in ("{", '{"bundle": "a"}', "[" * 100_000):
        path.write_text(text)
        frame, wrong = latencies([str(tmp_path)])
        assert frame.empty and str(path) in wrong[0]
    write_run(tmp_path)
    assert str(path) in panels(opened(tmp_path))["serving"].missing


def test_published_figures_say_where_they_are_from():
    frame = published()
    assert (frame["source"].str.len() > 5).all() and (frame["protocol"].str.len() > 5).all()
    beauty = frame[(frame["dataset"] == "beauty") & (frame["metric"] == "ndcg@10")]
    assert beauty.set_index("name").loc["DIGER SDUD + FrqUD", "value"] == 0.0376


# What only the words of a claim may say.
COMPARING = re.compile(
    r"(?i)(?<!e)[+-]\d|\b(lead|win|lose|beat|improve|gain|fast|slow|cheap|high|low)(s|e[rs]|est)?\b"
    r"|\b(more|less|fewer) than (?!3 seeds)|\btimes\b"
)


@pytest.mark.parametrize(
    ("lift", "seeds", "asserts"),
    [(1.6, 3, "better"), (0.5, 3, "worse"), (1.0, 3, ""), (1.6, 1, "")],
    ids=["win", "loss", "tie", "one seed"],
)
def test_no_title_asserts_a_change_unless_the_verdict_does(tmp_path, lift, seeds, asserts):
    write_runs(tmp_path, "static", seeds=seeds, quality=0.3)
    write_runs(tmp_path, "differentiable", seeds=seeds, quality=0.3 * lift)
    library = opened(tmp_path)
    for metric in ("ndcg@10", "recall@5"):
        one = lens(library, metric=metric)
        (claim,) = claims(one, metric, simulated=False)
        found = panels(library, metric=metric, a="toys-static-s0", b="toys-differentiable-s0")
        titles = [panel.finding for panel in found.values()]
        said = {word for title in titles for word in re.findall(r"\b(?:better|worse)\b", title)}
        assert said == ({asserts} if asserts else set())
        rest = [title.replace(claim.words(), "") for title in titles]
        assert not [title for title in rest if COMPARING.search(title)]
        assert asserts or not any("Use diff" in title for title in titles)


@pytest.mark.parametrize(
    ("lift", "seeds"), [(1.6, 3), (0.5, 3), (1.0, 3), (1.6, 1)], ids=["win", "loss", "tie", "one"]
)
def test_titles_of_ingredients_count_and_never_say_which_way(tmp_path, lift, seeds):
    def arms(method, name, quality=0.3, **options):
        for seed in range(seeds):
            one = f"{name}-{method}-{seed}"
            write_run(tmp_path, method=method, seed=seed, name=one, quality=quality, **options)

    learned = {"method": "differentiable", "decay": "none", "noise": "gumbel"}
    for content in (("text",), ("behaviour",), ("text", "behaviour")):
        sources = {"content": {"sources": dict.fromkeys(content, 1.0)}}
        recipe = {"whole_recipe": {"name": "-".join(content), **sources}}
        quality = 0.3 if content == ("text",) else 0.3 * lift
        arms("static", "-".join(content), quality, **recipe)
        arms("detached", "-".join(content), quality * lift, **recipe)
        arms("differentiable", "-".join(content), quality * lift, **recipe)
    moving = {"name": "moving", "content": {"sources": {"text": 1.0}}, "joint": {"offsets": 0.1}}
    arms("differentiable", "moving", 0.3 * lift, whole_recipe=moving)
    drawn = {"name": "random", "tokenizer": {"kmeans": {"random": True}}}
    arms("static", "random", 0.3 * lift, whole_recipe=drawn)
    arms("static", "frozen", 0.3 * lift, sids_from={"arm": learned, "hash": "a"})
    arms("sasrec", "beside", 0.3 * lift)
    found = panels(opened(tmp_path))
    listed = found["comparisons"].figures[0].table
    titles = {name: found[name].finding for name in ("content", "training", "controls")}
    compared = {name: sum(len(f.table) for f in found[name].figures) for name in titles}
    assert compared["content"] == 6 and compared["controls"] >= 2 and compared["training"] >= 7
    rungs = {f.title: f.table["arm"].to_list() for f in found["training"].figures}
    (moved,) = rungs["items that may move against static"]
    assert moved not in rungs["differentiable against static"]
    for name, title in titles.items():
        assert not re.search("better|worse", title) and not COMPARING.search(title), title
        said = re.search(r"(\w+) of (\d+) comparisons", title)
        assert int(said[2]) == compared[name]
        rows = listed[listed["kind"] == name.removesuffix("s")]
        one_way = ~rows["difference of each seed"].str.contains(r"\+.*-|-.*\+")
        clear = (pd.to_numeric(rows["p, Holm"]) <= 0.05) & one_way
        assert said[1] == str(int(clear.sum()) or "none")
        assert said[1] == "none" or (lift != 1.0 and seeds == 3)


def test_five_datasets_fit_on_a_slide_in_type_of_28_pixels():
    frame = pd.DataFrame({"title": list("abcde"), "method": "static", "lift": 0.1}).assign(
        low=0.0, high=0.2, label="", head="", numbers="", line=""
    )
    seeds = frame[["title", "lift"]].assign(seed=0)
    chart = lift.forest(frame, seeds, "ndcg@10", "static", slide=True)
    assert chart.height + projector.AXIS <= projector.ROOM
