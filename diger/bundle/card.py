"""The model card: front matter the Hub understands, and what a reader should know before use.

Everything that came from data or a configuration is escaped; the front matter is written by
huggingface_hub's own `ModelCardData`, imported only here. A value that was not measured is left
out or blank.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from diger.bundle import documents, schema, tables
from diger.bundle.documents import Config, Result, is_number
from diger.errors import DigerError
from diger.text import markdown

SHOWN = ("recall@5", "recall@10", "recall@20", "ndcg@5", "ndcg@10", "ndcg@20", "mrr@10")


@dataclass(frozen=True)
class Sibling:
    """The bundle to compare with: the same data and backbone, another method.

    config, metrics: its two documents. repository: where it is on the Hub, `owner/name`.
    """

    config: Mapping[str, Any]
    metrics: Mapping[str, Any]
    repository: str | None = None

    @property
    def about(self) -> Config:
        """`config` with its types."""
        return Config.read(self.config)


def results_section(
    about: Config, metrics: Mapping[str, Any], sibling: Sibling | None = None
) -> str:
    """Metrics of every split and decoding, after those beside the sibling's where one is given."""
    results = list(documents.results(metrics))
    names = [n for n in SHOWN if any(is_number(r["metrics"].get(n)) for r in results)]
    if not names:
        return ""
    rows = []
    for result in sorted(results, key=lambda r: r["split"] != "test"):
        values = (result["metrics"].get(n) for n in names)
        rows.append(
            [
                result["split"],
                markdown(result.get("decoding", "")),
                count(result.get("users")),
                *(f"{v:.4f}" if is_number(v) else "" for v in values),
            ]
        )
    parts = [
        "## Results",
        "Item-level, every item of the catalogue a candidate, no sampled negatives.",
        "" if sibling is None else _beside(about, metrics, sibling),
        table(["split", "decoding", "users", *names], rows),
    ]
    return "\n\n".join(part for part in parts if part)


def usage_section(codes: pd.DataFrame | None, about: Config) -> str:
    """How many codes are used, level by level; empty where there are no codes."""
    if codes is None or codes.empty:
        return ""
    epoch, levels = tables.code_use(codes, about.selected_epoch)
    rows = [
        [f"{u.level}", f"{u.used:,} of {u.size:,}", f"{u.effective:,.1f}", f"{u.largest:.1%}"]
        for u in levels
    ]
    facts = table(["level", "codes used", "effective codes", "items on the largest code"], rows)
    return f"{facts}\n\nEffective codes: exp of the entropy, at epoch {epoch}."


def _beside(about: Config, metrics: Mapping[str, Any], sibling: Sibling) -> str:
    """The table of this bundle's headline figures beside the sibling's, and what it can show."""
    ours, theirs = _comparable(metrics, sibling.metrics)
    if ours is None or theirs is None:
        return ""
    rows = []
    for name in SHOWN:
        mine, other = ours["metrics"].get(name), theirs["metrics"].get(name)
        if not is_number(mine) or not is_number(other):
            continue
        relative = f" ({(mine - other) / other:+.1%})" if other else ""
        rows.append([name, f"{mine:.4f}", f"{other:.4f}", f"{mine - other:+.4f}{relative}"])
    if not rows:
        return ""
    beside = sibling.about
    method, its_method = about.arm.method or "this bundle", beside.arm.method or "sibling"
    name = markdown(beside.name or "a sibling")
    if sibling.repository is not None:
        name = f"[{name}](https://huggingface.co/{sibling.repository})"
    seeds = f"s {about.seed} and {beside.seed}" if about.seed != beside.seed else f" {about.seed}"
    return (
        f"### Beside its {markdown(its_method)} sibling\n\n"
        + table([ours["split"], f"**{markdown(method)}**", markdown(its_method), ""], rows)
        + f"\n\nThe sibling is {name}: same data, split, backbone and decoding "
        f"({markdown(ours.get('decoding', ''))}). One run each (seed{seeds}), so a small "
        "difference may be chance."
    )


def _comparable(
    ours: Mapping[str, Any], theirs: Mapping[str, Any]
) -> tuple[Result | None, Result | None]:
    """The first test result of ours that the other bundle has with the same decoding.

    Figures decoded in different ways never stand beside each other.
    """
    for mine in documents.results(ours, "test"):
        for other in documents.results(theirs, "test"):
            if mine.get("decoding") == other.get("decoding"):
                return mine, other
    return None, None


def facts(rows: Iterable[list[Any]]) -> str:
    """A two-column table of what is known, without a header."""
    known = [[label, markdown(value)] for label, value in rows if value not in (None, "")]
    return table(["", ""], known)


