"""The demo: enter a history, see the SIDs a model writes and the items they mean.

`settings` says what to open, `library` and `shelf` open it; `view` is what a link restores, `known`
holds it against what is there, `inputs` reads one off the page. `title_index`, `pasted`, `service`,
`new_item` and `export` compute, without HTML; `render` makes HTML of their results. `panels`,
`page`, `events`, `api`, `theme` and `serve` are the part that knows Gradio.
"""
