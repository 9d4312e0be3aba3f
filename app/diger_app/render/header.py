"""The mark, the name, and the theme button."""

from __future__ import annotations

from diger.charts.methods import method_colour

_SQUARES = "".join(
    f'<rect x="{2 + 14 * column}" y="{top}" width="12" height="12" rx="3" '
    f'fill="{method_colour(name)}" fill-opacity="{1 - 0.3 * column:.1f}"/>'
    for top, name in ((8, "static"), (24, "differentiable"))
    for column in range(3)
)
HEADER = f"""
<a class="skip" href="#add-item">Skip to the search</a>
<div class="brand"><svg viewBox="0 0 44 44" aria-hidden="true">{_SQUARES}</svg>
<div><h1>DIGER Studio</h1><p>recommenders that write the name of the next item</p></div></div>
<button type="button" class="theme-toggle" aria-label="Switch the theme">☾</button>"""
