"""Checkpoint bundles: one folder a run, checked by its manifest, read without torch."""

from diger.bundle.card import model_card
from diger.bundle.reader import BrokenBundle, Bundle, list_bundles
from diger.bundle.writer import BundleWriter, check_target

__all__ = ["BrokenBundle", "Bundle", "BundleWriter", "check_target", "list_bundles", "model_card"]
