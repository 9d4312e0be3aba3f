"""Checkpoints that DIGER's authors released, brought into this project's own files."""
