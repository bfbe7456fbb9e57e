"""The computation of a step: the network, its training step and its evaluation, assembled."""
