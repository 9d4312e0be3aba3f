"""What is particular to each of the two windows as a Space."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

# What a started window is asked, within its own environment; argument: its address. The app by its
# public API, the dashboard by a run of its first page (its server answers before any page is run).
_ASK_APP = """
import sys
from gradio_client import Client
client = Client(sys.argv[1], verbose=False)
first = client.predict(api_name="/datasets")[0]
item = client.predict(query="", dataset=first["dataset"], limit=1, api_name="/search")[0]
made = client.predict(history=[item["item_id"]], dataset=first["dataset"], api_name="/recommend")
for one in made["results"]:
    print(one["bundle"], "after", item["item_id"], "recommends", one["recommendations"][0]["sid"])
assert made["results"]
"""
_ASK_DASHBOARD = """
import sys
sys.argv = ["app.py"]
from streamlit.testing.v1 import AppTest
page = AppTest.from_file("dashboard/window.py", default_timeout=120).run()
assert not page.exception, page.exception
assert "torch" not in sys.modules
charts = len(page.get("vega_lite_chart"))
assert charts, [one.value for one in (*page.warning, *page.error, *page.markdown)]
print("the first page draws", charts, "charts, without torch")
"""


@dataclass(frozen=True)
class Window:
    """One window: its Space's kind, what goes up, how it is started and asked.

    sdk: of the Space. code: its folder in the checkout, whose content goes to `into` of the Space.
    command: starts it, in the Space's folder. environment: of that command; PORT stands for the
    port. health: a path that answers 200 once it serves. ask: Python that asks it for something and
    prints a line.
    """

    name: Literal["app", "dashboard"]
    sdk: Literal["gradio", "docker"]
    into: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    health: str
    ask: str


WINDOWS: Mapping[str, Window] = MappingProxyType(
    {
        "app": Window(
            name="app",
            sdk="gradio",
            into=".",
            command=("python", "app.py"),
            environment={"GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": "PORT"},
            health="/gradio_api/info",
            ask=_ASK_APP,
        ),
        "dashboard": Window(
            name="dashboard",
            sdk="docker",
            into="dashboard",
            command=("python", "-m", "streamlit", "run", "dashboard/app.py"),
            environment={"STREAMLIT_SERVER_ADDRESS": "127.0.0.1", "STREAMLIT_SERVER_PORT": "PORT"},
            health="/_stcore/health",
            ask=_ASK_DASHBOARD,
        ),
    }
)
