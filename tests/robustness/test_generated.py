"""Generated calls and links, a few of each; `long.py` makes thousands."""

from __future__ import annotations

import pytest

pytest.importorskip("hypothesis", reason="in the extra dev")
pytest.importorskip("gradio", reason="the web app's own requirement, app/requirements.txt")
pytest.importorskip("streamlit", reason="the dashboard needs dashboard/requirements.txt")

import generated


@pytest.mark.parametrize(
    "rows",
    [
        lambda: generated.api_calls(60),
        lambda: generated.app_queries(30, 0),
        lambda: generated.dashboard_queries(6, 0),
    ],
    ids=["calls", "links of the app", "links of the dashboard"],
)
def test_generated(rows):
    assert list(rows())
