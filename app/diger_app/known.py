"""A link's view against what is here: what is missing is replaced, and said."""

from __future__ import annotations

from dataclasses import replace

from diger.errors import DigerError
from diger_app.library import Library
from diger_app.render.text import esc, notice
from diger_app.shelf import Shelf
from diger_app.view import View


def known_view(library: Library, view: View, notes: list[str]) -> tuple[Shelf, View, list[str]]:
    """The shelf, the view with only what it has, and sentences for the person.

    Without a history, the first example stands in, so that the first screen shows something.

    Raises:
        DigerError: there is nothing to serve at all.
    """
    notes = list(notes)
    try:
        shelf = library.shelf(view.dataset)
    except DigerError as error:
        shelf = library.shelf()
        notes.append(f"The link asks for another dataset: {error}.")
        view = View(tab=view.tab, k=view.k)
    for name in view.columns.values():
        if name not in shelf.sources:
            notes.append(f"The link asks for a bundle {name[:60]!r}, which is not here.")
    left, right = shelf.pair(view.left, view.right)
    third = view.third if view.third in shelf.sources and view.third not in (left, right) else ""
    rows, unknown = shelf.rows_of(view.history)
    if unknown:
        named = ", ".join(repr(one[:40]) for one in unknown[:3])
        notes.append(f"{shelf.label} lacks {len(unknown)} of the link's items: {named}.")
    target = view.target if view.target in shelf.rows and not unknown else ""
    if not rows and shelf.examples:
        first = shelf.examples[0]
        rows = first["history"]
        target = "" if first["target"] is None else shelf.ids[first["target"]]
    if view.item and view.item not in shelf.rows:
        notes.append(f"{shelf.label} has no item {view.item[:60]!r}.")
        view = replace(view, item="")
    view = replace(
        view,
        dataset=shelf.key,
        left=left,
        right=right,
        third=third,
        history=tuple(shelf.ids[row] for row in rows),
        target=target,
    )
    view = replace(view, side=view.side if view.side in view.columns else "left")
    return shelf, view, notes


def banner(shelf: Shelf, notes: list[str]) -> str:
    """The lines above the tabs: what a link asked in vain, and what the data are."""
    parts = [notice(note, kind="warn") for note in (*notes, *shelf.catalogue_problems)]
    if not shelf.has_text:
        parts.append(
            notice(
                f"The bundles of {shelf.label} carry no item text, so items are shown by their "
                "ids. Start the app with --catalogue and the dataset's folder for titles."
            )
        )
    if shelf.simulated:
        parts.append(
            '<p class="simulated-line"><b>Simulated users.</b> The histories of '
            f"{esc(shelf.label)} are drawn by a plan, not watched by people.</p>"
        )
    return "".join(parts)
