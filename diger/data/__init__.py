"""Interaction logs and item text: reading, preparing, storing, reporting. Free of torch."""
