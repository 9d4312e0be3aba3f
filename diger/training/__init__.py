"""Training: batches, tasks, the loop, saved state, and a run from data to bundle."""
