"""What SIDs are, what the numbers mean, what this demo is not, and where everything comes from."""

from __future__ import annotations

from diger.bundle.documents import headline
from diger.hub.address import is_address, parse
from diger_app.library import Library
from diger_app.render.text import chips, esc, method, notice
from diger_app.shelf import Shelf, Source

CITATION = """\
@misc{diger2026,
  title         = {DIGER: differentiable semantic IDs for generative recommendation},
  howpublished  = {SIGIR 2026},
  year          = {2026},
  doi           = {10.1145/3805712.3809641},
  eprint        = {2601.19711},
  archivePrefix = {arXiv}
}"""


def about(library: Library) -> str:
    """The whole page."""
    datasets = "".join(_dataset(library.shelves[key]) for key in library.datasets)
    others = [shelf for key, shelf in library.shelves.items() if key not in library.datasets]
    datasets += "".join(f"<h3>{esc(one.label)}</h3>{_results_only(one)}" for one in others)
    return f"""
<div class="about">
<section><h2>What a semantic ID is</h2>
{_PICTURE}
<p>A generative recommender does not score items one by one; it <b>writes the name</b> of the next
item. That name is a <b>semantic ID</b> (SID): a few codes made from what is known of the item (its
text, who uses it), coarse first, so that like items begin alike. Usually the codes are fixed before
the recommender is trained (<b>static</b>). DIGER trains both together, so that the recommendation
loss reaches the codes and items that are enjoyed alike come to be named alike
(<b>differentiable</b>).</p>
</section>
<section><h2>What the numbers mean</h2>
<ul>
<li><b>A code chip</b> such as {chips([12, 7], suffix=False)} is one code; its colour only helps the
eye to find the same code again. The grey last number is the suffix: it tells apart items whose
codes are all equal, and means nothing.</li>
<li><b>A probability</b> is the model's for the whole SID, over the full codebook at every level:
codes that no item has keep their share, so a list need not add up to 100 %.</li>
<li><b>The words</b> of a prefix are the terms that its items have most often in comparison with the
whole catalogue. They are counted afterwards; no model ever saw them.</li>
<li><b>The true next item</b>, where it is known, comes from a test history that the models were not
trained on.</li>
</ul></section>
<section><h2>What this demo is not</h2>
<ul>
<li>Not a measurement. A handful of histories proves nothing; the dashboard compares the arms over
all users, with seeds and intervals.</li>
<li>Not a film or shopping guide: the models know histories and text, and nothing of quality.</li>
<li>Nothing that you type is kept: the page holds it, and a link carries it.</li>
</ul></section>
<section><h2>The data and the models</h2>{datasets}{_problems(library)}</section>
<section><h2>Paper</h2>
<p>DIGER: differentiable semantic IDs for generative recommendation. SIGIR 2026.
<a href="https://doi.org/10.1145/3805712.3809641" target="_blank" rel="noopener">doi
10.1145/3805712.3809641</a>,
<a href="https://arxiv.org/abs/2601.19711" target="_blank" rel="noopener">arXiv 2601.19711</a>.</p>
</section>
</div>"""


def _dataset(shelf: Shelf) -> str:
    simulated = (
        '<p class="simulated"><b>Simulated.</b> Nobody watched or bought any of this: the '
        "histories are drawn by a fixed plan, to have data that may be shown.</p>"
        if shelf.simulated
        else ""
    )
    facts = [f"{len(shelf.ids):,} items"]
    if shelf.users and shelf.events:
        facts.append(f"{shelf.users:,} users, {shelf.events:,} events")
    facts.append(f"licence {shelf.licence}")
    origin = f"<p>Source: {esc(shelf.origin)}</p>" if shelf.origin else ""
    rows = "".join(_model(source) for source in shelf.sources.values())
    return (
        f"<h3>{esc(shelf.label)}</h3>{simulated}<p>{esc('; '.join(facts))}.</p>{origin}"
        '<div class="scroll"><table class="table"><thead><tr><th scope="col">model</th>'
        '<th scope="col">test recall@10</th><th scope="col">test ndcg@10</th>'
        '<th scope="col">decoding</th><th scope="col">model card</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>{_results_only(shelf)}"
    )


def _results_only(shelf: Shelf) -> str:
    """One line on the bundles that cannot recommend: most runs are kept for their figures."""
    n = len(shelf.results_only)
    if not n:
        return ""
    bundles = f"{n} {'more ' if shelf.sources else ''}bundle{'s' if n > 1 else ''}"
    return (
        f"<p>{bundles} of other runs and seeds cannot be opened here, for only the results were "
        "kept, without weights; they count in what was measured and stand in the dashboard.</p>"
    )


def _problems(library: Library) -> str:
    """What could not be used in one line, each with its reason behind it."""
    n = len(library.problems)
    if not n:
        return ""
    listed = "".join(f"<li><b>{esc(what)}</b>: {esc(why)}</li>" for what, why in library.problems)
    first, why = library.problems[0]
    if n == 1:
        return notice(why, kind="warn", head=f"{first} cannot be used:")
    return (
        f"<details><summary>{n} bundles or addresses cannot be used; the first: {esc(first)}, "
        f"{esc(why, 160)}</summary><ul>{listed}</ul></details>"
    )


def _model(source: Source) -> str:
    result = headline(source.bundle.metrics, "test")
    values = result["metrics"] if result else {}

    def cell(name: str) -> str:
        value = values.get(name)
        return "" if value is None else f"{value:.4f}"

    if is_address(source.address):
        address = parse(source.address)
        href = esc(f"https://huggingface.co/{address.repo_id}/tree/{address.revision}")
        card = f'<a href="{href}" target="_blank" rel="noopener">on the Hub</a>'
    else:
        text = esc_lines(source.bundle.card)
        card = f'<details><summary>read</summary><pre class="card-text">{text}</pre></details>'
    decoding = esc(result.get("decoding", ""), 80) if result else ""
    return (
        f'<tr><th scope="row">{method(source.method)}<br><span class="bundle">'
        f"{esc(source.name, 80)}</span></th><td>{cell('recall@10')}</td><td>{cell('ndcg@10')}</td>"
        f"<td>{decoding}</td><td>{card}</td></tr>"
    )


def esc_lines(text: str) -> str:
    """Several lines of text as literal characters."""
    return "\n".join(esc(line) for line in text[:20_000].splitlines())


_GLOSSED = "".join(
    f'<span class="gloss">{chips(sid, suffix=word == "which one")}<i>{word}</i></span>'
    for sid, word in (([24], "crime"), ([12], "robbery"), ([7], "1950s"), ([0], "which one"))
)
_PICTURE = f"""
<figure class="picture" role="img" aria-label="What is known of an item becomes a vector; level by
level the vector is replaced by the number of its nearest codeword; the recommender reads the codes
of a history and writes the codes of the next item.">
<ol>
<li><span class="step-name">text</span>
<span class="box">“A heist in one night, Paris 1955”</span></li>
<li><span class="step-name">vector</span><span class="box mono">0.12 −0.40 0.07 …</span></li>
<li><span class="step-name">SID, coarse to fine</span>
<span class="box">{_GLOSSED}</span></li>
<li><span class="step-name">recommender</span>
<span class="box">{chips([24, 12, 7, 0])} {chips([24, 3, 9, 0])} <b aria-hidden="true">→</b>
<span class="written">{chips([24, 12, 1, 0])}</span></span></li>
</ol></figure>"""
