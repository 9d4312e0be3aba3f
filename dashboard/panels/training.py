"""How did training go? Losses, validation, noise and gradients over epochs."""

from __future__ import annotations

from dashboard.panel import Lens, Page, Panel
from dashboard.panels.curves import (
    BANDS,
    MOST_NAMED,
    SELECTED,
    curve_figure,
    curve_figures,
    hashes,
    history,
    in_words,
    last_values,
    selected,
)


def validation(lens: Lens) -> Panel:
    """Validation metric over epochs."""
    metric = lens.view.metric
    column = f"validation_{metric}"
    frame = history(lens, (column,))
    figure = curve_figure(frame, column, f"validation {metric}", chosen=selected(lens))
    known = frame.dropna(subset=[column])
    best = known.groupby(["arm", "seed"])[column].max().groupby("arm").mean()
    words = in_words(best, "{:.4f}".format)
    return Panel(
        key="training-validation",
        finding=f"Validation {metric} on {lens.title(lens.dataset)}, mean of each seed's best "
        f"epoch: {words}",
        figures=(figure,),
        notes=(SELECTED, BANDS, "Over a fixed sample of users; the leaderboard has all of them."),
        terms=("epoch", metric.split("@")[0] + "@k"),
        hashes=hashes(lens),
    )


def loss(lens: Lens) -> Panel:
    """Cross-entropy over code positions."""
    frame = history(lens, ("loss_codes", "loss"))
    column = "loss_codes" if frame["loss_codes"].notna().any() else "loss"
    title = "cross-entropy a code position, nats" if column == "loss_codes" else "loss, nats"
    figure = curve_figure(frame, column, title, chosen=selected(lens))
    ends = last_values(frame, column)
    finding = f"Training loss at the end, nats: {in_words(ends, '{:.2f}'.format)}"
    notes = (
        "A lower loss is not a better recommender: codes that collapse are easy to predict. Judge "
        "by validation.",
    )
    return Panel(
        key="training-loss",
        finding=finding,
        figures=(figure,),
        notes=(*notes, BANDS),
        terms=("loss", "epoch"),
        hashes=hashes(lens),
    )


def noise(lens: Lens) -> Panel:
    """Noise scale and share of hot codes: how exploration fades."""
    columns = ("noise_scale", "explored", "hot_share", "sigma", "temperature")
    frame = history(lens, columns)
    figures = curve_figures(
        frame,
        ("noise_scale", "mean factor on the noise", "Noise scale", "~g"),
        ("explored", "codes drawn other than the nearest", "Explored", ".0%"),
        ("hot_share", "item-levels on a hot code", "Hot share", ".0%"),
        ("sigma", "sigma", "Sigma", "~g"),
        ("temperature", "temperature", "Temperature", "~g"),
    )
    ends = last_values(frame, "noise_scale")
    first = frame.dropna(subset=["noise_scale"]).sort_values("epoch")
    start = first.groupby(["arm", "seed"], sort=False)["noise_scale"].first()
    starts = start.groupby("arm", sort=False).mean()
    words = "; ".join(f"{arm} from {starts[arm]:.2g} to {ends[arm]:.2g}" for arm in ends.index)
    if len(ends) > MOST_NAMED:
        words = f"at the end {in_words(ends, '{:.2g}'.format)}"
    return Panel(
        key="training-noise",
        finding=f"Noise: {words}",
        figures=figures,
        notes=("Only joint training has noise; static runs are not drawn.", BANDS),
        terms=("noise scale", "explored", "hot share", "epoch"),
        hashes=hashes(lens),
    )


def rates(lens: Lens) -> Panel:
    """Learning rates of recommender and tokenizer."""
    frame = history(lens, ("learning_rate", "tokenizer_learning_rate"))
    figures = curve_figures(
        frame,
        ("learning_rate", "learning rate", "Recommender", "~e"),
        ("tokenizer_learning_rate", "learning rate", "Tokenizer", "~e"),
    )
    known = frame["tokenizer_learning_rate"].max()
    peak = frame["learning_rate"].max()
    finding = f"The recommender's learning rate peaks at {peak:.2g}"
    if known == known:  # not NaN
        finding += f", the tokenizer's at {known:.2g}"
    return Panel(
        key="training-rates",
        finding=finding,
        figures=figures,
        notes=("At the end of each epoch.",),
        terms=("epoch",),
        hashes=hashes(lens),
    )


def gradients(lens: Lens) -> Panel:
    """Gradient norms: does the recommendation loss reach the tokenizer?"""
    frame = history(lens, ("gradient_norm", "tokenizer_gradient_norm"))
    figures = curve_figures(
        frame,
        ("gradient_norm", "gradient norm", "Recommender", "~g"),
        ("tokenizer_gradient_norm", "gradient norm", "Tokenizer", "~g"),
    )
    known = frame.dropna(subset=["tokenizer_gradient_norm"])
    if known.empty:
        finding = "Only recommenders were trained: no gradients of a tokenizer"
    else:
        means = known.groupby("arm")["tokenizer_gradient_norm"].mean()
        words = in_words(means, lambda value: "none" if value == 0 else f"{value:.2g}")
        finding = f"Mean gradient norm at the tokenizer: {words}"
    return Panel(
        key="training-gradients",
        finding=finding,
        figures=figures,
        notes=("Of all losses together, before clipping.",),
        terms=("differentiable", "detached", "epoch"),
        hashes=hashes(lens),
    )


PAGE = Page(
    key="training",
    icon="show_chart",
    name="Training",
    question="How did training go?",
    builders=(validation, loss, noise, rates, gradients),
    controls=("dataset",),
)
