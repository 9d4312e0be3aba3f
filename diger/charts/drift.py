"""SID drift: the share of items that changed, by level and by part of the catalogue."""

from __future__ import annotations

import altair as alt
import pandas as pd

from diger.charts.theme import arm_rows, layered, method_scales, role, tips


def changed_by_level(frame: pd.DataFrame) -> alt.LayerChart:
    """Share of items whose codes changed since the start: arms down, whole SID and levels across.

    Args:
        frame: `arm, method, level, share`, means over seeds; level 0 is the whole SID.
    """
    shown = frame.assign(
        where=["whole SID" if level == 0 else f"level {level}" for level in frame["level"]],
        words=[f"{share:.0%}" for share in frame["share"]],
    )
    arms = list(shown[["arm", "method"]].drop_duplicates().itertuples(index=False, name=None))
    # Short, for cells are narrow on a phone.
    short = "replace(replace(datum.label, ' SID', ''), 'level ', '')"
    across = alt.Axis(labelAngle=0, orient="top", labelExpr=short)
    base = alt.Chart(shown).encode(
        x=alt.X("where:N", title="whole SID, then level by level", sort=None, axis=across),
        y=arm_rows(arms),
        tooltip=tips(arm="", where="", share=".1%"),
    )
    squares = base.mark_rect(stroke=role("ground"), strokeWidth=3, cornerRadius=4).encode(
        color=alt.Color("arm:N", scale=method_scales(arms)["color"], legend=None),
        # Never so dark that the number in it could not be read.
        opacity=alt.Opacity(
            "share:Q", scale=alt.Scale(domain=[0, 1], range=[0.06, 0.6]), legend=None
        ),
    )
    return layered(
        squares,
        base.mark_text(color=role("ink"), fontWeight=600).encode(text="words:N"),
        height=46 * max(2, len(arms)),
    )


def head_and_tail(frame: pd.DataFrame) -> alt.LayerChart:
    """Share of changed items in the head (filled) and the tail (hollow) of the catalogue.

    Args:
        frame: `arm, method, part, items, share`, part "head" or "tail", means over seeds.
    """
    arms = list(frame[["arm", "method"]].drop_duplicates().itertuples(index=False, name=None))
    scales = method_scales(arms)
    shown = frame.assign(words=[f"{row.part} {row.share:.0%}" for row in frame.itertuples()])
    wide = frame.pivot(index=["arm", "method"], columns="part", values="share").reset_index()
    y = arm_rows(arms)
    x = alt.X(
        "share:Q",
        title="items that changed",
        scale=alt.Scale(domain=[0, 1.1]),
        axis=alt.Axis(format=".0%", values=[0, 0.25, 0.5, 0.75, 1]),
    )
    colour = alt.Color("arm:N", scale=scales["color"], legend=None)
    rows = alt.Chart(shown).encode(y=y, x=x, tooltip=tips(arm="", part="", items=",", share=".1%"))
    head = rows.transform_filter(alt.datum.part == "head")
    tail = rows.transform_filter(alt.datum.part == "tail")
    joined = alt.Chart(wide).mark_rule(strokeWidth=3, opacity=0.5)
    return layered(
        joined.encode(y=y, x=alt.X("head:Q"), x2="tail:Q", color=colour),
        head.mark_point(size=120).encode(color=colour),
        tail.mark_point(size=120, filled=False, strokeWidth=2.5).encode(color=colour),
        head.mark_text(dy=-17, color=role("ink")).encode(text="words:N"),
        tail.mark_text(dy=19, color=role("ink")).encode(text="words:N"),
        height=72 * max(2, len(arms)),
    )
