"""Uncertainty decay: how the exploration noise on SIDs goes away during joint training."""
