"""What a visitor sees: Streamlit runs this anew for every visit and every change."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:  # run as a script, the packages beside this folder are not found
    sys.path.insert(0, str(ROOT))

import streamlit as st  # noqa: E402

from dashboard.frame import run  # noqa: E402
from dashboard.sources import configured  # noqa: E402

st.set_page_config(
    page_title="DIGER Studio: is differentiable better?",
    page_icon=str(Path(__file__).with_name("icon.svg")),
    layout="wide",
    menu_items={"about": "DIGER Studio: train, try and judge differentiable semantic IDs."},
)
run(configured(sys.argv[1:], ROOT / "checkpoints"))
