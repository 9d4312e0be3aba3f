"""What can be taken away: a link, the results, the API, the citation."""

from __future__ import annotations

from diger_app.render.about import CITATION
from diger_app.render.text import esc


def share() -> str:
    """The page; its buttons are run by `static/share.js`."""
    return f"""
<div class="about share">
<section><h2>A link to exactly this view</h2>
<p>Dataset, bundles, history and settings are all in the link; nothing is kept on a server.</p>
<div class="copy-row"><input type="text" readonly id="share-link" aria-label="link to this view">
<button type="button" class="button" data-copy="share-link">Copy link</button></div>
</section>
<section><h2>The recommendations</h2>
<p>Both lists with SIDs, probabilities and shared prefixes.</p>
<div class="copy-row"><button type="button" class="button" data-download="csv">Download CSV</button>
<button type="button" class="button" data-download="json">Download JSON</button>
<span class="muted" id="download-note" role="status"></span></div>
</section>
<section><h2>The same from a program</h2>
<p>Everything here is an API: <code>/recommend</code>, <code>/search</code>, <code>/item</code>,
<code>/beam_tree</code>, <code>/new_item</code>, <code>/datasets</code>. Press
<i>Use via API</i> at the foot of the page for all of it.</p>
<div class="copy-block"><button type="button" class="button" data-copy="share-code">Copy</button>
<pre id="share-code" class="code" tabindex="0"></pre></div>
</section>
<section><h2>Cite the method</h2>
<div class="copy-block"><button type="button" class="button" data-copy="share-cite">Copy</button>
<pre id="share-cite" class="code" tabindex="0">{esc_block(CITATION)}</pre></div>
</section></div>"""


def esc_block(text: str) -> str:
    """Several lines as literal characters."""
    return "\n".join(esc(line) for line in text.splitlines())
