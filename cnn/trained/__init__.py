"""Use of trained networks: evaluation, prediction, export."""
