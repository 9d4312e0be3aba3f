"""Times: training, decoding, scale, and what the usual library takes for the same."""
