"""Figures and tables as pure functions of a data frame, and the colours they share. No torch."""
