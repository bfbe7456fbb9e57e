"""Starts ranks on one host or on several."""
