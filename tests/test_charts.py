"""Charts: valid specifications, one colour a method, readable on light and dark."""

import itertools
import json
import pkgutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

alt = pytest.importorskip("altair", reason="charts need altair")

from diger import charts as package  # noqa: E402
from diger.charts import codebook, curves, export, labels, lift, methods, tables  # noqa: E402
from diger.charts.theme import ADAPTIVE, DARK, LIGHT, Look, method_scales, specification  # noqa: E402
from diger.statistics.curves import bands  # noqa: E402

NASTY = "<img src=x onerror=alert(1)> {{7*7}} **b** théâtre"


def forest(n=3):
    frame = pd.DataFrame({"title": [f"{NASTY} {i}" for i in range(n)], "method": "differentiable"})
    frame["lift"] = np.linspace(-0.1, 0.2, n)
    frame["low"] = [np.nan, *np.linspace(-0.1, 0.1, n - 1)]
    frame["high"] = [np.nan, *np.linspace(0.0, 0.3, n - 1)]
    return frame.assign(
        label="one seed", head=frame["title"], numbers="one seed", line=frame["title"]
    ), frame[["title", "lift"]].assign(seed=0)


def lines(arms=("static", "differentiable (frqud)"), epochs=5, seeds=2):
    return pd.DataFrame(
        [
            {"arm": arm, "method": arm.split(" ")[0], "seed": s, "epoch": e, "v@10": a + e / 10}
            for a, arm in enumerate(arms)
            for s in range(seeds)
            for e in range(1, epochs + 1)
        ]
    )


def curve(frame, **options):
    return curves.curve(frame, bands(frame, "v@10"), "v@10", "value", **options)


def table_of(columns, *rows, **same):
    return pd.DataFrame(rows, columns=columns.split()).assign(**same)


def charts():
    slices = table_of(
        "label users difference low high verdict",
        ("a", 10, 0.1, np.nan, np.nan, "under 200 users"),
        ("b", 1000, 0.0, -0.1, 0.1, "better"),
        baseline=0.1,
        arm=0.2,
    )
    outcomes = ("won", 3), ("lost", 2), ("both", 9)
    won = table_of("outcome users", *outcomes, seed=0, share=0.1)
    overlap = table_of("pairs overlap lowest highest", (1, 0.5, 0.5, 0.5), between="two arms")
    reach = table_of("arm method seed value", ("static", "static", 0, 0.3))
    beside = table_of(
        "name method value low high published",
        ("static", "static", 0.1, 0.1, 0.1, False),
        ("published: X", "", 0.2, np.nan, np.nan, True),
        note="",
    )
    ste = {"arm": "ste", "method": "ste"}
    changed = table_of("level share", (0, 0.5), (1, 0.2), **ste)
    parts = table_of("part share", ("head", 0.5), ("tail", 0.2), items=5, **ste)
    flows = table_of(
        "start now items", ("1", "1", 5), ("1", "2", 2), ("2", "other", 1), ("other", "other", 9)
    )
    codes = pd.DataFrame({"epoch": 0, "level": 1, "code": np.arange(256), "items": 3})
    points = table_of("arm", ["static"], ["sasrec"], quality=0.1, cost=1.0, front=True, seeds=1)
    points["method"] = points["arm"]
    metrics = table_of("metric a b", ("ndcg@10", 0.1, 0.2))
    pair = [("one", "static"), ("two", "differentiable")]
    one = table_of("arm seed epoch", ("static", 0, 3))
    yield "forest", lift.forest(*forest(), "ndcg@10", "static")
    yield "forest of one seed", lift.forest(*forest(1), "ndcg@10", "static")
    yield "forest without ticks", lift.forest(forest()[0], forest()[1].iloc[:0], "x", "static")
    yield "beside", lift.beside(beside, "ndcg@10")
    yield "slices", lift.slice_forest(slices, "ndcg@10", "differentiable")
    yield "won and lost", lift.won_and_lost(won, "differentiable", "static")
    yield "overlap", lift.overlap(overlap, 10)
    yield "reach", lift.reach(reach, "share")
    yield "curve", curve(lines(), selected=one)
    yield "curve of one point", curve(lines(epochs=1, seeds=1))
    yield "changed by level", codebook.changed_by_level(changed)
    yield "head and tail", codebook.head_and_tail(parts)
    yield "ribbons", codebook.ribbon_chart(flows, "differentiable")
    yield "ribbons of nothing", codebook.ribbon_chart(flows.iloc[3:], "differentiable")
    yield "heat map", codebook.heat_map(codebook.usage_grid(codes, 0, 1), 3)
    yield "dead level", codebook.heat_map(codebook.usage_grid(codes.assign(items=0), 0, 1), 0)
    yield "cost", lift.pareto_chart(points, "ndcg@10", "seconds")
    yield "dumbbell", lift.dumbbell(metrics, pair)


