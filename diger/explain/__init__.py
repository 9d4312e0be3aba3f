"""Why a model said what it said: prefixes in words, neighbours, beam trees, moved and new items.

Pure functions over a loaded bundle's arrays; `beam_tree` and `newcomer` need torch, the rest does
not. The web app shows what is computed here.
"""
