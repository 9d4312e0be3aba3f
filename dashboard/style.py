"""The little CSS that Streamlit has no option for."""

from __future__ import annotations

_BASE = """
.stMainBlockContainer { padding-top: 3.2rem; max-width: 1320px; }
h1 { font-size: 2.1rem !important; letter-spacing: -0.01em; padding-bottom: 0.2rem !important; }
h3 { font-size: 1.3rem !important; line-height: 1.35 !important; text-wrap: balance;
     padding-top: 1.1rem !important; }
[data-testid="stVegaLiteChart"] { margin-bottom: -0.6rem; }
[class*="st-key-panel-"] { padding-bottom: 0.6rem; }
[class*="st-key-card-"] { gap: 0.2rem; }
@media print {
  [data-testid="stSidebar"], [data-testid="stHeader"], [data-testid="stPopover"],
  [class*="st-key-controls"] { display: none !important; }
  [class*="st-key-panel-"] { break-inside: avoid; }
}
"""
_PROJECTOR = """
[data-testid="stSidebar"], [data-testid="stHeader"] { display: none !important; }
.stMainBlockContainer { max-width: none; padding: 1.4rem 4vw 4.5rem 4vw; }
h1 { font-size: 1.3rem !important; font-weight: 500 !important; opacity: 0.75; }
h3 { font-size: 2.5rem !important; line-height: 1.2 !important; padding-top: 0 !important; }
[data-testid="stCaptionContainer"] { font-size: 1.15rem !important; }
[data-testid="stPopover"] { display: none !important; }
.st-key-slides { position: fixed; bottom: 0.8rem; left: 4vw; opacity: 0.8; }
.st-key-remote { position: fixed; bottom: 0; opacity: 0; pointer-events: none; height: 0; }
"""


def css(projector: bool = False) -> str:
    """A style element for `st.html`."""
    return f"<style>{_BASE}{_PROJECTOR if projector else ''}</style>"
