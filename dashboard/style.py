"""The little CSS that Streamlit has no option for."""

from __future__ import annotations

_BASE = """
.stMainBlockContainer { padding-top: 2.2rem; max-width: 1320px; }
h1 { font-size: 2.1rem !important; letter-spacing: -0.01em; padding-bottom: 0.2rem !important; }
h3 { font-size: 1.3rem !important; line-height: 1.35 !important; text-wrap: balance;
     padding-top: 0.6rem !important; }
[data-testid="stCaptionContainer"] { color: inherit !important; opacity: 0.78; }
[data-testid="stVegaLiteChart"] { margin-bottom: -0.6rem; }
[class*="st-key-card-"] { gap: 0.2rem; }
/* All of the navigation and the filters on a screen 768 pixels high. */
[data-testid="stSidebarHeader"] { height: 1.6rem; margin-bottom: 0; }
[data-testid="stSidebarNavLink"] { padding-top: 0; padding-bottom: 0; margin-top: 0;
  margin-bottom: 0; min-height: 1.35rem; line-height: 1.2; }
[data-testid="stNavSectionHeader"] { padding-top: 0.1rem; padding-bottom: 0.1rem; margin: 0; }
[data-testid="stSidebarUserContent"] { padding-top: 0.4rem; padding-bottom: 0.4rem; }
[data-testid="stSidebarUserContent"] [data-testid="stVerticalBlock"] { gap: 0.4rem; }
.dash-skeleton { height: 22rem; border-radius: 0.5rem; background: currentColor; opacity: 0.06; }
@media print {
  [data-testid="stSidebar"], [data-testid="stHeader"], [data-testid="stPopover"],
  [class*="st-key-controls"] { display: none !important; }
  [class*="st-key-panel-"] { break-inside: avoid; }
}
"""
SKELETON = '<div class="dash-skeleton" role="status" aria-label="Computing"></div>'
# One rem is a 45th of a screen of 16:9, so all sizes are the screen's, and no type is under 28 px
# at 1280 x 720.
_PROJECTOR = """
html { font-size: min(1.25vw, 2.2222vh) !important; }
[data-testid="stSidebar"], [data-testid="stHeader"] { display: none !important; }
.stMainBlockContainer { max-width: none; height: 100vh; padding: 1rem 3vw 4rem 3vw;
  overflow: hidden; }
.stMainBlockContainer > [data-testid="stVerticalBlock"] { height: 100%; gap: 0.3rem;
  flex-wrap: nowrap; }
h1 { font-size: 1.9rem !important; line-height: 1.15 !important; padding: 0 0 0.9rem 0 !important; }
[data-testid="stCaptionContainer"], [data-testid="stCaptionContainer"] p,
.stButton p, .st-key-slide-chart p { font-size: 1.75rem !important; line-height: 1.2 !important; }
:has(> .st-key-slide-chart) { flex: 1 1 0 !important; min-height: 0; }
.st-key-slide-chart { height: 100%; position: relative; overflow: hidden; }
.st-key-slide-chart :has(svg.marks) { position: static !important; overflow: visible !important; }
.st-key-slide-chart svg.marks { position: absolute; inset: 0; width: 100% !important;
  height: 100% !important; }
.st-key-slide-chart [class*="st-key-card-"] { gap: 1.2rem; }
.st-key-slide-chart [class*="st-key-card-"] p { font-size: 1.9rem !important; }
.st-key-slides { position: fixed; bottom: 0.3rem; left: 3vw; right: 3vw; width: auto !important; }
.st-key-slides > :last-child { margin-left: auto; text-align: right; }
.st-key-remote { position: fixed; bottom: 0; opacity: 0; pointer-events: none; height: 0; }
"""


def css(projector: bool = False) -> str:
    """A style element for `st.html`."""
    return f"<style>{_BASE}{_PROJECTOR if projector else ''}</style>"
