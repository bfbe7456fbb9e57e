"""Sweeps: recipes of many runs, and the comparison of the results."""
