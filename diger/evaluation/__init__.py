"""Full, item-level ranking and what it says: ranks, metrics, slices, coverage."""