@pytest.mark.parametrize(("name", "chart"), list(charts()))
def test_every_chart_is_valid_draws_and_fetches_nothing(name, chart):
    pytest.importorskip("vl_convert", reason="drawing needs vl-convert-python")
    chart.to_dict()  # validates against the Vega-Lite schema
    svg = export.to_svg(chart, title="A finding", source="made today")
    assert svg.startswith("<svg") and "A finding" in svg
    assert "theme:" not in svg and "<script" not in svg
    assert "onerror=alert" not in svg.replace("&lt;img src=x onerror=alert", "")
    text = json.dumps({k: v for k, v in specification(chart).items() if k != "datasets"})
    assert '"url"' not in text and '"href"' not in text
    assert "http" not in text.replace("https://vega.github.io/schema", "")


def test_a_look_changes_inks_and_sizes_but_no_method_colour():
    chart = lift.forest(*forest(), "ndcg@10", "static")
    light, dark, page = (json.dumps(specification(chart, look)) for look in (LIGHT, DARK, ADAPTIVE))
    assert LIGHT.ink in light and DARK.ink in dark and "theme:" not in light
    assert all(methods.METHOD_COLOURS["differentiable"] in text for text in (light, dark))
    assert LIGHT.ink not in page and "currentColor" in page
    light, big = specification(chart, LIGHT), specification(chart, Look(scale=2))
    assert big["config"]["axis"]["labelFontSize"] == 2 * light["config"]["axis"]["labelFontSize"]
    for before, after in zip(light["layer"], big["layer"], strict=True):
        size, times = before["mark"].get("size"), 2 if before["mark"]["type"] == "tick" else 4
        assert after["mark"].get("size") == (size and size * times)


def test_data_that_looks_like_a_theme_colour_stays_data():
    frame, seeds = forest(2)
    frame["title"] = seeds["title"] = ["theme:ink", "b"]
    spec = specification(lift.forest(frame, seeds, "x", "static"))
    assert "theme:ink" in json.dumps(spec["datasets"])


def test_arms_of_one_method_share_its_colour_and_differ_in_dash():
    scales = method_scales([(f"differentiable ({x})", "differentiable") for x in "ab"])
    colours, dashes = (scales[k].to_dict()["range"] for k in ("color", "dash"))
    assert set(colours) == {methods.METHOD_COLOURS["differentiable"]}
    assert dashes[0] != dashes[1]


def _linear(colour):
    c = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def _luminance(colour):
    return _linear(colour) @ [0.2126, 0.7152, 0.0722]


