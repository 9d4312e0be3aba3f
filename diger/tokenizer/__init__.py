"""Tokenizers: content vectors to SIDs, with codebooks, suffixes and their statistics."""
