"""One theme: IBM Plex from Gradio's own files, ink on paper, the same in light and dark.

Nothing is fetched from elsewhere. The style sheet is `static/app.css`; the colours that both need
are set here as CSS variables, and the methods' colours come from `diger.charts.theme`.
"""

from __future__ import annotations

from pathlib import Path

import gradio as gr
from gradio.themes.utils import fonts

STATIC = Path(__file__).parent / "static"


def theme() -> gr.themes.Base:
    """The Gradio theme."""
    # Only the regular and the bold files hold every letter.
    sans = (
        fonts.LocalFont("IBM Plex Sans", (400, 700)),
        "ui-sans-serif",
        "system-ui",
        "sans-serif",
    )
    mono = (fonts.LocalFont("IBM Plex Mono", (400, 700)), "ui-monospace", "Consolas", "monospace")
    made = gr.themes.Base(
        primary_hue=gr.themes.colors.slate,
        secondary_hue=gr.themes.colors.slate,
        neutral_hue=gr.themes.colors.slate,
        radius_size=gr.themes.sizes.radius_md,
        font=sans,
        font_mono=mono,
    )
    return made.set(
        body_background_fill="#f6f7f9",
        body_background_fill_dark="#0e1117",
        body_text_color="#17202e",
        body_text_color_dark="#e8ecf3",
        body_text_color_subdued="#55617a",
        body_text_color_subdued_dark="#a3aec2",
        background_fill_primary="#ffffff",
        background_fill_primary_dark="#171c26",
        background_fill_secondary="#eef0f4",
        background_fill_secondary_dark="#10141c",
        block_background_fill="#ffffff",
        block_background_fill_dark="#171c26",
        border_color_primary="#d9dee7",
        border_color_primary_dark="#2c3443",
        block_border_width="0px",
        block_shadow="none",
        block_label_background_fill="transparent",
        block_label_background_fill_dark="transparent",
        block_label_text_color="#55617a",
        block_label_text_color_dark="#a3aec2",
        block_title_text_color="#33405a",
        block_title_text_color_dark="#c6cfdf",
        block_title_text_weight="500",
        input_background_fill="#ffffff",
        input_background_fill_dark="#10141c",
        input_border_width="1px",
        input_border_color="#8892a6",
        input_border_color_dark="#5c6780",
        input_border_color_focus="#17202e",
        input_border_color_focus_dark="#e8ecf3",
        input_placeholder_color="#667289",
        input_placeholder_color_dark="#94a0b6",
        button_primary_background_fill="#17202e",
        button_primary_background_fill_hover="#2c3a52",
        button_primary_background_fill_dark="#e8ecf3",
        button_primary_background_fill_hover_dark="#ffffff",
        button_primary_text_color="#ffffff",
        button_primary_text_color_dark="#0e1117",
        button_secondary_background_fill="#eef0f4",
        button_secondary_background_fill_dark="#232a37",
        slider_color="#33405a",
        slider_color_dark="#c6cfdf",
        checkbox_background_color_selected="#17202e",
        checkbox_background_color_selected_dark="#5c6780",
        checkbox_border_color="#8892a6",
        checkbox_border_color_dark="#5c6780",
        link_text_color="#1d5fb0",
        link_text_color_dark="#8ab8f2",
        link_text_color_hover="#123f78",
        link_text_color_hover_dark="#b5d3f8",
    )


def css() -> str:
    """The style sheet."""
    return (STATIC / "app.css").read_text(encoding="utf-8")


def script(name: str) -> str:
    """The script `static/<name>`, for an island."""
    return (STATIC / name).read_text(encoding="utf-8")


def head() -> str:
    """What goes into the page's head: the shared script, before any island runs."""
    return (
        '<meta name="description" content="Enter a history, see the semantic IDs a recommender '
        'writes and the items they mean.">'
        # On a projector or a 4K screen everything grows, text first of all.
        "<style>@media (min-width: 2400px) { body { zoom: 1.35; --screen: calc(100dvh / 1.35); } } "
        "@media (min-width: 3400px) { body { zoom: 1.9; --screen: calc(100dvh / 1.9); } }</style>"
        f"<script>{script('diger.js')}</script>"
    )
