"""What happens on each event: components in, HTML and new component values out. No state."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import gradio as gr

from diger.errors import DigerError
from diger_app import export, inputs, service
from diger_app.library import Library
from diger_app.panels import explore, new, recommend, think
from diger_app.panels.common import OOPS, given, history_value, side_choices
from diger_app.render.about import about
from diger_app.render.text import notice, sentence
from diger_app.view import SIDES, View, from_query

_log = logging.getLogger(__name__)


class Events:
    """The handlers, over one library; their arguments are as `page` wires them."""

    def __init__(self, library: Library) -> None:
        self.library = library

    def recommend(self, *values: Any) -> tuple[str, str]:
        """The history or a setting changed: the strip and the lists."""
        return self._told(inputs.base_view(self.library, values))

    def _told(self, view: View) -> tuple[str, str]:
        shown = recommend.show(self.library, view)
        return recommend.story(self.library, view), shown

    def choose(self, event: gr.EventData, *values: Any) -> tuple[Any, ...]:
        """A column got another bundle: the columns, the choice of one in Explore, strip, lists."""
        view = inputs.base_view(self.library, values)
        what = pressed(event)
        try:
            shelf = self.library.shelf(view.dataset)
            side = inputs.choice(what.get("column"), SIDES)
            chosen = {s: getattr(view, s) for s in SIDES} | {
                side: inputs.text(what.get("bundle"), 200)
            }
            left, right, third = inputs.columns(shelf, *chosen.values())
        except DigerError:
            return (gr.skip(),) * 6
        view = replace(view, left=left, right=right, third=third)
        sides = side_choices(shelf, view)
        shown = gr.update(choices=sides, value=sides[0][1])
        return left, right, third, shown, *self._told(view)

    def example(self, event: gr.EventData, *values: Any) -> tuple[Any, ...]:
        """A sample history was chosen: it fills the history and is run at once."""
        view = inputs.base_view(self.library, values)
        try:
            shelf = self.library.shelf(view.dataset)
            number = inputs.whole(pressed(event).get("example"), 0, len(shelf.examples) - 1, 0)
            one = shelf.examples[number]
        except (DigerError, IndexError):
            return gr.skip(), *self._told(view)
        target = "" if one["target"] is None else shelf.ids[one["target"]]
        history = tuple(shelf.ids[row] for row in one["history"])
        view = replace(view, history=history, target=target)
        return history_value(shelf, one["history"], target), *self._told(view)

    def paste(self, text: Any, held: Any, dataset: Any) -> tuple[Any, str]:
        """A list was pasted."""
        try:
            return recommend.paste(self.library, text, held, inputs.text(dataset, 120))
        except DigerError as error:
            return gr.skip(), notice(sentence(str(error)), kind="error")
        except Exception:
            _log.exception("reading a pasted list failed")
            return gr.skip(), notice(OOPS, kind="error")

    def offer(self, event: gr.EventData, held: Any, dataset: Any) -> Any:
        """One of the close matches of a pasted line was chosen."""
        try:
            item = pressed(event).get("offer")
            return recommend.take_offer(self.library, held, inputs.text(dataset, 120), item)
        except DigerError:
            return gr.skip()

    def think(self, *values: Any) -> str:
        """The tree is to be drawn."""
        return think.show(self.library, inputs.think_view(self.library, values))

    def explore(self, *values: Any) -> str:
        """Another view of Explore was chosen."""
        return explore.show(self.library, inputs.explore_view(self.library, values))

    def look(self, *values: Any) -> tuple[Any, ...]:
        """After a search in Explore: the map keeps being the map, all else shows the item."""
        before = inputs.explore_view(self.library, values)
        what = before.explore if before.explore == "map" else "item"
        after = replace(before, explore=what)
        return _changed(before.explore, what), explore.show(self.library, after)

    def press(self, event: gr.EventData, *values: Any) -> tuple[Any, ...]:
        """A title, a code or a point of the map was pressed in Explore."""
        before = inputs.explore_view(self.library, values)
        what = pressed(event)
        try:
            shelf = self.library.shelf(before.dataset)
        except DigerError:
            return (gr.skip(),) * 4
        view = before
        if isinstance(what.get("prefix"), str):
            view = replace(view, explore="browse", prefix=inputs.read_prefix(what["prefix"]))
        elif isinstance(what.get("row"), int) and 0 <= what["row"] < len(shelf.ids):
            view = replace(view, item=shelf.ids[what["row"]])
        elif isinstance(what.get("look"), str):
            view = replace(view, explore="item", item=what["look"])
        return (
            _changed(before.explore, view.explore),
            explore.look_value(shelf, view.item),
            "-".join(map(str, view.prefix)),
            explore.show(self.library, view),
        )

    def press_elsewhere(self, event: gr.EventData, *values: Any) -> tuple[Any, ...]:
        """The same on another tab: Explore opens."""
        return gr.update(selected="explore"), *self.press(event, *values)

    def name(self, *values: Any) -> str:
        """A new item is to be named."""
        return new.show(self.library, inputs.new_view(self.library, values))

    def name_now(self, *values: Any) -> str:
        """The same at a press, which is answered where nothing was typed too."""
        view = inputs.new_view(self.library, values)
        typed = view.title.strip() or view.description.strip()
        return new.show(self.library, view) if typed else new.nothing_typed()

    def verdict(self, dataset: Any) -> str:
        """What was measured on the dataset shown; an aside, so a fault of it leaves nothing."""
        try:
            from diger_app.verdict import verdict  # statistics, which the first lists do not need

            return verdict(self.library, self.library.shelf(inputs.text(dataset, 120)))
        except DigerError:
            return ""
        except Exception:
            _log.exception("the verdict failed")
            return ""

    def about(self) -> str:
        """The page About."""
        try:
            return about(self.library)
        except DigerError as error:
            return notice(sentence(str(error)), kind="error")
        except Exception:
            _log.exception("the page about failed")
            return notice(OOPS, kind="error")

    def take(self, *values: Any) -> dict[str, str]:
        """The recommendations of a query string as a file's text, for the download buttons."""
        kind, query = given(values, 2)
        try:
            view, _ = from_query(query)
            shelf = self.library.shelf(view.dataset)
            view = replace(view, dataset=shelf.key)
            names = inputs.columns(shelf, view.left, view.right or shelf.pair()[1], view.third)
            if not view.history:
                return {"error": "Nothing is recommended yet; make a history on the first tab."}
            sides = [service.recommend(shelf, name, view) for name in names if name]
            made = export.document(shelf, view, sides)
        except DigerError as error:
            return {"error": sentence(str(error))}
        except Exception:
            _log.exception("a download failed")
            return {"error": OOPS}
        text = export.as_csv(made) if kind == "csv" else json.dumps(made, indent=2) + "\n"
        safe = "".join(c if c.isalnum() or c in "-_" else "-" for c in shelf.key)[:60]
        return {
            "text": text,
            "name": f"{safe}-recommendations.{'csv' if kind == 'csv' else 'json'}",
        }


def _changed(before: Any, after: Any) -> Any:
    """`after`, or no update where it is the same: a late one could undo what was chosen since."""
    return gr.skip() if before == after else after


def pressed(event: gr.EventData) -> Mapping[str, Any]:
    """What an island's script sent with its event."""
    data = getattr(event, "_data", None)
    return data if isinstance(data, Mapping) else {}
