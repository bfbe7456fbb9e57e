"""Use from Python, for example in a notebook: training, trained networks, and networks by name."""
