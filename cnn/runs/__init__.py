"""A run in time and on disk: its start, loop, folder and checkpoints."""
