"""The page: header, tabs, and which event calls what.

Everything a person has set lives in the page's own components and in the address bar; the server
keeps nothing between two events. An event reads the components into a `View` (`inputs`), and a
panel turns that into HTML (`events`).
"""

from __future__ import annotations

import logging
from typing import Any

import gradio as gr

from diger.errors import DigerError
from diger_app.api import Api, Blocks
from diger_app.events import Events
from diger_app.known import banner, known_view
from diger_app.library import Library
from diger_app.panels import explore, new, recommend, think
from diger_app.panels.common import LOADING, MODEL, OOPS, history_value, side_choices
from diger_app.render.header import HEADER
from diger_app.render.share import share
from diger_app.render.text import notice, sentence
from diger_app.theme import script
from diger_app.view import TABS, View, from_query

_log = logging.getLogger(__name__)
TITLE = "DIGER Studio"
TAB_LABELS = {
    "recommend": "Recommend",
    "think": "Watch it think",
    "explore": "Explore the SIDs",
    "new": "A new item",
    "share": "Take it away",
    "about": "About",
}


class Page:
    """The Blocks of the app, over one library."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self.events = Events(library)
        with Blocks(title=TITLE, analytics_enabled=False, fill_width=True) as self.blocks:
            Api(library).register()  # first, so that no event of the page takes its names
            self._lay_out()
            self._wire()

    def _lay_out(self) -> None:
        keys = self.library.datasets
        choices = [(self.library.shelf(key).label, key) for key in keys]
        with gr.Row(elem_classes="top", equal_height=True):
            gr.HTML(
                html_template=HEADER,
                js_on_load=script("header.js"),
                apply_default_css=False,
                elem_classes="header",
            )
            self.dataset = gr.Dropdown(
                choices,
                value=keys[0] if keys else None,
                label="Dataset",
                allow_custom_value=True,
                scale=0,
                min_width=240,
                elem_id="dataset",
            )
            self.verdict = gr.HTML("", apply_default_css=False, elem_classes="verdict-line")
        self.banner = gr.HTML(self._first_banner(), apply_default_css=False, elem_classes="banner")
        self.tabs_by_name: dict[str, gr.Tab] = {}
        with gr.Tabs(selected="recommend", elem_classes="tabs") as self.tabs:
            for name in TABS:
                with gr.Tab(TAB_LABELS[name], id=name) as tab:
                    self.tabs_by_name[name] = tab
                    self._fill_tab(name)

    def _first_banner(self) -> str:
        """What the banner says before a link is read, so that nothing moves when it is."""
        try:
            return banner(self.library.shelf(), [])
        except DigerError as error:
            return notice(sentence(str(error)), kind="error")

    def _fill_tab(self, name: str) -> None:
        if name == "recommend":
            self.rec = recommend.build(self.library)
        elif name == "think":
            self.think = think.build()
        elif name == "explore":
            self.explore = explore.build(self.library)
        elif name == "new":
            self.new = new.build()
        elif name == "share":

            def take(*given: Any) -> dict[str, str]:
                return self.events.take(*given)

            gr.HTML(
                html_template=share(),
                js_on_load=script("share.js"),
                server_functions=[take],
                apply_default_css=False,
            )
        else:
            self.about = gr.HTML("", apply_default_css=False)

    def _wire(self) -> None:
        rec, thinking, exploring, new_tab = self.rec, self.think, self.explore, self.new
        self._base = [self.dataset, rec.left, rec.right, rec.third, rec.history]
        self._base += [rec.k, rec.beam, rec.leave_out_seen, rec.decoding]
        told = [rec.strip, rec.out]
        restored = list(self._all_outputs())
        private: dict[str, Any] = {"api_visibility": "private"}
        model: dict[str, Any] = {**private, "concurrency_id": MODEL}

        opened = self.blocks.load(
            self._restore,
            inputs=[exploring.prefix],
            outputs=restored,
            js="() => [window.diger.asked]",
            show_progress="hidden",
            **model,
        )
        # The text encoder may take seconds to load: the rest of the view does not wait for it.
        opened.then(
            self.events.name,
            [*self._base, new_tab.title, new_tab.description, new_tab.only_new],
            [new_tab.out],
            show_progress="minimal",
            **model,
        )
        changed_to = self.dataset.input(
            self._change_dataset, [self.dataset], restored, show_progress="hidden", **model
        )
        for shown in (opened, changed_to):  # it may take seconds the first time
            shown.then(
                self.events.verdict,
                [self.dataset],
                [self.verdict],
                show_progress="hidden",
                **private,
            )
        changed = [rec.history.input, rec.k.release]
        changed += [rec.beam.release, rec.leave_out_seen.input, rec.decoding.input]
        gr.on(
            changed,
            self.events.recommend,
            self._base,
            told,
            show_progress="hidden",
            trigger_mode="always_last",
            concurrency_limit=4,
            **model,
        )
        rec.out.input(
            self.events.choose,
            self._base,
            [rec.left, rec.right, rec.third, exploring.side, *told],
            show_progress="hidden",
            **model,
        )
        rec.examples.select(
            self.events.example,
            self._base,
            [rec.history, *told],
            show_progress="hidden",
            **model,
        )
        pasted = rec.read_pasted.click(
            self.events.paste,
            [rec.pasted, rec.history, self.dataset],
            [rec.history, rec.paste_report],
            show_progress="hidden",
            **private,
        )
        offered = rec.paste_report.select(
            self.events.offer,
            [rec.history, self.dataset],
            [rec.history],
            show_progress="hidden",
            **private,
        )
        for filled in (pasted, offered):
            filled.then(self.events.recommend, self._base, told, show_progress="hidden", **model)

        think_in = [*self._base, thinking.beam]
        self._drawn(
            "think",
            [thinking.beam.release, thinking.out.input],
            self.events.think,
            think_in,
            thinking.out,
        )
        explore_in = [*self._base, exploring.what, exploring.side, exploring.look]
        explore_in += [exploring.prefix]
        self._drawn(
            "explore",
            [exploring.what.input, exploring.side.input, exploring.out.input],
            self.events.explore,
            explore_in,
            exploring.out,
        )
        exploring.look.select(
            self.events.look,
            explore_in,
            [exploring.what, exploring.out],
            show_progress="hidden",
            **model,
        )
        explored = [exploring.what, exploring.look, exploring.prefix, exploring.out]
        exploring.out.select(
            self.events.press, explore_in, explored, show_progress="hidden", **model
        )
        for island in (rec.strip, rec.out, thinking.out, new_tab.out):
            island.select(
                self.events.press_elsewhere,
                explore_in,
                [self.tabs, *explored],
                show_progress="hidden",
                **model,
            )
        gr.on(
            [new_tab.run.click, new_tab.title.submit],
            self.events.name_now,
            [*self._base, new_tab.title, new_tab.description, new_tab.only_new],
            [new_tab.out],
            show_progress="minimal",
            **model,
        )
        self.tabs_by_name["about"].select(
            self.events.about, None, [self.about], show_progress="hidden", **private
        )
        for name, tab in self.tabs_by_name.items():
            tab.select(None, js=f"() => window.diger.tab('{name}')", **private)

    def _drawn(self, tab: str, triggers: list[Any], event: Any, given: list[Any], out: Any) -> None:
        """`out` is what `event` makes of `given`, when the tab opens and at every trigger."""
        model: dict[str, Any] = {"api_visibility": "private", "concurrency_id": MODEL}
        # A tab that opens may already show what it should: nothing is dimmed meanwhile.
        self.tabs_by_name[tab].select(event, given, [out], show_progress="hidden", **model)
        gr.on(
            triggers,
            event,
            given,
            [out],
            show_progress="minimal",
            trigger_mode="always_last",
            **model,
        )

    def _all_outputs(self) -> dict[Any, None]:
        """Every component that a restored view sets, in one fixed order."""
        rec, thinking, exploring, new_tab = self.rec, self.think, self.explore, self.new
        return dict.fromkeys(
            [
                *(self.banner, self.dataset, self.tabs, rec.examples, rec.history, rec.k, rec.beam),
                *(rec.leave_out_seen, rec.decoding, rec.left, rec.right, rec.third),
                *(rec.strip, rec.out, thinking.beam, thinking.out),
                *(exploring.what, exploring.side, exploring.look, exploring.prefix, exploring.out),
                *(new_tab.title, new_tab.description, new_tab.only_new, new_tab.out, self.about),
            ]
        )

    def _restore(self, query: object) -> dict[Any, Any]:
        view, notes = from_query(query if isinstance(query, str) else "")
        return self._set(view, notes)

    def _change_dataset(self, dataset: object) -> dict[Any, Any]:
        return self._set(View(dataset=dataset if isinstance(dataset, str) else ""), [])

    def _set(self, view: View, notes: list[str]) -> dict[Any, Any]:
        """Every component for a view; what the library does not have is said in the banner."""
        try:
            return self._set_known(view, notes)
        except DigerError as error:
            said = notice(sentence(str(error)), kind="error")
        except Exception:
            _log.exception("restoring a view failed")
            said = notice(OOPS, kind="error")
        return {self.banner: said} | {
            component: gr.skip()
            for component in self._all_outputs()
            if component is not self.banner
        }

    def _set_known(self, view: View, notes: list[str]) -> dict[Any, Any]:
        shelf, view, notes = known_view(self.library, view, notes)
        rec, thinking, exploring, new_tab = self.rec, self.think, self.explore, self.new
        rows, _ = shelf.rows_of(view.history)
        sides = side_choices(shelf, view)
        side = view.side if view.side in {value for _, value in sides} else sides[0][1]
        updates: dict[Any, Any] = {
            self.banner: banner(shelf, notes),
            self.dataset: gr.update(value=shelf.key),
            self.tabs: gr.update(selected=view.tab),
            rec.examples: recommend.examples(shelf),
            rec.history: history_value(shelf, rows, view.target),
            rec.k: view.k,
            rec.beam: view.beam,
            rec.leave_out_seen: view.leave_out_seen,
            rec.decoding: view.decoding,
            rec.left: view.left,
            rec.right: view.right,
            rec.third: view.third,
            rec.out: recommend.show(self.library, view),
            rec.strip: recommend.story(self.library, view),
            thinking.beam: view.tree_beam,
            thinking.out: think.show(self.library, view) if view.tab == "think" else LOADING,
            exploring.what: view.explore,
            exploring.side: gr.update(choices=sides, value=side),
            exploring.look: explore.look_value(shelf, view.item),
            exploring.prefix: "-".join(map(str, view.prefix)),
            exploring.out: explore.show(self.library, view) if view.tab == "explore" else LOADING,
            new_tab.title: view.title,
            new_tab.description: view.description,
            new_tab.only_new: view.only_new,
            new_tab.out: new.waiting(view),
            self.about: self.events.about() if view.tab == "about" else gr.skip(),
        }
        return updates