def _lab(linear):
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    t = xyz @ np.clip(linear, 0, 1) / [0.95047, 1, 1.08883]
    f = np.where(t > 0.008856, np.cbrt(t), 7.787 * t + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


# Machado, Oliveira and Fernandes 2009, full severity, in linear RGB.
MACHADO = """
protanopia 0.152286 1.052583 -0.204868 0.114503 0.786281 0.099216 -0.003882 -0.048116 1.051998
deuteranopia 0.367322 0.860646 -0.227968 0.280085 0.672501 0.047413 -0.01182 0.04294 0.968881
tritanopia 1.255528 -0.076749 -0.178779 -0.078411 0.930809 0.147602 0.004733 0.691367 0.303900
"""
SIGHT = {"normal": np.eye(3)} | {
    name: np.array(numbers, float).reshape(3, 3)
    for name, *numbers in map(str.split, MACHADO.strip().splitlines())
}


def contrast(one, other):
    low, high = sorted([_luminance(one), _luminance(other)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize(("look", "ground"), [(LIGHT, "#FFFFFF"), (DARK, "#0E1117")])
def test_text_and_method_colours_can_be_seen_on_both_grounds(look, ground):
    for method, colour in methods.METHOD_COLOURS.items():
        assert contrast(ground, colour) >= 3, method
    assert contrast(look.ink, look.ground) >= 4.5 and contrast(look.faint, look.ground) >= 4.5


@pytest.mark.parametrize("sight", SIGHT)
def test_method_colours_can_be_told_apart(sight):
    seen = {m: _lab(SIGHT[sight] @ _linear(c)) for m, c in methods.METHOD_COLOURS.items()}
    for a, b in itertools.combinations(seen, 2):
        assert np.linalg.norm(seen[a] - seen[b]) > 20, (a, b)


def test_every_method_has_a_mark_a_shape_and_a_dash_of_its_own():
    for table in (methods.METHOD_MARKS, methods.METHOD_SHAPES):
        assert list(table) == list(methods.METHOD_COLOURS)
        assert len(set(table.values())) == len(table)
    assert methods.method_colour("unheard of") == methods.OTHER_COLOUR
    assert methods.method_mark("unheard of") == methods.OTHER_MARK


def test_end_labels_never_overlap_and_stay_in_the_plot():
    frame = lines(arms=("a (x)", "b (y)", "c", "d"))
    frame["v@10"] = 1.0
    found = labels.end_labels(frame, "v@10", (0.0, 2.0), 200).sort_values("top")
    unit = 2.0 / 200
    sizes = [labels.LINE * (1 + words.count("\n")) for words in found["words"]]
    tops = found["top"].to_numpy() / unit
    bottoms = tops - sizes
    assert (bottoms[1:] >= tops[:-1] - 1e-6).all()
    assert bottoms.min() >= -1e-6 and tops.max() <= 200 + 1e-6


def test_end_labels_stay_where_there_is_room():
    frame = lines(arms=("a", "b"))
    found = labels.end_labels(frame, "v@10", (0.0, 3.0), 300).set_index("arm")
    half = labels.LINE / 2 * 3.0 / 300
    assert found["top"].to_dict() == pytest.approx({"a": 0.5 + half, "b": 1.5 + half})


def test_of_many_lines_those_that_stand_apart_are_named():
    arms = [f"differentiable [v{index}]" for index in range(30)]
    frame = lines(arms=(*arms, "low", "high"))
    places = {arm: 1 + index / 1000 for index, arm in enumerate(arms)} | {"low": 0.1, "high": 1.9}
    frame["v@10"] = frame["arm"].map(places)
    found = labels.end_labels(frame, "v@10", (0.0, 2.0), 200)
    assert {"low", "high"} < set(found["arm"]) and len(found) < 6
    assert found["top"].is_monotonic_increasing
    assert set(found["words"]) <= {"low", "high", *(f"v{index}" for index in range(30))}


def test_point_labels_move_out_of_each_others_way_and_go_unnamed_where_no_place_is_free():
    count = 20
    places = labels.point_labels([0.5] * count, [0.5] * count, ["a name"] * count, 600, 300)
    assert len(places) == count and places["align"].iloc[0] == "center"
    named = places["align"].notna()
    assert 3 < named.sum() < count
    assert not places[named].duplicated().any()


def test_ticks_are_round_epochs():
    assert curves._ticks(1, 8) == [1, 2, 4, 6, 8]
    assert curves._ticks(0, 30) == [0, 5, 10, 15, 20, 25, 30]
    assert curves._ticks(3, 3) == [3]


def test_the_usage_grid_is_sixteen_wide_and_keeps_dead_codes():
    codes = pd.DataFrame({"epoch": 2, "level": 1, "code": [0, 255], "items": [4, 1]})
    grid = codebook.usage_grid(codes, 2, 1)
    assert len(grid) == 256 and grid["items"].sum() == 5
    assert grid.iloc[17][["row", "column"]].tolist() == [1, 1]


def test_latex_escapes_marks_the_best_and_leaves_blanks_blank():
    table = pd.DataFrame(
        [
            ("A & B", "static", 3, 0.1, 0.01, np.nan, np.nan),
            ("A & B", "differentiable_x", 1, 0.2, np.nan, 0.3, np.nan),
        ],
        columns=["dataset", "arm", "seeds", "ndcg@10", "± ndcg@10", "recall@10", "± recall@10"],
    )
    text = tables.to_latex(table, ["ndcg@10", "recall@10", "mrr@10"], "50 % of A_B")
    assert r"A \& B & static & 3 & $0.1000 \pm 0.0100$ &  \\" in text
    assert r" & differentiable\_x & 1 & $\mathbf{0.2000}$ & $\mathbf{0.3000}$ \\" in text
    assert r"\caption{50 \% of A\_B}" in text
    assert tables.latex("a\\b~^{") == r"a\textbackslash{}b\textasciitilde{}\textasciicircum{}\{"


def test_a_chart_as_png():
    pytest.importorskip("vl_convert", reason="drawing needs vl-convert-python")
    chart = lift.forest(*forest(), "ndcg@10", "static")
    assert export.to_png(chart, scale=1).startswith(b"\x89PNG")


def test_all_chart_modules_import_without_torch():
    names = [m.name for m in pkgutil.iter_modules(package.__path__, "diger.charts.")]
    code = f"import sys; sys.modules['torch'] = None; import {', '.join(names)}"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
