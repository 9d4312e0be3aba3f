"""From logits to SIDs and items: trie, beam search, the exact oracle."""
