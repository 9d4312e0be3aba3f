"""Pages about the dashboard itself: what was read, what the words mean, and how to begin."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboard.glossary import TERMS
from dashboard.library import Library
from dashboard.show import show_table
from diger.text import markdown, printable

_COLUMNS = ["bundle", "dataset", "arm", "seed", "kind", "decoding", "recipe", "fingerprint", "hash"]
_NAMES = {"fingerprint": "data fingerprint", "hash": "SHA-256 of the manifest"}


def show_bundles(library: Library) -> None:
    """Every bundle that was found: read, or left out and why."""
    broken = library.broken
    st.title("What was read, and what was not?")
    st.markdown(f"### {len(library.runs)} bundles read, {len(broken)} left out")
    if broken:
        rows = [{"bundle": b.path.name, "reason": b.reason, "path": str(b.path)} for b in broken]
        frame = pd.DataFrame(rows).map(printable)
        st.markdown("**Left out**")
        show_table(frame, {})
    if len(library.runs):
        st.markdown("**Read**")
        runs = library.runs.assign(dataset=library.runs["dataset"].map(library.titles))
        table = runs[_COLUMNS].rename(columns=_NAMES)
        show_table(table.map(lambda v: printable(v) if isinstance(v, str) else v), {})


def show_glossary() -> None:
    """All definitions."""
    st.title("What do the words mean?")
    for term, meaning in TERMS.items():
        st.markdown(f"**{markdown(term)}**: {markdown(meaning)}")


def show_empty(library: Library) -> None:
    """What to do where there is nothing to show."""
    st.title("No runs yet")
    st.markdown("The dashboard reads checkpoint bundles. Make one, or point it at some:")
    st.code(
        "python -m diger train small --data data/made-up --out checkpoints/made-up-static-s0\n"
        "streamlit run dashboard/app.py -- checkpoints another/folder hub://owner/name",
        language="bash",
    )
    for one in library.broken:
        st.warning(f"{markdown(one.path)}: {markdown(one.reason)}")
