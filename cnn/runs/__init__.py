"""Which step is next, and what is on disk: the start of a run, its loop, folder and checkpoints."""