def table(header: list[str], rows: Iterable[list[str]]) -> str:
    """A Markdown table; cells are escaped already."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def count(value: object) -> str:
    """A whole number with its thousands apart; empty where it is not known."""
    return f"{value:,}" if is_number(value) else ""


TAGS = ("diger", "semantic-ids", "generative-recommendation")
_METHODS = {
    "static": "The semantic IDs were made first and frozen; the recommender was trained on them.",
    "detached": "The tokenizer trained on alongside the recommender by its own losses only; no "
    "gradient of the recommendation loss reached it.",
    "shuffled": "A control: items changed their codes at random, as many and as often as in joint "
    "training.",
    "reassigned": "A control: now and then each item took, of the codes nearest to its content, "
    "those under which the recommender expected it most; no gradient reached the codebooks.",
    "differentiable": "Tokenizer and recommender were trained jointly: the recommendation loss "
    "reached the codebooks.",
    "ste": "Tokenizer and recommender were trained jointly with a plain straight-through "
    "estimator, without exploration noise.",
    "popularity": "A baseline: items by how often they occur in the training events.",
    "sasrec": "A baseline: SASRec, which scores items by their own embeddings, without semantic "
    "IDs.",
}
_CITATION = """\
## Citation

To cite the method:

```bibtex
@inproceedings{fu2026differentiable,
  title         = {Differentiable Semantic {ID} for Generative Recommendation},
  author        = {Fu, Junchen and Ge, Xuri and Karatzoglou, Alexandros and Arapakis, Ioannis and
                   Verberne, Suzan and Jose, Joemon M. and Ren, Zhaochun},
  booktitle     = {SIGIR 2026},
  year          = {2026},
  doi           = {10.1145/3805712.3809641},
  eprint        = {2601.19711},
  archivePrefix = {arXiv}
}
```"""
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def model_card(
    config: Mapping[str, Any],
    metrics: Mapping[str, Any],
    items: pd.DataFrame | None = None,
    *,
    codes: pd.DataFrame | None = None,
    sibling: Sibling | None = None,
    complete: bool = True,
    licence: str | None = None,
    repository: str | None = None,
) -> str:
    """The `README.md` of a bundle, from its documents and tables.

    Args:
        sibling: a bundle of another method to stand beside this one in the results.
        complete: whether the bundle has weights; a results-only card shows how to read results.
        licence: a licence identifier that the Hub knows. By default "mit" for simulated data and
            "other" for real data, whose terms the card then repeats.
        repository: where on the Hub it will be, `owner/name`; without, the example loads from a
            folder of the bundle's name.
    """
    about = Config.read(config)
    name = about.name or "DIGER bundle"
    sections = [
        f"# {markdown(name)}",
        _what(about, complete),
        _loading(f"hub://{repository}" if repository else name, items, complete),
        results_section(about, metrics, sibling),
        _sids(items, codes, about),
        _limits(about),
        _training(about),
        _data(about, items),
        _CITATION,
    ]
    body = "\n\n".join(section for section in sections if section)
    return f"---\n{_front_matter(about, metrics, name, licence)}\n---\n\n{body}\n"


def _front_matter(about: Config, metrics: Mapping[str, Any], name: str, licence: str | None) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    simulated = about.dataset.simulated
    licence = licence or ("mit" if simulated else "other")
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", licence):
        raise DigerError(f"licence must be an identifier such as mit or cc-by-4.0, got {licence!r}")
    method, dataset = about.arm.method, about.dataset.name or "unknown"
    tested = documents.headline(metrics, "test") or documents.Result(metrics={})
    decoding = tested.get("decoding", "decoding unknown")
    evaluated = [
        EvalResult(
            task_type="recommendation",
            task_name="Next-item recommendation",
            dataset_type=dataset,
            dataset_name=about.dataset.title or dataset,
            dataset_split="test",
            metric_type=metric.partition("@")[0],
            metric_name=f"{metric} ({decoding})",
            metric_value=round(value, 6),
        )
        for metric, value in tested["metrics"].items()
        if is_number(value)
    ]
    return ModelCardData(
        license=licence,
        license_name="terms-of-the-dataset" if licence == "other" else None,
        library_name="diger",
        tags=[*TAGS, *([method] if method else []), *(["simulated"] if simulated else [])],
        base_model=_encoder_on_hub(about),
        model_name=name,
        eval_results=evaluated or None,
        dataset=dataset,
        # What a list of bundles shows without fetching any.
        diger={
            **about.arm.model_dump(),
            "backbone": about.backbone,
            "seed": about.seed,
            "fingerprint": about.dataset.fingerprint,
        },
    ).to_yaml()


def _what(about: Config, complete: bool) -> str:
    dataset = about.dataset.label
    lines = [
        "A next-item recommender trained with DIGER, differentiable semantic IDs for generative "
        "recommendation ([arXiv 2601.19711](https://arxiv.org/abs/2601.19711)).",
        _METHODS.get(about.arm.method, ""),
        f"Dataset: {markdown(dataset)}." if dataset else "",
        "" if complete else "**Results only**: this bundle carries no weights.",
    ]
    if about.dataset.simulated:
        lines.append("**The data is simulated**: no figure here says anything about real people.")
    return "\n\n".join(line for line in lines if line)


def _training(about: Config) -> str:
    arm, peak = about.arm.parts, about.peak_memory_bytes
    rows: list[list[Any]] = [
        ["recipe", about.recipe.get("name")],
        ["method / decay / noise", " / ".join(arm) if all(arm) else None],
        ["backbone", about.backbone],
        ["content", _sources(about)],
        ["item text encoder", _encoder(about)],
        ["parameters", count(about.parameters)],
        ["seed", about.seed],
        ["selected epoch", about.selected_epoch],
        ["seconds", ", ".join(f"{phase} {v:,.1f}" for phase, v in about.seconds.items())],
        ["peak memory", f"{peak / 2**20:,.0f} MiB" if peak else None],
        ["hardware", ", ".join(f"{k} {v}" for k, v in about.hardware if v not in (None, ""))],
        ["code version", about.code_version],
    ]
    return "## How it was trained\n\n" + facts(rows)


def _sids(items: pd.DataFrame | None, codes: pd.DataFrame | None, about: Config) -> str:
    shares = None if items is None else tables.sid_shares(items)
    if items is None or shares is None:
        return ""
    alone, moved = shares
    levels = len(schema.numbered_columns(items, "code_"))
    text = (
        f"## Semantic IDs\n\n{len(items):,} items, {levels} levels and a suffix; "
        f"{alone:.1%} of the items are alone on their codes."
    )
    if moved is not None:
        text += f" {moved:.1%} have codes other than at the start of joint training."
    usage = usage_section(codes, about)
    return f"{text}\n\n{usage}" if usage else text


def _loading(where: str, items: pd.DataFrame | None, complete: bool) -> str:
    parts = where.removeprefix("hub://").split("/")
    place = where if all(map(_PLAIN.fullmatch, parts)) else "path/to/bundle"
    if not complete:
        folder = f'local_path("{place}")' if len(parts) == 2 else f'"{place}"'
        needed = "from diger.hub import local_path\n" if len(parts) == 2 else ""
        return (
            f"## How to read it\n\n```python\nfrom diger.bundle import Bundle\n{needed}"
            f"bundle = Bundle.open({folder})\nprint(bundle.metrics, bundle.ranks)\n```"
        )
    ids = [] if items is None else items.nlargest(2, "training_popularity")["item_id"]
    known = [item for item in ids if _PLAIN.fullmatch(item)] or ["item id"]
    return (
        f'## How to load it\n\n```python\nimport diger\nmodel = diger.load("{place}")\n'
        f"model.recommend({json.dumps(known)}, k=10)  # a history, oldest first\n```"
    )


def _limits(about: Config) -> str:
    limits = [
        "It recommends only items of its own catalogue, and reflects the people, the time and the "
        "popularity bias of its data.",
        "Not for decisions about people (credit, work, health, housing), and not a measure of an "
        "item's quality.",
        "Offline figures on one dataset: they do not show that people would be better served, and "
        "compare only with figures made with the same data, split and decoding.",
    ]
    if about.dataset.simulated:
        limits.insert(0, "Trained on simulated data: good for trying the tools, for nothing else.")
    return (
        "## Intended use and limits\n\nResearch on semantic IDs and generative recommendation, and "
        "demonstrations of it.\n\n" + "\n".join(f"- {limit}" for limit in limits)
    )


def _data(about: Config, items: pd.DataFrame | None) -> str:
    dataset = about.dataset
    counts = [count(n) for n in (dataset.users, dataset.items, dataset.events)]
    has_text = items is not None and any(c in items.columns for c in schema.TEXT_COLUMNS)
    rows = [
        ["dataset", dataset.label],
        ["terms", dataset.licence],
        ["source", dataset.source],
        ["users / items / events", " / ".join(counts) if all(counts) else ""],
        ["split", dataset.split],
        ["simulated", "yes" if dataset.simulated else "no"],
        ["item text in the bundle", "yes" if has_text else "no"],
        ["fingerprint", dataset.fingerprint],
    ]
    return "## Data and licence\n\n" + facts(rows)


def _sources(about: Config) -> str:
    """What the content vectors were made from: sources and how many items had each."""
    return ", ".join(
        f"{one.name} (weight {one.weight}, {one.items} items)" for one in about.content.sources
    )


def _encoder(about: Config) -> str:
    """The encoder that the content vectors came from, with its revision."""
    name, revision = about.content.encoder, about.content.revision
    return f"{name} at {revision[:12]}" if name and revision else name


def _encoder_on_hub(about: Config) -> str | None:
    """The encoder's repository; None where the vectors are the user's own or a folder's."""
    name = about.content.encoder
    parts = name.split("/")
    return name if len(parts) == 2 and all(map(_PLAIN.fullmatch, parts)) else None
